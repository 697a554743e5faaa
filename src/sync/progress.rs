//! Crash-loop detection: which events were being applied when a process died.
//!
//! Before a batch is decoded one row of `applier_progress` names its range of seqs, without waiting for the disk. A range
//! that another process left behind and whose events are still pending was begun and never ended. [`Slot::Even`] and
//! [`Slot::Odd`] belong to the two batches that are under way in one process, and each batch overwrites the row of the one
//! before the last; [`Slot::Alone`] belongs to the one event that is tried alone.

use sea_orm::{DbErr, FromQueryResult};

use crate::db::{Db, Stmt};

/// An event or range that was begun this often and never ended is not tried again as it is.
pub const MAX_TRIES: i64 = 3;

/// Which row of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Slot {
    /// Every second batch.
    Even,
    /// The batches between.
    Odd,
    /// An event that is tried alone, because a range with it was begun [`MAX_TRIES`] times.
    Alone,
}

impl Slot {
    /// Returns the slot of the batch of this number.
    pub fn of(batch: u64) -> Self {
        if batch.is_multiple_of(2) { Self::Even } else { Self::Odd }
    }

    fn number(self) -> i64 {
        match self {
            Self::Even => 0,
            Self::Odd => 1,
            Self::Alone => 2,
        }
    }
}

/// A range that was begun: events by their seqs, ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromQueryResult)]
#[expect(missing_docs, reason = "the names are the columns'")]
pub struct Range {
    pub slot: i64,
    pub first_seq: i64,
    pub last_seq: i64,
    pub tries: i64,
}

impl Range {
    /// Whether it can hold one event only.
    pub fn is_single(&self) -> bool {
        self.first_seq == self.last_seq
    }
}

/// Writes down that the events of a range are being applied, for the `tries`th time.
///
/// # Errors
/// What the database says.
pub async fn begin(db: &Db, owner: &str, slot: Slot, range: (i64, i64), tries: i64) -> Result<(), DbErr> {
    put(db, owner, slot.number(), range, tries).await
}

/// Writes down that a range that a process left behind is tried again; returns it as it stands then.
///
/// # Errors
/// What the database says.
pub async fn begin_again(db: &Db, owner: &str, range: Range) -> Result<Range, DbErr> {
    let range = Range { tries: range.tries + 1, ..range };
    put(db, owner, range.slot, (range.first_seq, range.last_seq), range.tries).await?;
    Ok(range)
}

async fn put(db: &Db, owner: &str, slot: i64, (first, last): (i64, i64), tries: i64) -> Result<(), DbErr> {
    Stmt::new(&db.lazy, "insert into clerk_sync.applier_progress (slot, owner, first_seq, last_seq, tries) values (")
        .val(slot)
        .sql(", ")
        .val(owner)
        .sql(", ")
        .val(first)
        .sql(", ")
        .val(last)
        .sql(", ")
        .val(tries)
        .sql(
            ") on conflict (slot) do update set owner = excluded.owner, first_seq = excluded.first_seq,
            last_seq = excluded.last_seq, tries = excluded.tries",
        )
        .exec(&db.lazy)
        .await
        .map(drop)
}

/// Returns the ranges that other processes left behind, the narrowest first.
///
/// # Errors
/// What the database says.
pub async fn left_behind(db: &Db, owner: &str) -> Result<Vec<Range>, DbErr> {
    Stmt::new(&db.write, "select slot, first_seq, last_seq, tries from clerk_sync.applier_progress where owner <> ")
        .val(owner)
        .sql(" order by last_seq - first_seq, slot")
        .all_as(&db.write)
        .await
}

/// Removes the row of a range that has ended.
///
/// # Errors
/// What the database says.
pub async fn end(db: &Db, slot: i64) -> Result<(), DbErr> {
    Stmt::new(&db.lazy, "delete from clerk_sync.applier_progress where slot = ")
        .val(slot)
        .exec(&db.lazy)
        .await
        .map(drop)
}

/// Removes the row of an event that was tried alone.
///
/// # Errors
/// What the database says.
pub async fn end_alone(db: &Db) -> Result<(), DbErr> {
    end(db, Slot::Alone.number()).await
}

/// Removes this process's rows, on shutdown: what it leaves behind was not begun.
///
/// # Errors
/// What the database says.
pub async fn clear(db: &Db, owner: &str) -> Result<(), DbErr> {
    Stmt::new(&db.lazy, "delete from clerk_sync.applier_progress where owner = ")
        .val(owner)
        .exec(&db.lazy)
        .await
        .map(drop)
}
