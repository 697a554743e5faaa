//! What the rules of conflicts, held deletions and ended sessions remember.
use crate::step::Step;

pub(crate) const STEP: Step = Step {
    name: "m20261121_000010_rules",
    up: &[
        // Of sessions no body is stored: which one it is stands here.
        "alter table inbox add column object_id text",
        // An operator's word about one address that two persons claim; read by the plan.
        "create table conflict_decisions (
            id {id} primary key,
            newcomer text not null,
            older text not null,
            address text not null,
            decision text not null check (decision in ('keep_existing', 'take_over')),
            older_version text,
            actor text not null,
            decided_at {time} not null,
            unique (newcomer, older, address)
        )",
        "create index conflict_decisions_older on conflict_decisions (older, address)",
        // A waiting row is looked at again at its deadline, which `available_at` holds.
        "create index inbox_waiting on inbox (available_at) where state = 'waiting'",
        "create table revoked_sessions (
            session_id text primary key,
            clerk_id text,
            revoked_at {time} not null,
            expires_at {time} not null
        )",
        "create index revoked_sessions_expires on revoked_sessions (expires_at)",
        // Parents whose waiting rows are woken in chunks: more wait for them than one transaction wakes.
        "create table wakes (parent text primary key, since {time} not null)",
        // How many deletions fell into the window of the breaker, by the time that they carry.
        "create index subjects_deleted on subjects (deleted_at) where deleted_at is not null",
    ],
    down: &[
        "drop index inbox_waiting",
        "drop index subjects_deleted",
        "drop table wakes",
        "drop table revoked_sessions",
        "drop table conflict_decisions",
        "alter table inbox drop column object_id",
    ],
};
