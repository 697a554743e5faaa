//! The relay: one loop a shared sink, each with its own leased cursor (P6). A sink that is down holds its own cursor
//! and nobody else's; what it refuses for good goes to the dead letters and does not block.

use std::time::{Duration, Instant};

use sea_orm::DbErr;
use tokio_util::sync::CancellationToken;

use crate::{clock::Clock, config, db::Db, inbox::retry::backoff, telemetry::metrics, wake::Signals};

use super::{cursor, dead, feed};

/// A shared target of the change feed.
pub trait Sink: Send + Sync + 'static {
    /// The name of its cursor, e.g. `search:meilisearch`.
    fn name(&self) -> &'static str;

    /// How long to let changes gather after a delivery. The first change after a rest goes at once; in a steady stream
    /// a target that is dear to write is written less often, and several changes of one subject become one.
    fn gather(&self) -> Duration {
        Duration::ZERO
    }

    /// Delivers entries, in their order. Delivering again must do no harm.
    ///
    /// Answers what was refused for good; everything else was delivered. An error means that nothing is known to be
    /// delivered: the same entries come again.
    fn deliver(&self, entries: &[feed::Entry]) -> impl Future<Output = Result<Vec<Refused>, Transient>> + Send;
}

/// A change that the target will never take.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are the columns'")]
pub struct Refused {
    pub seq: i64,
    pub event: String,
    pub subject: String,
    /// Our words; no value of the change.
    pub reason: String,
}

/// The target cannot take anything now. The text says why, without values.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Transient(pub String);

/// Feeds one sink.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Relay {
    pub db: Db,
    pub signals: Signals,
    pub clock: Clock,
    pub config: config::Relay,
    /// Names this replica in leases.
    pub owner: String,
}

/// What one step found.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    Delivered,
    Nothing,
    /// Another replica feeds this sink, or it rests after a failure.
    NotOurs,
}

impl Relay {
    /// Feeds `sink` until shutdown.
    pub async fn run<S: Sink>(self, sink: S, shutdown: CancellationToken) {
        let mut waiter = self.signals.outbox.waiter();
        while !shutdown.is_cancelled() {
            let step = tokio::select! {
                step = self.step(&sink) => step,
                () = shutdown.cancelled() => break,
            };
            let pause = match step {
                Ok(Step::Delivered) => {
                    tokio::select! {
                        () = tokio::time::sleep(sink.gather()) => continue,
                        () = shutdown.cancelled() => break,
                    }
                }
                Ok(Step::Nothing | Step::NotOurs) => self.config.poll,
                Err(error) => {
                    tracing::warn!(sink = sink.name(), error = %crate::db::Quiet(&error), "the cursor cannot be read or moved");
                    self.config.poll
                }
            };
            tokio::select! {
                () = waiter.wait(pause) => {}
                () = shutdown.cancelled() => break,
            }
        }
        let _ = cursor::release(&self.db, sink.name(), &self.owner).await;
    }

    /// Delivers everything there is now and gives the lease up. Answers false if the sink failed or belongs to another
    /// replica.
    ///
    /// # Errors
    /// What the database says.
    pub async fn drain<S: Sink>(&self, sink: &S) -> Result<bool, DbErr> {
        let complete = loop {
            match self.step(sink).await? {
                Step::Delivered => {}
                Step::Nothing => break true,
                Step::NotOurs => break false,
            }
        };
        cursor::release(&self.db, sink.name(), &self.owner).await?;
        Ok(complete)
    }

    async fn step<S: Sink>(&self, sink: &S) -> Result<Step, DbErr> {
        let name = sink.name();
        let Some(cursor) = cursor::lease(&self.db, name, &self.owner, self.clock.now(), self.config.lease).await?
        else {
            cursor::ensure(&self.db, name, self.clock.now()).await?;
            return Ok(Step::NotOurs);
        };
        let entries = feed::read(&self.db.read, cursor.seq, self.config.batch).await?;
        let Some(last) = entries.last() else { return Ok(Step::Nothing) };
        let started = Instant::now();
        let result = tokio::select! {
            result = sink.deliver(&entries) => result,
            () = self.keep_lease(name) => return Ok(Step::NotOurs),
        };
        match result {
            Ok(refused) => {
                dead::bury(&self.db, name, &refused, &self.clock).await?;
                let moved =
                    cursor::advance(&self.db, name, &self.owner, cursor.seq, last.seq, self.clock.now()).await?;
                self.count(name, &entries, refused.len(), started.elapsed());
                Ok(if moved { Step::Delivered } else { Step::NotOurs })
            }
            Err(Transient(error)) => {
                let attempt = u32::try_from(cursor.attempts + 1).unwrap_or(u32::MAX);
                let delay = backoff(attempt, self.config.backoff, self.config.backoff_max, fastrand::f64());
                let now = self.clock.now();
                let until = now + chrono::Duration::from_std(delay).unwrap_or(chrono::Duration::minutes(1));
                tracing::warn!(sink = name, attempt, %error, "a sink is not taking changes; its cursor waits");
                metrics::delivered(name, "failed", 1);
                cursor::rest(&self.db, name, &self.owner, until, &error, now).await?;
                Ok(Step::NotOurs)
            }
        }
    }

    /// Renews the lease while a delivery takes its time; returns when it is lost.
    async fn keep_lease(&self, sink: &str) {
        loop {
            tokio::time::sleep(self.config.lease / 3).await;
            let renewed = cursor::lease(&self.db, sink, &self.owner, self.clock.now(), self.config.lease).await;
            if matches!(renewed, Ok(None)) {
                return;
            }
        }
    }

    fn count(&self, sink: &'static str, entries: &[feed::Entry], refused: usize, took: Duration) {
        metrics::delivered(sink, "delivered", entries.len().saturating_sub(refused) as u64);
        metrics::delivered(sink, "refused", refused as u64);
        metrics::stage("deliver", took);
        let now = self.clock.now();
        for entry in entries {
            metrics::reached(sink, (now - entry.created_at).to_std().unwrap_or_default());
        }
    }
}
