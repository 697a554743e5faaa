//! `outbox`: the change feed, numbered in commit order by the transaction that writes it;
//! `sink_cursors`: how far each shared target has got; `dead_letters`: what one refused for good.
use crate::step::Step;

pub(crate) const STEP: Step = Step {
    name: "m20261121_000005_outbox",
    up: &[
        "create table outbox (
            seq {int} primary key,
            id {id} not null,
            event text not null,
            topic text not null,
            subject text not null,
            routing {json} not null,
            payload {text_json} not null,
            changed {text_json} not null,
            effects text not null default 'all' check (effects in ('all', 'state')),
            correlation_id text,
            occurred_at {time},
            created_at {time} not null
        )",
        "create index outbox_subject on outbox (subject, seq)",
        "create table sink_cursors (
            sink text primary key,
            seq {int} not null,
            owner text,
            lease_until {time},
            attempts {int} not null default 0,
            available_at {time} not null,
            last_error text,
            updated_at {time} not null
        )",
        "create table dead_letters (
            id {id} primary key,
            sink text not null,
            seq {int} not null,
            event text not null,
            subject text not null,
            reason text not null,
            state text not null default 'open' check (state in ('open', 'retried', 'discarded')),
            created_at {time} not null,
            finished_at {time},
            unique (sink, seq)
        )",
    ],
    down: &["drop table dead_letters", "drop table sink_cursors", "drop table outbox"],
};
