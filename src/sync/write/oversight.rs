//! Conflicts, alerts, the audit trail, and the hashes of deleted persons' addresses.

use std::collections::{BTreeMap, HashSet};

use sea_orm::{ConnectionTrait, DbErr};
use serde_json::json;
use uuid::Uuid;

use crate::{
    clock::{Clock, Time, from_millis},
    db::{Cell, Col, Rows, Stmt, Type},
    domain::{
        Plan,
        plan::{Alert, Audit, ConflictChange, Kind, Message},
    },
};

const CONFLICT: [Col; 7] = [
    Col("id", Type::Id),
    Col("clerk_id", Type::Text),
    Col("address", Type::Text),
    Col("other", Type::Text),
    Col("svix_id", Type::Text),
    Col("state", Type::Text),
    Col("resolved_at", Type::Time),
];
const CLOSED: [Col; 1] = [Col("id", Type::Id)];
const ALERT: [Col; 8] = [
    Col("id", Type::Id),
    Col("key", Type::Text),
    Col("kind", Type::Text),
    Col("level", Type::Text),
    Col("subject", Type::Text),
    Col("text", Type::Text),
    Col("count", Type::Int),
    Col("told_at", Type::Time),
];
const AUDIT: [Col; 5] = [
    Col("actor", Type::Text),
    Col("action", Type::Text),
    Col("subject", Type::Text),
    Col("diff", Type::TextJson),
    Col("correlation_id", Type::Text),
];
const DECISION: [Col; 6] = [
    Col("id", Type::Id),
    Col("newcomer", Type::Text),
    Col("older", Type::Text),
    Col("address", Type::Text),
    Col("decision", Type::Text),
    Col("older_version", Type::Text),
];
const SESSION: [Col; 2] = [Col("session_id", Type::Text), Col("clerk_id", Type::Text)];
const DIGEST: [Col; 2] = [Col("id", Type::Id), Col("digest", Type::Text)];

pub(super) async fn conflicts(tx: &impl ConnectionTrait, changes: &[ConflictChange], now: Time) -> Result<(), DbErr> {
    let closed: HashSet<Uuid> = changes
        .iter()
        .filter_map(|change| if let ConflictChange::Close { id } = change { Some(*id) } else { None })
        .collect();
    let mut closing = Rows::new(&CLOSED);
    closed.iter().for_each(|id| closing.push(vec![Cell::Id(*id)]));
    // Closed first: a batch may close a conflict with one person and open the same address with another.
    if !closing.is_empty() {
        let close = Stmt::new(tx, "update clerk_sync.conflicts set state = 'resolved', resolved_at = ").val(now);
        close.sql(" where state = 'open' and id in (select id from ").rows(closing).sql(")").exec(tx).await?;
    }
    let mut opening = Rows::new(&CONFLICT);
    for change in changes {
        if let ConflictChange::Open { id, clerk_id, address, other, svix_id } = change {
            let (state, resolved_at) = if closed.contains(id) { ("resolved", Some(now)) } else { ("open", None) };
            let texts = [clerk_id.as_str(), address, other, svix_id, state].map(Cell::from);
            opening.push([vec![Cell::Id(*id)], texts.to_vec(), vec![resolved_at.into()]].concat());
        }
    }
    if opening.is_empty() {
        return Ok(());
    }
    Stmt::new(
        tx,
        "insert into clerk_sync.conflicts (id, clerk_id, address, other_clerk_id, svix_id, state, resolved_at, opened_at)
            select id, clerk_id, address, other, svix_id, state, resolved_at, ",
    )
    .val(now)
    .sql(" from ")
    .rows(opening)
    .exec(tx)
    .await
    .map(drop)
}

