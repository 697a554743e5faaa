//! What an operator may do to a receipt: have it planned again, or put it aside. The same functions serve HTTP and
//! the command line.
//!
//! Invariants: every change is audited in its own transaction; the commit lock is held, so that no commit ends or wakes a
//! row while it is being changed, and a batch that has read it before leaves it out.

use sea_orm::{DbErr, FromQueryResult};
use serde_json::json;

use crate::{
    audit,
    clerk::private::keeps_body,
    clock::Time,
    db::{Db, Stmt, Transaction},
    domain::State,
};

/// An operator's wish that was not fulfilled; nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// No receipt has this id.
    #[error("there is no such event")]
    Missing,
    /// The receipt is not in a state for it. Says what to do.
    #[error("{0}")]
    Condition(&'static str),
    /// The database refused.
    #[error("the database: {0}")]
    Database(#[from] DbErr),
}

#[derive(FromQueryResult)]
struct Row {
    seq: i64,
    event_type: String,
    subject: Option<String>,
    state: String,
    has_body: bool,
}

/// Puts a receipt back to `pending`, due now, its failures forgotten. The caller wakes the inbox.
///
/// # Errors
/// [`AdminError::Condition`] when the body that its type needs is no longer stored.
pub async fn retry(db: &Db, svix_id: &str, now: Time) -> Result<(), AdminError> {
    let tx = db.begin_commit().await?;
    let row = find(&tx, svix_id).await?;
    if !row.has_body && keeps_body(&row.event_type) {
        // Planned without what it said it would end as something that it is not.
        return Err(AdminError::Condition(
            "The event cannot be planned again: body emptied by retention or erasure. The end that it had stands.",
        ));
    }
    Stmt::new(
        &tx,
        "update clerk_sync.inbox set state = 'pending', outcome = null, reason = null, awaits = null, awaits_too = null,
            attempts = 0, duration_us = null, finished_at = null, available_at = ",
    )
    .val(now)
    .sql(" where seq = ")
    .val(row.seq)
    .exec(&tx)
    .await?;
    note(&tx, "event.retried", svix_id, &row, State::Pending, now).await?;
    Ok(tx.commit().await?)
}

/// Puts a receipt aside as `discarded`. Its reason stays, to be read.
///
/// # Errors
/// [`AdminError::Condition`] when it has had its effect.
pub async fn discard(db: &Db, svix_id: &str, now: Time) -> Result<(), AdminError> {
    let tx = db.begin_commit().await?;
    let row = find(&tx, svix_id).await?;
    match State::parse(&row.state) {
        Some(State::Done) => return Err(AdminError::Condition("The event has had its effect already.")),
        // Said twice is said once: the time of the first stays.
        Some(State::Discarded) => return Ok(()),
        _ => {}
    }
    Stmt::new(
        &tx,
        "update clerk_sync.inbox set state = 'discarded', outcome = 'discarded', awaits = null, awaits_too = null, finished_at = ",
    )
    .val(now)
    .sql(" where seq = ")
    .val(row.seq)
    .exec(&tx)
    .await?;
    let close = Stmt::new(&tx, "update clerk_sync.conflicts set state = 'resolved', resolved_at = ").val(now);
    close.sql(" where state = 'open' and svix_id = ").val(svix_id).exec(&tx).await?;
    note(&tx, "event.discarded", svix_id, &row, State::Discarded, now).await?;
    Ok(tx.commit().await?)
}

/// The row, locked: an event is put off without the commit lock.
async fn find(tx: &Transaction, svix_id: &str) -> Result<Row, AdminError> {
    Stmt::new(
        tx,
        "select seq, event_type, subject, state, body is not null as has_body from clerk_sync.inbox where svix_id = ",
    )
    .val(svix_id)
    .dialect(" for update", "")
    .one_as(tx)
    .await?
    .ok_or(AdminError::Missing)
}

async fn note(tx: &Transaction, action: &str, svix_id: &str, row: &Row, state: State, now: Time) -> Result<(), DbErr> {
    let subject = row.subject.as_deref().unwrap_or(svix_id);
    audit::operator(tx, action, subject, json!({"state": [row.state, state.as_str()]}), Some(svix_id), now).await
}
