//! When a deletion was applied, by our clock, and when the last traces of it were removed.
use crate::step::Step;

pub(crate) const STEP: Step = Step {
    name: "m20261121_000015_erasure",
    up: &[
        "alter table subjects add column buried_at {time}",
        "alter table subjects add column erased_at {time}",
        "create index subjects_to_erase on subjects (buried_at)
            where kind = 'user' and deleted and erased_at is null and buried_at is not null",
    ],
    down: &[
        "drop index subjects_to_erase",
        "alter table subjects drop column erased_at",
        "alter table subjects drop column buried_at",
    ],
};