/// Merges alerts by key, under the commit lock; answers the messages about those that are told: the new ones, and those
/// that were last told more than `repeat` ago (zero: once is enough). They are numbered after `last`, or after the head.
pub(in crate::sync) async fn alerts(
    tx: &impl ConnectionTrait,
    alerts: impl Iterator<Item = &Alert>,
    repeat: chrono::Duration,
    clock: &Clock,
    now: Time,
    last: Option<i64>,
) -> Result<Vec<Message>, DbErr> {
    let mut merged: BTreeMap<String, (&Alert, i64)> = BTreeMap::new();
    for alert in alerts {
        merged.entry(alert.key()).and_modify(|(_, count)| *count += 1).or_insert((alert, 1));
    }
    if merged.is_empty() {
        return Ok(Vec::new());
    }
    let told = told_since(tx, merged.keys(), repeat, now).await?;
    let mut rows = Rows::new(&ALERT);
    for (key, (alert, count)) in &merged {
        let Alert { kind, level, subject, text } = alert;
        rows.push(vec![
            Cell::Id(clock.new_id()),
            key.as_str().into(),
            (*kind).into(),
            (*level).into(),
            subject.as_str().into(),
            text.as_str().into(),
            Cell::Int(*count),
            (!told.contains(key)).then_some(now).into(),
        ]);
    }
    Stmt::new(
        tx,
        "insert into clerk_sync.alerts (id, key, kind, level, subject, text, count, told_at, first_at, last_at)
            select id, key, kind, level, subject, text, count, told_at, ",
    )
    .val(now)
    .sql(", ")
    .val(now)
    .sql(" from ")
    .rows(rows)
    .sql(
        " where true on conflict (key) do update set count = alerts.count + excluded.count, text = excluded.text,
            last_at = excluded.last_at, told_at = coalesce(excluded.told_at, alerts.told_at)",
    )
    .exec(tx)
    .await?;
    merged.retain(|key, _| !told.contains(key));
    if merged.is_empty() {
        return Ok(Vec::new());
    }
    let mut seq = match last {
        Some(seq) => seq,
        None => crate::sync::load::head(tx).await?,
    };
    let message = |(key, (alert, _)): (String, (&Alert, i64))| {
        seq += 1;
        let payload = json!({"key": key, "kind": alert.kind, "level": alert.level, "text": alert.text});
        super::admin_message(seq, "alert.raised", &alert.subject, payload, &key)
    };
    Ok(merged.into_iter().map(message).collect())
}

/// Those of the keys of which people were told within `repeat`; where that is zero, ever.
async fn told_since(
    tx: &impl ConnectionTrait,
    keys: impl Iterator<Item = &String>,
    repeat: chrono::Duration,
    now: Time,
) -> Result<HashSet<String>, DbErr> {
    let rows = Stmt::new(tx, "select a.key from ")
        .rows(Rows::keys(keys))
        .sql(" join clerk_sync.alerts a on a.key = r.k where a.told_at > ")
        .val(told_before(repeat, now))
        .all(tx)
        .await?;
    rows.iter().map(|row| row.try_get("", "key")).collect()
}

/// An alert that was last told at this moment or before is told again.
pub(in crate::sync) fn told_before(repeat: chrono::Duration, now: Time) -> Time {
    let before_all = from_millis(0).unwrap_or(now);
    if repeat.is_zero() { before_all } else { now.checked_sub_signed(repeat).unwrap_or(before_all) }
}

pub(super) async fn audit(tx: &impl ConnectionTrait, entries: &[Audit], now: Time) -> Result<(), DbErr> {
    let mut rows = Rows::new(&AUDIT);
    for entry in entries {
        rows.push(vec![
            entry.actor.into(),
            entry.action.as_str().into(),
            entry.subject.as_str().into(),
            Cell::from(&entry.diff),
            entry.correlation_id.as_str().into(),
        ]);
    }
    if rows.is_empty() {
        return Ok(());
    }
    Stmt::new(
        tx,
        "insert into clerk_sync.audit_log (actor, action, subject, diff, correlation_id, at)
            select actor, action, subject, diff, correlation_id, ",
    )
    .val(now)
    .sql(" from ")
    .rows(rows)
    .exec(tx)
    .await
    .map(drop)
}

/// How long an ended session is remembered: far longer than any token of it lives.
const REVOKED_FOR: chrono::Duration = chrono::Duration::hours(24);

