//! Inbox rows of what no delivery brought: objects of Clerk's API that the plan parks.

use std::collections::HashSet;

use sea_orm::{ConnectionTrait, DbErr};

use crate::{
    clerk::{decode::Stored, envelope},
    clock::Time,
    db::{Cell, Col, Rows, Stmt, Type},
    domain::{Outcome, State},
};

const COLS: [Col; 13] = [
    Col("svix_id", Type::Text),
    Col("event_type", Type::Text),
    Col("subject", Type::Text),
    Col("user_ids", Type::TextJson),
    Col("body", Type::Bytes),
    Col("occurred_at", Type::Time),
    Col("received_at", Type::Time),
    Col("available_at", Type::Time),
    Col("state", Type::Text),
    Col("outcome", Type::Text),
    Col("reason", Type::Text),
    Col("awaits", Type::Text),
    Col("awaits_too", Type::Text),
];

/// Writes a row each, cleaned of what is never stored. One that is parked already under the same id ends as it does now.
pub(in crate::sync) async fn park(
    tx: &impl ConnectionTrait,
    parked: &[(&Stored, &Outcome)],
    origin: &'static str,
    now: Time,
    deadline: Time,
) -> Result<(), DbErr> {
    let mut rows = Rows::new(&COLS);
    let mut ids = HashSet::new();
    for (stored, outcome) in parked {
        let body = stored.body.as_deref().unwrap_or_default();
        // What is nested too deep for a delivery is kept as a word, not as a body.
        let envelope = envelope::read(body).ok();
        if !ids.insert(stored.svix_id.as_str()) {
            continue;
        }
        let envelope = envelope.as_ref();
        let available = if outcome.state == State::Waiting { deadline } else { now };
        rows.push(vec![
            stored.svix_id.as_str().into(),
            stored.event_type.as_str().into(),
            envelope.and_then(|read| read.subject.as_deref()).into(),
            Cell::json(&envelope.map(|read| read.user_ids.as_slice()).unwrap_or_default()),
            envelope.and_then(|read| read.body.clone()).into(),
            stored.occurred_at.into(),
            now.into(),
            available.into(),
            outcome.state.as_str().into(),
            Some(outcome.outcome).filter(|_| outcome.state != State::Pending).into(),
            outcome.reason.as_deref().into(),
            outcome.awaits.as_deref().into(),
            outcome.awaits_too.as_deref().into(),
        ]);
    }
    if rows.is_empty() {
        return Ok(());
    }
    Stmt::new(
        tx,
        "insert into clerk_sync.inbox (svix_id, event_type, subject, user_ids, body, occurred_at, received_at, available_at, state,
            outcome, reason, awaits, awaits_too, finished_at, origin)
        select svix_id, event_type, subject, user_ids, body, occurred_at, received_at, available_at, state, outcome,
            reason, awaits, awaits_too, case when state <> 'pending' then received_at end, ",
    )
    .val(origin)
    .sql(" from ")
    .rows(rows)
    .sql(
        " where true on conflict (svix_id) do update set state = excluded.state, outcome = excluded.outcome,
            reason = excluded.reason, awaits = excluded.awaits, awaits_too = excluded.awaits_too,
            available_at = excluded.available_at, finished_at = excluded.finished_at
        where inbox.state in ('rejected', 'conflict', 'waiting', 'held')",
    )
    .exec(tx)
    .await
    .map(drop)
}

/// Of these ids, those that are parked already.
pub(in crate::sync) async fn known<'a>(
    tx: &impl ConnectionTrait,
    ids: impl Iterator<Item = &'a str>,
) -> Result<HashSet<String>, DbErr> {
    let rows = Rows::keys(ids);
    if rows.is_empty() {
        return Ok(HashSet::new());
    }
    let found = Stmt::new(tx, "select i.svix_id from ")
        .rows(rows)
        .sql(" join clerk_sync.inbox i on i.svix_id = r.k")
        .all(tx)
        .await?;
    found.iter().map(|row| row.try_get("", "svix_id")).collect()
}
