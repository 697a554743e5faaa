//! Which replica does a duty that one does for all: the one that holds its lease.
//!
//! A lease spares work, it does not guard rows: whoever loses one in the middle of a statement does no harm.

use std::time::Duration;

use sea_orm::{DbBackend, DbErr};

use crate::{
    clock::{Time, later},
    db::{Db, Stmt},
};

/// Takes or renews the lease; false while another replica has it.
///
/// # Errors
/// What the database says.
pub async fn take(db: &Db, name: &str, owner: &str, now: Time, length: Duration) -> Result<bool, DbErr> {
    let until = later(now, length);
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

/// Who a lease was found with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Held {
    /// With the caller, for the whole length from now on.
    Here,
    /// With another replica, for this long at most.
    Elsewhere(Duration),
}

/// Takes or renews the lease by the database's clock, so that replicas whose clocks differ agree. Writes nothing while
/// another replica has it.
///
/// # Errors
/// What the database says.
pub async fn take_by_database_clock(db: &Db, name: &str, owner: &str, length: Duration) -> Result<Held, DbErr> {
    if let Some(left) = left(db, name, owner).await? {
        return Ok(Held::Elsewhere(left));
    }
    let (ms, secs) = (length.as_millis(), length.as_secs_f64());
    let until = match db.backend() {
        DbBackend::Postgres => format!("clock_timestamp() + interval '{ms} milliseconds'"),
        _ => format!("strftime('{SQLITE_TIME}', 'now', '+{secs:.3} seconds')"),
    };
    let taken = Stmt::new(&db.lazy, "insert into clerk_sync.leases (name, owner, lease_until) values (")
        .val(name)
        .sql(", ")
        .val(owner)
        .sql(&format!(", {until}"))
        .sql(
            ") on conflict (name) do update set owner = excluded.owner, lease_until = excluded.lease_until
            where leases.owner = excluded.owner or leases.lease_until <= ",
        )
        .dialect("clock_timestamp()", SQLITE_NOW)
        .exec(&db.lazy)
        .await?;
    // Another replica was quicker.
    Ok(if taken == 1 { Held::Here } else { Held::Elsewhere(length) })
}

/// How a time is written on SQLite.
const SQLITE_TIME: &str = "%Y-%m-%dT%H:%M:%f+00:00";
const SQLITE_NOW: &str = "strftime('%Y-%m-%dT%H:%M:%f+00:00', 'now')";

/// How long another replica has the lease for; `None` where none has.
async fn left(db: &Db, name: &str, owner: &str) -> Result<Option<Duration>, DbErr> {
    let rows = Stmt::new(&db.read, "select cast(")
        .dialect(
            "extract(epoch from lease_until - clock_timestamp()) * 1000 as bigint",
            "(julianday(lease_until) - julianday('now')) * 86400000 as integer",
        )
        .sql(") as ms from clerk_sync.leases where name = ")
        .val(name)
        .sql(" and owner <> ")
        .val(owner)
        .all(&db.read)
        .await?;
    let Some(row) = rows.first() else { return Ok(None) };
    let ms: i64 = row.try_get("", "ms")?;
    Ok(u64::try_from(ms).ok().filter(|ms| *ms > 0).map(Duration::from_millis))
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