pub(super) async fn revoked(tx: &impl ConnectionTrait, plan: &Plan, now: Time) -> Result<(), DbErr> {
    let sessions: BTreeMap<&str, &str> =
        plan.revoked.iter().map(|session| (session.session_id.as_str(), session.clerk_id.as_str())).collect();
    let mut rows = Rows::new(&SESSION);
    sessions.into_iter().for_each(|(session, person)| rows.push(vec![session.into(), person.into()]));
    if rows.is_empty() {
        return Ok(());
    }
    Stmt::new(
        tx,
        "insert into clerk_sync.revoked_sessions (session_id, clerk_id, revoked_at, expires_at) select session_id, clerk_id, ",
    )
    .val(now)
    .sql(", ")
    .val(now + REVOKED_FOR)
    .sql(" from ")
    .rows(rows)
    .sql(" where true on conflict (session_id) do update set expires_at = excluded.expires_at")
    .exec(tx)
    .await
    .map(drop)
}

pub(super) async fn decisions(tx: &impl ConnectionTrait, plan: &Plan, actor: &str, now: Time) -> Result<(), DbErr> {
    let mut rows = Rows::new(&DECISION);
    for decision in &plan.decisions {
        let texts = [decision.newcomer.as_str(), &decision.older, &decision.address, decision.verdict.as_str()];
        let version = decision.older_version.as_ref().map(|version| version.as_str());
        rows.push([vec![Cell::Id(decision.id)], texts.map(Cell::from).to_vec(), vec![version.into()]].concat());
    }
    if rows.is_empty() {
        return Ok(());
    }
    Stmt::new(
        tx,
        "insert into clerk_sync.conflict_decisions (id, newcomer, older, address, decision, older_version, actor, decided_at)
            select id, newcomer, older, address, decision, older_version, ",
    )
    .val(actor)
    .sql(", ")
    .val(now)
    .sql(" from ")
    .rows(rows)
    .sql(
        " where true on conflict (newcomer, older, address) do update set decision = excluded.decision,
            older_version = excluded.older_version, actor = excluded.actor, decided_at = excluded.decided_at",
    )
    .exec(tx)
    .await
    .map(drop)
}

/// Deletions that operators cancelled: of two decisions about one subject the wider one stands.
pub(super) async fn cancelled(tx: &impl ConnectionTrait, plan: &Plan, actor: &str, now: Time) -> Result<(), DbErr> {
    const COLS: [Col; 3] = [Col("kind", Type::Text), Col("subject", Type::Text), Col("covers_until", Type::Time)];
    let mut rows = Rows::new(&COLS);
    let row = |(kind, subject, until): &(Kind, String, Time)| {
        rows.push(vec![kind.as_str().into(), subject.as_str().into(), Cell::Time(*until)]);
    };
    plan.cancelled.iter().for_each(row);
    if rows.is_empty() {
        return Ok(());
    }
    Stmt::new(
        tx,
        "insert into clerk_sync.deletion_decisions (kind, subject, covers_until, actor, decided_at)
            select kind, subject, covers_until, ",
    )
    .val(actor)
    .sql(", ")
    .val(now)
    .sql(" from ")
    .rows(rows)
    .sql(
        " where true on conflict (kind, subject) do update set covers_until = excluded.covers_until,
            actor = excluded.actor, decided_at = excluded.decided_at
            where deletion_decisions.covers_until < excluded.covers_until",
    )
    .exec(tx)
    .await
    .map(drop)
}

pub(super) async fn forgotten(tx: &impl ConnectionTrait, plan: &Plan, expires_at: Time) -> Result<(), DbErr> {
    let mut rows = Rows::new(&DIGEST);
    plan.forgotten.iter().for_each(|(id, digest)| rows.push(vec![Cell::Id(*id), digest.as_str().into()]));
    if rows.is_empty() {
        return Ok(());
    }
    Stmt::new(tx, "insert into clerk_sync.tombstone_addresses (user_id, digest, expires_at) select id, digest, ")
        .val(expires_at)
        .sql(" from ")
        .rows(rows)
        .sql(" where true on conflict do nothing")
        .exec(tx)
        .await
        .map(drop)
}
