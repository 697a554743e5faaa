//! A single applier: no claims. What the version before had claimed is due again.
//!
//! Without the column `claim` a process of that version that goes on running can store deliveries and apply none.
use crate::step::Step;

pub(crate) const STEP: Step = Step {
    name: "m20261201_000030_single_applier",
    up: &[
        "update inbox set state = 'pending', available_at = received_at where state = 'running'",
        "drop index inbox_running",
        "alter table inbox drop column claim",
        "create table applier_progress (
            slot {int} not null primary key,
            owner text not null,
            first_seq {int} not null,
            last_seq {int} not null,
            tries {int} not null
        )",
    ],
    down: &[
        "drop table applier_progress",
        "alter table inbox add column claim text",
        "create index inbox_running on inbox (available_at) where state = 'running'",
    ],
};
