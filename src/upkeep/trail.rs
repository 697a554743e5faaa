//! `retention.audit`: entries of the audit trail that are older are removed.

use sea_orm::DbErr;

use crate::{
    clock::Time,
    db::{Db, Stmt},
};

use super::retention::is_due;

/// Entries are numbered in the order in which they grow old, but for a difference between clocks.
const OLDEST: &str = "select min(at) as at from (select at from clerk_sync.audit_log order by seq limit 100) oldest";

/// Removes up to `limit` entries from before `before`; answers how many.
///
/// # Errors
/// What the database says; nothing was removed then.
pub(super) async fn chunk(db: &Db, before: Time, limit: i64) -> Result<u64, DbErr> {
    if !is_due(db, OLDEST, before).await? {
        return Ok(0);
    }
    Stmt::new(&db.lazy, "delete from clerk_sync.audit_log where at < ")
        .val(before)
        .sql(" and seq ")
        .dialect("= any (array(", "in (")
        .sql("select seq from clerk_sync.audit_log order by seq limit ")
        .val(limit)
        .dialect("))", ")")
        .exec(&db.lazy)
        .await
}
