//! Runs over everybody at Clerk: how far one is, so that it goes on after a kill, and what it found.
use crate::step::Step;

pub(crate) const STEP: Step = Step {
    name: "m20261121_000021_runs",
    up: &[
        "create table sync_runs (
            id {id} primary key,
            kind text not null check (kind in ('backfill', 'reconcile')),
            mode text not null,
            origin text not null,
            state text not null check (state in ('running', 'done', 'failed')),
            started_at {time} not null,
            updated_at {time} not null,
            finished_at {time},
            progress {text_json} not null,
            report {text_json}
        )",
        "create index sync_runs_started on sync_runs (started_at)",
    ],
    down: &["drop table sync_runs"],
};
