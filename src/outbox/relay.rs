//! The relay: one loop a shared sink, each with its own leased cursor (P6). A sink that is down holds its own cursor
//! and nobody else's; what it refuses for good goes to the dead letters and does not block.
//!
//! A state sink gets changes many at a time and may get them again. A message sink ([`Sink::event`]) gets one message at
//! a time, see [`super::messages`].

use std::time::{Duration, Instant};

use sea_orm::DbErr;
use tokio_util::sync::CancellationToken;

use crate::{
    clock::{Clock, later},
    config,
    db::Db,
    inbox::retry::backoff,
    lifecycle,
    telemetry::metrics,
    wake::Signals,
};

use super::{
    cursor::{self, Cursor},
    dead, feed,
};

/// A shared target of the change feed.
pub trait Sink: Send + Sync + 'static {
    /// The name of its cursor, e.g. `search:meilisearch`.
    fn name(&self) -> &'static str;

    /// How long to let changes gather after a delivery. The first change after a rest goes at once; in a steady stream
    /// a target that is dear to write is written less often, and several changes of one subject become one.
    fn gather(&self) -> Duration {
        Duration::ZERO
    }

    /// Whether the target is so dear to write that it gives way while a backlog is being applied; afterwards, or when that
    /// takes too long, everything is delivered at a stretch.
    fn gives_way(&self) -> bool {
        false
    }

    /// The one event that a message sink sends. Such a sink begins at the head of the feed, and is handed rows of the
    /// event that are meant for everybody (effects `all`), one at a time. `None`: a state sink, for every change.
    fn event(&self) -> Option<&'static str> {
        None
    }

    /// Whether this row goes to the target: of a message sink's event, or of the changes that others are handed. Those that
    /// do not are not counted.
    fn takes(&self, _: &feed::Entry) -> bool {
        true
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

/// The target cannot take anything now.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
pub struct Transient {
    /// Why, without values.
    pub why: String,
    /// How long the target asks to be left alone.
    pub wait: Option<Duration>,
}

impl From<&str> for Transient {
    fn from(why: &str) -> Self {
        why.to_owned().into()
    }
}

impl From<String> for Transient {
    fn from(why: String) -> Self {
        Self { why, wait: None }
    }
}

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

impl Refused {
    /// A refusal of this entry.
    pub fn new(entry: &feed::Entry, reason: impl Into<String>) -> Self {
        Self { seq: entry.seq, event: entry.event.clone(), subject: entry.subject.clone(), reason: reason.into() }
    }
}

/// However long a target asks to be left alone, it is asked again after this.
const LONGEST_WAIT: Duration = Duration::from_secs(15 * 60);

/// How long a dear target gives way to a backlog at a time.
const GIVES_WAY: Duration = Duration::from_secs(3);

/// What one step found.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// There may be `more`.
    Delivered {
        more: bool,
    },
    Nothing,
    /// Another replica feeds this sink, or it rests after a failure.
    NotOurs,
}

