//! Claims: a replica takes due rows for the length of a lease. A claim is no promise (a crash returns the rows
//! through [`super::rescue`]); the commit checks that it still holds.

use std::time::Duration;

use sea_orm::{DbErr, FromQueryResult as _, QueryResult};

use crate::{
    clerk::decode::Stored,
    clock::Time,
    db::{Db, Stmt},
};

/// A claimed row.
#[derive(Debug, Clone)]
pub struct Claimed {
    /// What it says.
    pub stored: Stored,
    /// Failures so far.
    pub attempts: i64,
    /// Of a clash that is being refreshed, who blocks it.
    pub awaits: Option<String>,
    /// When it was received, for the end-to-end time.
    pub received_at: Time,
}

/// Takes up to `limit` due rows, oldest first, in the name of `claim`.
///
/// # Errors
/// What the database says; nothing is claimed then.
pub async fn claim(db: &Db, claim: &str, limit: u32, now: Time, lease: Duration) -> Result<Vec<Claimed>, DbErr> {
    let until = now + chrono::Duration::from_std(lease).unwrap_or(chrono::Duration::minutes(1));
    let rows = Stmt::new(&db.lazy, "update clerk_sync.inbox set state = 'running', claim = ")
        .val(claim)
        .sql(", available_at = ")
        .val(until)
        .sql(" where seq in (select seq from clerk_sync.inbox where state = 'pending' and available_at <= ")
        .val(now)
        .sql(" order by available_at, seq limit ")
        .val(i64::from(limit))
        .dialect(" for update skip locked", "")
        .sql(") returning seq, svix_id, event_type, subject, object_id, body, instance_id, occurred_at, received_at, attempts, awaits")
        .all(&db.lazy)
        .await?;
    let mut claimed = rows.iter().map(claimed).collect::<Result<Vec<_>, _>>()?;
    claimed.sort_by_key(|row| row.stored.seq);
    Ok(claimed)
}

fn claimed(row: &QueryResult) -> Result<Claimed, DbErr> {
    let stored = Stored::from_query_result(row, "")?;
    Ok(Claimed {
        stored,
        attempts: row.try_get("", "attempts")?,
        awaits: row.try_get("", "awaits")?,
        received_at: row.try_get("", "received_at")?,
    })
}
