//! Alerts that no event causes: a timer found something. They are merged and told like those of a plan.

use sea_orm::{ConnectionTrait, DbErr};

use crate::{
    clock::{Clock, Time},
    domain::plan::Alert,
    outbox::append::append,
};

use super::write::oversight;

/// Raises alerts in a transaction that holds the commit lock ([`crate::db::Db::begin_commit`]): new ones are told, and
/// those that were last told more than `repeat` ago. Answers how many rows the change feed got; if any, wake
/// [`crate::wake::Signals::outbox`] once the transaction is committed.
///
/// # Errors
/// What the database says; the transaction must be rolled back.
pub async fn raise(
    tx: &impl ConnectionTrait,
    alerts: &[Alert],
    repeat: chrono::Duration,
    clock: &Clock,
    now: Time,
) -> Result<usize, DbErr> {
    let messages = oversight::alerts(tx, alerts.iter(), repeat, clock, now, None).await?;
    append(tx, messages.iter(), clock, now).await?;
    Ok(messages.len())
}

/// Raising an alert tells people of it if they were last told at this moment or before, or never.
pub fn told_before(repeat: chrono::Duration, now: Time) -> Time {
    oversight::told_before(repeat, now)
}

/// Tells the operators' topic something that no event caused, in a transaction that holds the commit lock.
///
/// # Errors
/// What the database says; the transaction must be rolled back.
pub async fn announce(
    tx: &impl ConnectionTrait,
    event: &'static str,
    subject: &str,
    payload: serde_json::Value,
    clock: &Clock,
    now: Time,
) -> Result<(), DbErr> {
    let seq = super::load::head(tx).await? + 1;
    let message = super::write::admin_message(seq, event, subject, payload, subject);
    append(tx, [&message].into_iter(), clock, now).await
}
