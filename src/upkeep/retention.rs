//! Retention: what is older than `retention.*` says goes, in chunks with pauses between them, so that no statement holds
//! rows for long and whoever writes events comes first. A chunk finds its rows by an index, and never waits for the disk:
//! what a crash brings back goes in the next round.
//!
//! One replica at a time does it, for as long as its lease stands.

use std::time::{Duration, Instant};

use sea_orm::{DbBackend, DbErr};
use tokio_util::sync::CancellationToken;

use crate::{
    clock::{Clock, Time, earlier},
    config,
    db::{Db, Stmt},
    lease,
};

pub use super::changes::Holder;
use super::{bodies, changes, receipts, trail};

const LEASE: &str = "retention";

/// Longer than any chunk takes, so that a replica that is slow does not share the work with another.
const LENGTH: Duration = Duration::from_secs(60);

/// How much at a time.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// Rows of one statement.
    pub rows: i64,
    /// Statements of one duty in one round.
    pub most: usize,
    /// How many times as long as it took to rest after each.
    pub rest: u32,
}

impl Pace {
    /// A fifth of one connection's time: some times faster than events can come. On SQLite everybody who writes waits for
    /// a chunk, so that it is smaller there.
    pub fn of(db: &Db) -> Self {
        match db.backend() {
            DbBackend::Postgres => Self { rows: 5_000, most: 100, rest: 4 },
            _ => Self { rows: 1_000, most: 500, rest: 4 },
        }
    }
}

/// What the rounds work with.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Retention {
    pub db: Db,
    pub clock: Clock,
    pub config: config::Retention,
    pub pace: Pace,
    /// Names this replica in the lease.
    pub owner: String,
}

/// What a round did, in rows.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Removed {
    /// Emptied bodies.
    pub bodies: u64,
    /// Removed receipts.
    pub receipts: u64,
    /// Removed changes.
    pub changes: u64,
    /// Removed entries of the audit trail.
    pub entries: u64,
    /// What keeps changes that are old enough to go.
    pub holder: Option<Holder>,
}

#[derive(Clone, Copy)]
enum Duty {
    Bodies,
    Receipts,
    Changes,
    Trail,
}

impl Retention {
    /// A round every so often, until shutdown.
    pub(super) async fn run(&self, every: Duration, shutdown: &CancellationToken) {
        let mut known = None;
        while !shutdown.is_cancelled() {
            tokio::select! {
                round = self.round() => match round {
                    Ok(None) => {}
                    Ok(Some(removed)) => tell(removed, &mut known),
                    Err(error) => {
                        tracing::warn!(error = %crate::db::Quiet(&error), "retention failed; next round will try again");
                    }
                },
                () = shutdown.cancelled() => break,
            }
            tokio::select! {
                () = tokio::time::sleep(every) => {}
                () = shutdown.cancelled() => break,
            }
        }
        // Else the lease runs out.
        let _ = lease::release(&self.db, LEASE, &self.owner).await;
    }

    /// One round; `None` where another replica does it.
    ///
    /// # Errors
    /// What the database says. What was removed before that is removed.
    pub async fn round(&self) -> Result<Option<Removed>, DbErr> {
        if !self.lead().await? {
            return Ok(None);
        }
        let keep = &self.config;
        let mut removed = Removed::default();
        for (duty, keep) in [
            (Duty::Bodies, keep.bodies),
            (Duty::Receipts, keep.receipts),
            (Duty::Changes, keep.outbox),
            (Duty::Trail, keep.audit),
        ] {
            if let Some(before) = self.before(keep) {
                self.chunks(duty, before, &mut removed).await?;
            }
        }
        Ok(Some(removed))
    }

    async fn chunks(&self, duty: Duty, before: Time, removed: &mut Removed) -> Result<(), DbErr> {
        let (db, rows) = (&self.db, self.pace.rows);
        for _ in 0..self.pace.most {
            let started = Instant::now();
            let (sum, done) = match duty {
                Duty::Bodies => (&mut removed.bodies, bodies::chunk(db, before, rows).await?),
                Duty::Receipts => (&mut removed.receipts, receipts::chunk(db, before, rows).await?),
                Duty::Trail => (&mut removed.entries, trail::chunk(db, before, rows).await?),
                Duty::Changes => {
                    let (done, holder) = changes::chunk(db, before, rows).await?;
                    removed.holder = holder;
                    (&mut removed.changes, done)
                }
            };
            *sum += done;
            if done < rows.unsigned_abs() {
                break;
            }
            tokio::time::sleep(started.elapsed() * self.pace.rest).await;
            if !self.lead().await? {
                break;
            }
        }
        Ok(())
    }

    async fn lead(&self) -> Result<bool, DbErr> {
        lease::take(&self.db, LEASE, &self.owner, self.clock.now(), LENGTH).await
    }

    /// What is from before this goes; `None`: nothing does.
    fn before(&self, keep: Duration) -> Option<Time> {
        (!keep.is_zero()).then(|| earlier(self.clock.now(), keep))
    }
}

/// Whether there is anything from before `before` where `oldest` looks: most rounds end here. It reads `at`.
pub(super) async fn is_due(db: &Db, oldest: &'static str, before: Time) -> Result<bool, DbErr> {
    let rows = Stmt::new(&db.read, oldest).all(&db.read).await?;
    let at: Option<Time> = rows.first().map_or(Ok(None), |row| row.try_get("", "at"))?;
    Ok(at.is_some_and(|at| at < before))
}

/// The holder is told when it is another than before.
fn tell(removed: Removed, known: &mut Option<Holder>) {
    let Removed { bodies, receipts, changes, entries, holder } = removed;
    if bodies + receipts + changes + entries > 0 {
        tracing::debug!(bodies, receipts, changes, entries, "retention");
    }
    match &holder {
        Some(Holder::Sink(sink)) if holder != *known => {
            tracing::warn!(sink, "changes older than retention.outbox are kept until this sink has them");
        }
        Some(Holder::DeadLetter(seq)) if holder != *known => {
            tracing::warn!(
                seq,
                "changes older than retention.outbox are kept until this dead letter is retried or discarded"
            );
        }
        _ => {}
    }
    *known = holder;
}
