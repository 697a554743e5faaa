//! The timers, one file a duty.
//!
//! - [`expired`], and [`crate::inbox::rescue`]: every replica may, at any time: each is one statement that finds its
//!   rows by an index
//! - [`conflicts`], [`waiting`]: every replica may: what is due is found, noted and told in one transaction under the
//!   commit lock
//! - [`retention`]: what grows old goes, in chunks; one replica at a time ([`lease`]), beside the others, so that
//!   nobody's lease waits for it; [`erase`] likewise

mod bodies;
mod changes;
pub mod conflicts;
pub mod erase;
mod expired;
mod lease;
mod receipts;
pub mod retention;
mod trail;
pub mod waiting;

use sea_orm::DbErr;
use tokio_util::sync::CancellationToken;

use crate::{
    clock::{Clock, Time},
    config,
    db::Db,
    inbox::rescue::rescue,
    wake::Signals,
};

use erase::Erasing;
use retention::Retention;

/// What the timers work with.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Upkeep {
    pub db: Db,
    pub signals: Signals,
    pub clock: Clock,
    pub config: config::Upkeep,
    pub retention: Retention,
    pub erasing: Erasing,
    pub conflicts: conflicts::Rules,
}

impl Upkeep {
    /// Does its rounds until shutdown.
    pub async fn run(self, shutdown: CancellationToken) {
        let every = self.config.every;
        tokio::join!(self.rounds(&shutdown), self.retention.run(every, &shutdown), self.erasing.run(every, &shutdown));
    }

    async fn rounds(&self, shutdown: &CancellationToken) {
        loop {
            match round(&self.db, self.clock.now()).await {
                Ok(0) => {}
                Ok(rescued) => {
                    tracing::warn!(rescued, "events whose lease ran out are tried again");
                    self.signals.inbox.wake();
                }
                Err(error) => {
                    tracing::warn!(error = %crate::db::Quiet(&error), "upkeep failed; next round will try again");
                }
            }
            let told = [
                conflicts::tell(&self.db, &self.clock, self.conflicts).await,
                waiting::tell(&self.db, &self.clock, self.conflicts.repeat).await,
            ];
            for told in told {
                match told {
                    Ok(0) => {}
                    Ok(_) => self.signals.outbox.wake(),
                    Err(error) => {
                        tracing::warn!(error = %crate::db::Quiet(&error), "alerts that are due could not be raised; next round will try again");
                    }
                }
            }
            tokio::select! {
                () = tokio::time::sleep(self.config.every) => {}
                () = shutdown.cancelled() => return,
            }
        }
    }
}

/// One round of what every replica does; answers how many events were rescued.
///
/// # Errors
/// What the database says.
pub async fn round(db: &Db, now: Time) -> Result<u64, DbErr> {
    expired::remove(db, now).await?;
    rescue(db, now).await
}
