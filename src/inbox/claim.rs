//! Claims: a replica takes due rows for the length of a lease. A claim is no promise (a crash returns the rows
//! through [`super::rescue`]); the commit checks that it still holds.

use std::time::Duration;

use sea_orm::{DbErr, FromQueryResult};

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
    /// When it was received, for the end-to-end time.
    pub received_at: Time,
}

#[derive(FromQueryResult)]
struct Row {
    seq: i64,
    svix_id: String,
    event_type: String,
    body: Option<Vec<u8>>,
    instance_id: Option<String>,
    occurred_at: Option<Time>,
    received_at: Time,
    attempts: i64,
}

/// Takes up to `limit` due rows, oldest first, in the name of `claim`.
///
/// # Errors
/// What the database says; nothing is claimed then.
pub async fn claim(db: &Db, claim: &str, limit: u32, now: Time, lease: Duration) -> Result<Vec<Claimed>, DbErr> {
    let until = now + chrono::Duration::from_std(lease).unwrap_or(chrono::Duration::minutes(1));
    let tx = db.begin().await?;
    if db.listen_pool().is_some() {
        // A claim that a crash loses is no loss: it need not wait for the disk.
        Stmt::new(&tx, "set local synchronous_commit = off").exec(&tx).await?;
    }
    let mut rows: Vec<Row> = Stmt::new(&tx, "update inbox set state = 'running', claim = ")
        .val(claim)
        .sql(", available_at = ")
        .val(until)
        .sql(" where seq in (select seq from inbox where state = 'pending' and available_at <= ")
        .val(now)
        .sql(" order by available_at, seq limit ")
        .val(i64::from(limit))
        .dialect(" for update skip locked", "")
        .sql(") returning seq, svix_id, event_type, body, instance_id, occurred_at, received_at, attempts")
        .all_as(&tx)
        .await?;
    tx.commit().await?;
    rows.sort_by_key(|row| row.seq);
    Ok(rows.into_iter().map(claimed).collect())
}

fn claimed(row: Row) -> Claimed {
    let Row { seq, svix_id, event_type, body, instance_id, occurred_at, received_at, attempts } = row;
    Claimed { stored: Stored { seq, svix_id, event_type, body, instance_id, occurred_at }, attempts, received_at }
}
