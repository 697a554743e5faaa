//! The timers, one file a duty.
//!
//! - [`expired`]: every replica may, at any time: one statement that finds its rows by an index
//! - [`conflicts`], [`waiting`]: every replica may: what is due is found, noted and told in one transaction under the
//!   commit lock
//! - [`retention`]: what grows old goes, in chunks; one replica at a time ([`crate::lease`]), beside the others, so that
//!   nobody's lease waits for it; [`erase`] and [`search_index`] likewise
//! - [`schedule`], [`silence`]: where Clerk can be asked
//! - [`progress`]: every process, about its own loops and the queue of due events
//! - [`storage`]: a full or failing disk under SQLite

mod bodies;
mod changes;
pub mod conflicts;
pub mod erase;
mod expired;
pub mod progress;
mod receipts;
pub mod retention;
pub mod schedule;
pub mod search_index;
pub mod silence;
pub mod storage;
mod trail;
pub mod waiting;

use sea_orm::DbErr;
use tokio_util::sync::CancellationToken;

use crate::{
    clock::{Clock, Time},
    config,
    db::Db,
    lifecycle,
    wake::Signals,
};

use erase::Erasing;
use retention::Retention;
use schedule::Schedule;
use search_index::SearchIndex;

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
    pub search_index: SearchIndex,
    pub conflicts: conflicts::Rules,
    /// Where Clerk can be asked.
    pub schedule: Option<Schedule>,
    /// `waiting.deadline`.
    pub deadline: std::time::Duration,
}

impl Upkeep {
    /// Does its rounds until shutdown.
    pub async fn run(self, shutdown: CancellationToken) {
        let every = self.config.every;
        let scheduled = async {
            if let Some(schedule) = &self.schedule {
                schedule.run(&shutdown).await;
            }
        };
        tokio::join!(
            self.rounds(&shutdown),
            self.retention.run(every, &shutdown),
            self.erasing.run(every, &shutdown),
            self.search_index.run(every, &shutdown),
            scheduled
        );
    }

    async fn rounds(&self, shutdown: &CancellationToken) {
        loop {
            lifecycle::beat();
            if let Err(error) = round(&self.db, self.clock.now()).await {
                tracing::warn!(error = %crate::db::Quiet(&error), "upkeep failed; next round will try again");
            }
            self.fetch_parents().await;
            let told = [
                conflicts::tell(&self.db, &self.clock, self.conflicts).await,
                waiting::tell(&self.db, &self.clock, self.conflicts.repeat, self.again()).await,
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
            lifecycle::rest();
            tokio::select! {
                () = tokio::time::sleep(self.config.every) => {}
                () = shutdown.cancelled() => return,
            }
        }
    }
}

impl Upkeep {
    /// Before their absence is told.
    async fn fetch_parents(&self) {
        let Some(schedule) = &self.schedule else { return };
        match schedule.with.fetch_parents().await {
            Ok(fetched) if fetched != Default::default() => {
                tracing::info!(
                    came = fetched.came,
                    gone = fetched.gone,
                    "parents of waiting memberships were asked for at Clerk"
                );
            }
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "parents of waiting memberships cannot be asked for at Clerk"),
        }
    }

    /// How long after it was told of a waiting row is looked at again: where Clerk can be asked, soon.
    fn again(&self) -> std::time::Duration {
        if self.schedule.is_some() { self.deadline.min(self.conflicts.repeat) } else { self.conflicts.repeat }
    }
}

/// One round of what every replica does.
///
/// # Errors
/// What the database says.
pub async fn round(db: &Db, now: Time) -> Result<(), DbErr> {
    expired::remove(db, now).await
}
