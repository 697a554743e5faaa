//! When people were last told: of an alert, and of a conflict that stayed open.
use crate::step::Step;

pub(crate) const STEP: Step = Step {
    name: "m20261121_000011_alerts",
    up: &[
        "alter table alerts add column told_at {time}",
        // Until now an alert was told when it first came.
        "update alerts set told_at = first_at",
        "alter table conflicts add column told_at {time}",
        // Those that the timer has yet to tell of; most conflicts leave it within a minute.
        "create index conflicts_untold on conflicts (opened_at) where state = 'open' and told_at is null",
    ],
    down: &[
        "drop index conflicts_untold",
        "alter table conflicts drop column told_at",
        "alter table alerts drop column told_at",
    ],
};
