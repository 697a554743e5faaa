//! What retention needs: which replica does it, and indexes that lead to what is old. Changes and the audit trail are
//! numbered in the order in which they grow old, so their keys lead there already.
use crate::step::Step;

pub(crate) const STEP: Step = Step {
    name: "m20261121_000012_retention",
    up: &[
        "create table leases (name text primary key, owner text not null, lease_until {time} not null)",
        "create index inbox_bodies on inbox (finished_at) where body is not null and state in ('done', 'skipped')",
        "create index inbox_settled on inbox (finished_at) where state in ('done', 'skipped', 'discarded')",
        "create index dead_letters_open on dead_letters (seq) where state = 'open'",
    ],
    down: &["drop index dead_letters_open", "drop index inbox_settled", "drop index inbox_bodies", "drop table leases"],
};
