//! Rows that carry their own end.

use sea_orm::DbErr;

use crate::{
    clock::Time,
    db::{Db, Stmt},
};

/// Removes hashes of deleted persons' addresses, and ended sessions, whose time is over.
///
/// # Errors
/// What the database says.
pub(super) async fn remove(db: &Db, now: Time) -> Result<(), DbErr> {
    for delete in [
        "delete from clerk_sync.tombstone_addresses where expires_at < ",
        "delete from clerk_sync.revoked_sessions where expires_at < ",
    ] {
        Stmt::new(&db.write, delete).val(now).exec(&db.write).await?;
    }
    Ok(())
}
