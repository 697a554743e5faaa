//! `retention.receipts`: rows of events that ended long ago are removed.
//!
//! A delivery that comes again after that is a new one, and is planned again: it ends `stale`, `tombstoned` or
//! `unchanged`, since facts are never removed. What still waits for something is never removed.

use entity::inbox::SETTLED;
use sea_orm::DbErr;

use crate::{
    clock::Time,
    db::{Db, Stmt},
};

/// Removes up to `limit` rows of events that ended before `before`; answers how many.
///
/// # Errors
/// What the database says; nothing was removed then.
pub(super) async fn chunk(db: &Db, before: Time, limit: i64) -> Result<u64, DbErr> {
    Stmt::new(&db.lazy, "delete from clerk_sync.inbox where seq ")
        .dialect("= any (array(", "in (")
        .sql("select seq from clerk_sync.inbox where ")
        .sql(SETTLED)
        .sql(" and finished_at < ")
        .val(before)
        .sql(" order by finished_at limit ")
        .val(limit)
        .dialect(" for update skip locked", "")
        .dialect("))", ")")
        .exec(&db.lazy)
        .await
}
