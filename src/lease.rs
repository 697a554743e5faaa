//! Which replica does a duty that one does for all: the one that holds its lease.
//!
//! A lease spares work, it does not guard rows: whoever loses one in the middle of a statement does no harm.

use std::time::Duration;

use sea_orm::DbErr;

use crate::{
    clock::Time,
    db::{Db, Stmt},
};

/// Takes or renews the lease; false while another replica has it.
///
/// # Errors
/// What the database says.
pub async fn take(db: &Db, name: &str, owner: &str, now: Time, length: Duration) -> Result<bool, DbErr> {
    let until = now + chrono::Duration::from_std(length).unwrap_or(chrono::Duration::minutes(1));
    let taken = Stmt::new(&db.lazy, "insert into clerk_sync.leases (name, owner, lease_until) values (")
        .val(name)
        .sql(", ")
        .val(owner)
        .sql(", ")
        .val(until)
        .sql(
            ") on conflict (name) do update set owner = excluded.owner, lease_until = excluded.lease_until
            where leases.owner = excluded.owner or leases.lease_until < ",
        )
        .val(now)
        .exec(&db.lazy)
        .await?;
    Ok(taken == 1)
}

/// Gives the lease up, so that another replica need not wait for its end.
///
/// # Errors
/// What the database says.
pub async fn release(db: &Db, name: &str, owner: &str) -> Result<(), DbErr> {
    let delete =
        Stmt::new(&db.lazy, "delete from clerk_sync.leases where name = ").val(name).sql(" and owner = ").val(owner);
    delete.exec(&db.lazy).await.map(drop)
}
