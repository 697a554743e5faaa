//! The rescuer: rows whose lease ran out go back. A crash counts as a failure, so that an event which kills its
//! process does not do so for ever.

use sea_orm::DbErr;

use crate::{
    clock::Time,
    db::{Db, Stmt},
};

/// Returns rows with expired leases to `pending`; answers how many. Its attempts are counted, and the
/// next failure of one that has too many makes it `dead`.
///
/// # Errors
/// What the database says.
pub async fn rescue(db: &Db, now: Time) -> Result<u64, DbErr> {
    Stmt::new(
        &db.write,
        "update clerk_sync.inbox set state = 'pending', claim = null, attempts = attempts + 1, available_at = ",
    )
    .val(now)
    .sql(" where state = 'running' and available_at < ")
    .val(now)
    .exec(&db.write)
    .await
}
