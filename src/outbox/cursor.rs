//! Cursors of shared sinks: how far each has got, and the lease of the one replica that moves it.

use std::time::Duration;

use sea_orm::{ConnectionTrait, DbErr, FromQueryResult};

use crate::{
    clock::{Time, later},
    db::{Db, Stmt},
};

/// A cursor under lease.
#[derive(Debug, Clone, FromQueryResult)]
pub struct Cursor {
    /// Everything up to here is delivered.
    pub seq: i64,
    /// Failures since the last delivery.
    pub attempts: i64,
}

/// Makes the cursor of a sink that has none, at the beginning of the feed.
///
/// # Errors
/// What the database says.
pub async fn ensure(db: &Db, sink: &str, now: Time) -> Result<(), DbErr> {
    Stmt::new(&db.lazy, "insert into clerk_sync.sink_cursors (sink, seq, available_at, updated_at) values (")
        .val(sink)
        .sql(", 0, ")
        .val(now)
        .sql(", ")
        .val(now)
        .sql(") on conflict (sink) do nothing")
        .exec(&db.lazy)
        .await
        .map(drop)
}

/// Makes the cursor of a sink that has none, at the present head: what was before it came is not for it. A crash does not
/// undo it: made again, it would stand further on.
///
/// # Errors
/// What the database says.
pub async fn ensure_at_head(db: &Db, sink: &str, now: Time) -> Result<(), DbErr> {
    Stmt::new(&db.write, "insert into clerk_sync.sink_cursors (sink, seq, available_at, updated_at) values (")
        .val(sink)
        .sql(", (select coalesce(max(seq), 0) from clerk_sync.outbox), ")
        .val(now)
        .sql(", ")
        .val(now)
        .sql(") on conflict (sink) do nothing")
        .exec(&db.write)
        .await
        .map(drop)
}

/// Takes or renews the lease; `None` while another replica has it, or while the sink rests after a failure.
///
/// # Errors
/// What the database says.
pub async fn lease(db: &Db, sink: &str, owner: &str, now: Time, length: Duration) -> Result<Option<Cursor>, DbErr> {
    let until = later(now, length);
    Stmt::new(&db.lazy, "update clerk_sync.sink_cursors set owner = ")
        .val(owner)
        .sql(", lease_until = ")
        .val(until)
        .sql(" where sink = ")
        .val(sink)
        .sql(" and (owner is null or owner = ")
        .val(owner)
        .sql(" or lease_until < ")
        .val(now)
        .sql(") and available_at <= ")
        .val(now)
        .sql(" returning seq, attempts")
        .one_as(&db.lazy)
        .await
}

/// Moves the cursor, if the lease still stands and nobody has set the cursor back meanwhile. Answers whether it did.
///
/// # Errors
/// What the database says.
pub async fn advance(db: &Db, sink: &str, owner: &str, from: i64, to: i64, now: Time) -> Result<bool, DbErr> {
    advance_on(&db.lazy, sink, owner, from, to, now).await
}

/// The same, and no crash undoes it: for what must not be delivered again.
///
/// # Errors
/// What the database says.
pub async fn advance_for_good(db: &Db, sink: &str, owner: &str, from: i64, to: i64, now: Time) -> Result<bool, DbErr> {
    advance_on(&db.write, sink, owner, from, to, now).await
}

async fn advance_on(
    connection: &impl ConnectionTrait,
    sink: &str,
    owner: &str,
    from: i64,
    to: i64,
    now: Time,
) -> Result<bool, DbErr> {
    let moved = Stmt::new(connection, "update clerk_sync.sink_cursors set attempts = 0, last_error = null, seq = ")
        .val(to)
        .sql(", updated_at = ")
        .val(now)
        .sql(" where sink = ")
        .val(sink)
        .sql(" and owner = ")
        .val(owner)
        .sql(" and seq = ")
        .val(from)
        .exec(connection)
        .await?;
    Ok(moved == 1)
}

/// Takes note of a failure: the sink rests until `until`.
///
/// # Errors
/// What the database says.
pub async fn rest(db: &Db, sink: &str, owner: &str, until: Time, error: &str, now: Time) -> Result<(), DbErr> {
    Stmt::new(&db.lazy, "update clerk_sync.sink_cursors set attempts = attempts + 1, available_at = ")
        .val(until)
        .sql(", last_error = ")
        .val(error)
        .sql(", updated_at = ")
        .val(now)
        .sql(" where sink = ")
        .val(sink)
        .sql(" and owner = ")
        .val(owner)
        .exec(&db.lazy)
        .await
        .map(drop)
}

/// Gives the lease up, so that another replica need not wait for its end.
///
/// # Errors
/// What the database says.
pub async fn release(db: &Db, sink: &str, owner: &str) -> Result<(), DbErr> {
    let update =
        Stmt::new(&db.lazy, "update clerk_sync.sink_cursors set owner = null, lease_until = null where sink = ")
            .val(sink);
    update.sql(" and owner = ").val(owner).exec(&db.lazy).await.map(drop)
}

/// Sets the cursor back (never forward), whoever holds it: what was changed while a sink was rebuilt is delivered again.
///
/// # Errors
/// What the database says.
pub async fn set_back(db: &Db, sink: &str, to: i64, now: Time) -> Result<(), DbErr> {
    let update =
        Stmt::new(&db.write, "update clerk_sync.sink_cursors set seq = ").val(to).sql(", available_at = ").val(now);
    update.sql(" where sink = ").val(sink).sql(" and seq > ").val(to).exec(&db.write).await.map(drop)
}
