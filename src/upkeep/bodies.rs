//! `retention.bodies`: what Clerk said of events that ended well long ago is emptied; their rows keep everything else.
//!
//! Only `done` and `skipped`, and no type that a later version reads (`clerk::private`): every other state may be planned again, for which its body is needed. An event whose body
//! is gone is not planned again (`inbox::admin`, `sync::replay`), so it keeps the end that it had.

use entity::inbox::SPENT;
use sea_orm::DbErr;

use crate::{
    clock::Time,
    db::{Db, Stmt},
};

/// Empties up to `limit` bodies of events that ended before `before`; answers how many.
///
/// # Errors
/// What the database says; nothing was emptied then.
pub(super) async fn chunk(db: &Db, before: Time, limit: i64) -> Result<u64, DbErr> {
    Stmt::new(&db.lazy, "update clerk_sync.inbox set body = null where seq ")
        // As an array Postgres finds the rows by their key, whatever it thinks how many they are.
        .dialect("= any (array(", "in (")
        .sql("select seq from clerk_sync.inbox where ")
        .sql(SPENT)
        .sql(" and finished_at < ")
        .val(before)
        .sql(" order by finished_at limit ")
        .val(limit)
        // One that is being planned again at this moment is passed by.
        .dialect(" for update skip locked", "")
        .dialect("))", ")")
        .exec(&db.lazy)
        .await
}
