//! Writes a plan: a fixed number of statements, one file a group of tables. Statements with nothing to write are left out.

mod farewell;
pub(super) mod inbox;
mod organizations;
pub(super) mod oversight;
pub(super) mod parked;
mod sides;
mod users;

use sea_orm::{ConnectionTrait, DbErr};

use crate::{
    clock::{Clock, Time, shifted},
    db::{Cell, Col, Rows, Stmt, Type},
    domain::{Plan, Policy, plan::Message},
    json,
};

/// Everything but the inbox rows' own end. Answers the highest outbox seq afterwards.
///
/// # Errors
/// What the database says; the transaction must be rolled back.
pub(super) async fn plan(
    tx: &impl ConnectionTrait,
    plan: &Plan,
    policy: &Policy,
    actor: &str,
    clock: &Clock,
    now: Time,
) -> Result<(), DbErr> {
    farewell::relink(tx, plan).await?;
    users::accounts(tx, &plan.accounts).await?;
    sides::accounts(tx, &plan.accounts, clock).await?;
    organizations::write(tx, plan).await?;
    facts(tx, plan, now).await?;
    oversight::revoked(tx, plan, now).await?;
    oversight::decisions(tx, plan, actor, now).await?;
    oversight::cancelled(tx, plan, actor, now).await?;
    oversight::forgotten(tx, plan, shifted(now, policy.relink_window)).await?;
    oversight::conflicts(tx, &plan.conflicts, now).await?;
    oversight::audit(tx, &plan.audit, now).await?;
    let refused = farewell::hard(tx, &plan.hard).await?;
    let next = plan.outbox.last().map(|message| message.seq);
    let alerts = plan.alerts.iter().chain(&refused);
    let mut raised = oversight::alerts(tx, alerts, policy.alerts_repeat, clock, now, next).await?;
    if plan.quiet {
        raised.iter_mut().for_each(|message| message.effects = "state");
    }
    crate::outbox::append::append(tx, plan.outbox.iter().chain(&raised), clock, now).await
}

const FACTS: [Col; 10] = [
    Col("kind", Type::Text),
    Col("key", Type::Text),
    Col("version", Type::Text),
    Col("entered", Type::Bool),
    Col("deleted", Type::Bool),
    Col("deleted_at", Type::Time),
    Col("banned", Type::Bool),
    Col("deprovisioned", Type::Bool),
    Col("pair", Type::Text),
    Col("absent_version", Type::Text),
];

async fn facts(tx: &impl ConnectionTrait, plan: &Plan, now: Time) -> Result<(), DbErr> {
    let mut rows = Rows::new(&FACTS);
    for ((kind, key), facts) in &plan.facts {
        rows.push(vec![
            kind.as_str().into(),
            key.as_str().into(),
            facts.newest.as_ref().map(|version| version.as_str()).into(),
            Cell::Bool(facts.entered),
            Cell::Bool(facts.deleted),
            facts.deleted_at.into(),
            Cell::Bool(facts.banned),
            Cell::Bool(facts.deprovisioned),
            facts.pair.as_ref().map(ToString::to_string).as_deref().into(),
            facts.absent.as_ref().map(|version| version.as_str()).into(),
        ]);
    }
    if rows.is_empty() {
        return Ok(());
    }
    Stmt::new(
        tx,
        "insert into clerk_sync.subjects (kind, key, version, entered, deleted, deleted_at, banned, deprovisioned, pair,
                absent_version, buried_at, absent_at)
            select kind, key, version, entered, deleted, deleted_at, banned, deprovisioned, pair, absent_version,
                case when deleted then ",
    )
    .val(now)
    .sql(" end, case when absent_version is not null then ")
    .val(now)
    .sql(" end from ")
    .rows(rows)
    .sql(
        " where true on conflict (kind, key) do update set version = excluded.version, entered = excluded.entered,
            deleted = excluded.deleted, deleted_at = excluded.deleted_at,
            banned = excluded.banned, deprovisioned = excluded.deprovisioned, pair = excluded.pair,
            absent_version = excluded.absent_version,
            absent_at = case when excluded.absent_version is null then null else coalesce(subjects.absent_at, excluded.absent_at) end,
            buried_at = coalesce(subjects.buried_at, excluded.buried_at)",
    )
    .exec(tx)
    .await
    .map(drop)
}

/// A message for operators that is not the plan's own.
pub(super) fn admin_message(
    seq: i64,
    event: &'static str,
    subject: &str,
    payload: serde_json::Value,
    correlation: &str,
) -> Message {
    Message {
        seq,
        event,
        topic: "admin",
        subject: subject.to_owned(),
        routing: Vec::new(),
        payload: json::Value::from(payload).into_object(),
        changed: Vec::new(),
        effects: "all",
        correlation_id: correlation.to_owned(),
        occurred_at: None,
    }
}
