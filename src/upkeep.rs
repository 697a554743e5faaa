//! The timers: leases that ran out, rows that expired, conflicts that stay open.

pub mod conflicts;

use sea_orm::DbErr;
use tokio_util::sync::CancellationToken;

use crate::{
    clock::{Clock, Time},
    config,
    db::{Db, Stmt},
    inbox::rescue::rescue,
    wake::Signals,
};

/// Does its rounds until shutdown. Every replica may: each duty is one statement that finds its rows by an index, or a
/// transaction under the commit lock.
pub async fn run(
    db: Db,
    signals: Signals,
    clock: Clock,
    config: config::Upkeep,
    conflicts: conflicts::Rules,
    shutdown: CancellationToken,
) {
    loop {
        match round(&db, clock.now()).await {
            Ok(0) => {}
            Ok(rescued) => {
                tracing::warn!(rescued, "events whose lease ran out are tried again");
                signals.inbox.wake();
            }
            Err(error) => tracing::warn!(error = %crate::db::Quiet(&error), "upkeep failed; next round will try again"),
        }
        match conflicts::tell(&db, &clock, conflicts).await {
            Ok(0) => {}
            Ok(_) => signals.outbox.wake(),
            Err(error) => {
                tracing::warn!(error = %crate::db::Quiet(&error), "open conflicts could not be told; next round will try again");
            }
        }
        tokio::select! {
            () = tokio::time::sleep(config.every) => {}
            () = shutdown.cancelled() => return,
        }
    }
}

/// One round; answers how many events were rescued.
///
/// # Errors
/// What the database says.
pub async fn round(db: &Db, now: Time) -> Result<u64, DbErr> {
    let expired = Stmt::new(&db.write, "delete from tombstone_addresses where expires_at < ").val(now);
    expired.exec(&db.write).await?;
    let expired = Stmt::new(&db.write, "delete from revoked_sessions where expires_at < ").val(now);
    expired.exec(&db.write).await?;
    rescue(db, now).await
}
