//! What people look at: clashes the plan could not settle, alerts, and the audit trail.
use crate::step::Step;

pub(crate) const STEP: Step = Step {
    name: "m20261121_000006_oversight",
    up: &[
        "create table conflicts (
            id {id} primary key,
            clerk_id text not null,
            address text not null,
            other_clerk_id text not null,
            svix_id text,
            state text not null default 'open' check (state in ('open', 'resolved')),
            opened_at {time} not null,
            resolved_at {time}
        )",
        "create unique index conflicts_open on conflicts (clerk_id, address) where state = 'open'",
        "create index conflicts_other on conflicts (other_clerk_id)",
        "create table alerts (
            id {id} primary key,
            key text not null unique,
            kind text not null,
            level text not null,
            subject text,
            text text not null,
            count {int} not null default 1,
            first_at {time} not null,
            last_at {time} not null
        )",
        "create table audit_log (
            seq {serial},
            actor text not null,
            action text not null,
            subject text not null,
            diff {text_json} not null,
            correlation_id text,
            at {time} not null
        )",
        "create index audit_log_subject on audit_log (subject, seq)",
    ],
    down: &["drop table audit_log", "drop table alerts", "drop table conflicts"],
};