impl Relay {
    /// Feeds `sink` until shutdown.
    pub async fn run<S: Sink>(self, sink: S, shutdown: CancellationToken) {
        let mut waiter = self.signals.outbox.waiter();
        // In the middle of delivering everything at a stretch.
        let mut hurrying = false;
        while !shutdown.is_cancelled() {
            lifecycle::beat();
            if sink.gives_way() && !hurrying {
                tokio::select! {
                    () = self.signals.crowd.applied_all(GIVES_WAY) => {}
                    () = shutdown.cancelled() => break,
                }
            }
            let step = match sink.event() {
                Some(event) => self.step_messages(&sink, event, &shutdown).await,
                None => tokio::select! {
                    step = self.step(&sink) => step,
                    () = shutdown.cancelled() => break,
                },
            };
            hurrying = sink.gives_way() && matches!(step, Ok(Step::Delivered { more: true }));
            let pause = match step {
                Ok(Step::Delivered { .. }) if hurrying => continue,
                Ok(Step::Delivered { .. }) => {
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
            lifecycle::rest();
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
        let never = CancellationToken::new();
        let complete = loop {
            let step = match sink.event() {
                Some(event) => self.step_messages(sink, event, &never).await?,
                None => self.step(sink).await?,
            };
            match step {
                Step::Delivered { .. } => {}
                Step::Nothing => break true,
                Step::NotOurs => break false,
            }
        };
        cursor::release(&self.db, sink.name(), &self.owner).await?;
        Ok(complete)
    }

    /// Makes the sink's cursor if it has none: a state sink begins with the first change there is, a message sink with
    /// what comes after this.
    ///
    /// # Errors
    /// What the database says.
    pub async fn begin<S: Sink>(&self, sink: &S) -> Result<(), DbErr> {
        match sink.event() {
            Some(_) => cursor::ensure_at_head(&self.db, sink.name(), self.clock.now()).await,
            None => cursor::ensure(&self.db, sink.name(), self.clock.now()).await,
        }
    }

    /// Takes the lease; where that fails because there is no cursor yet, makes one for the next time.
    pub(super) async fn lease<S: Sink>(&self, sink: &S) -> Result<Option<Cursor>, DbErr> {
        let leased = cursor::lease(&self.db, sink.name(), &self.owner, self.clock.now(), self.config.lease).await?;
        if leased.is_none() {
            self.begin(sink).await?;
        }
        Ok(leased)
    }

    async fn step<S: Sink>(&self, sink: &S) -> Result<Step, DbErr> {
        let name = sink.name();
        let Some(cursor) = self.lease(sink).await? else { return Ok(Step::NotOurs) };
        let (entries, lost) = feed::follow(&self.db.read, cursor.seq, self.config.batch).await?;
        if lost.is_some() {
            // One that is new: retention waits for every cursor there is.
            tracing::warn!(
                sink = name,
                "it begins with the changes that are kept; `clerk-sync reindex` fills cache and search"
            );
        }
        let Some(last) = entries.last() else { return Ok(Step::Nothing) };
        let started = Instant::now();
        let result = tokio::select! {
            result = sink.deliver(&entries) => result,
            () = self.keep_lease(name) => return Ok(Step::NotOurs),
        };
        match result {
            Ok(refused) => {
                crate::failpoint::reach(crate::failpoint::Failpoint::SinkDelivered).await?;
                dead::bury(&self.db, name, &refused, &self.clock).await?;
                let moved =
                    cursor::advance(&self.db, name, &self.owner, cursor.seq, last.seq, self.clock.now()).await?;
                self.count(name, entries.iter().filter(|entry| sink.takes(entry)), refused.len(), started.elapsed());
                let more = entries.len() >= self.config.batch as usize;
                Ok(if moved { Step::Delivered { more } } else { Step::NotOurs })
            }
            Err(transient) => self.rest(name, cursor.attempts, &transient).await,
        }
    }

    /// Lets a sink that failed rest, `attempts` failures behind it.
    pub(super) async fn rest(&self, sink: &'static str, attempts: i64, error: &Transient) -> Result<Step, DbErr> {
        let attempt = u32::try_from(attempts + 1).unwrap_or(u32::MAX);
        let delay = backoff(attempt, self.config.backoff, self.config.backoff_max, fastrand::f64());
        let delay = delay.max(error.wait.unwrap_or_default().min(LONGEST_WAIT));
        let now = self.clock.now();
        let until = later(now, delay);
        tracing::warn!(sink, attempt, %error, "a sink is not taking changes; its cursor waits");
        metrics::delivered(sink, "failed", 1);
        cursor::rest(&self.db, sink, &self.owner, until, &error.why, now).await?;
        Ok(Step::NotOurs)
    }

    /// Renews the lease while a delivery takes its time; returns when it is lost.
    pub(super) async fn keep_lease(&self, sink: &str) {
        loop {
            tokio::time::sleep(self.config.lease / 3).await;
            let renewed = cursor::lease(&self.db, sink, &self.owner, self.clock.now(), self.config.lease).await;
            if matches!(renewed, Ok(None)) {
                return;
            }
        }
    }

    pub(super) fn count<'a>(
        &self,
        sink: &'static str,
        entries: impl Iterator<Item = &'a feed::Entry>,
        refused: usize,
        took: Duration,
    ) {
        let (now, mut all) = (self.clock.now(), 0_usize);
        for entry in entries {
            metrics::reached(sink, (now - entry.created_at).to_std().unwrap_or_default());
            all += 1;
        }
        metrics::delivered(sink, "delivered", all.saturating_sub(refused) as u64);
        metrics::delivered(sink, "refused", refused as u64);
        metrics::stage("deliver", took);
    }
}
