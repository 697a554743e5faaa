//! The timers that need Clerk's API: comparisons with Clerk when they are due, and the watch for silence. The last run's
//! row says when the next is due, so that a restart brings no extra one; its lease lets one replica do it.

use std::time::Duration;

use sea_orm::DbErr;
use tokio_util::sync::CancellationToken;

use crate::{
    clock::{Time, span},
    db::{Db, Stmt},
    lease,
    reconcile::{Reconciler, RunError, drift::Options},
};

use super::silence;

/// How often it is looked whether something is due.
const LOOK: Duration = Duration::from_secs(30);

/// How often one replica listens for silence.
const LISTEN: Duration = Duration::from_secs(600);

/// What the timers work with.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Schedule {
    pub with: Reconciler,
    /// `silence.after`; zero: never.
    pub silence: Duration,
}

impl Schedule {
    pub(super) async fn run(&self, shutdown: &CancellationToken) {
        let started = self.with.clock.now();
        // A process that has just started has other things to do, and whoever starts many together wants no rush.
        let mut pause = LOOK.mul_f64(0.5 + fastrand::f64());
        loop {
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = shutdown.cancelled() => return,
            }
            pause = LOOK;
            self.listen(started).await;
            match self.due().await {
                Ok(None) => {}
                Ok(Some(options)) => pause = self.compare(options).await,
                Err(error) => {
                    tracing::warn!(error = %crate::db::Quiet(&error), "when the next comparison with Clerk is due cannot be read");
                }
            }
        }
    }

    /// Returns when to look again whether something is due.
    async fn compare(&self, options: Options) -> Duration {
        match self.with.reconcile(options).await {
            Ok(drift) if !drift.held.is_empty() => {
                tracing::error!(
                    "a comparison with Clerk is held: it would remove more than reconcile.max_removal_share"
                );
            }
            Ok(drift) if drift.count() == 0 => tracing::info!(full = options.full, "in step with Clerk"),
            Ok(drift) => tracing::warn!(
                missing = drift.missing.count,
                stale = drift.stale.count,
                extra = drift.extra.count,
                conflicting = drift.conflicting.count,
                buried = drift.buried.count,
                "deliveries were lost; what a comparison with Clerk found is repaired"
            ),
            // Another replica is at it, or this one is to end.
            Err(RunError::Busy(_) | RunError::Interrupted) => {}
            // It stays due; what is wrong takes an operator, or Clerk, longer than a look.
            Err(error @ RunError::Instance(_)) => {
                tracing::error!(%error, "no comparison with Clerk");
                return LISTEN;
            }
            Err(error) => tracing::warn!(%error, "a comparison with Clerk came to no end"),
        }
        LOOK
    }

    async fn listen(&self, started: Time) {
        if self.silence.is_zero() {
            return;
        }
        let with = &self.with;
        // Never given back: who took it last listens next.
        match lease::take(&with.db, "silence", &with.owner, with.clock.now(), LISTEN).await {
            Ok(true) => {}
            _ => return,
        }
        match silence::listen(with, self.silence, started).await {
            Ok(0) => {}
            Ok(_) => with.applier.signals.outbox.wake(),
            Err(error) => tracing::warn!(%error, "Clerk cannot be asked why it is silent"),
        }
    }

    /// The comparison that is due, a full one first.
    ///
    /// # Errors
    /// What the database says.
    pub async fn due(&self) -> Result<Option<Options>, DbErr> {
        let with = &self.with;
        let (every, full_every) = (with.config.every, with.config.full_every);
        let now = with.clock.now();
        let overdue =
            |last: Option<Time>, every: Duration| !every.is_zero() && last.is_none_or(|last| now - last >= span(every));
        // Before anybody was loaded everybody is missing: that is a backfill's to mend, and nobody's lost delivery.
        if !based(&with.db).await? {
            return Ok(None);
        }
        let full = began(&with.db, true).await?;
        if overdue(full, full_every) {
            return Ok(Some(Options { full: true, scheduled: true, ..Options::default() }));
        }
        let any = began(&with.db, false).await?;
        let due = overdue(any, every).then_some(Options { scheduled: true, ..Options::default() });
        Ok(due)
    }
}

/// When the last comparison began, of any end: one that fails is tried again when the next is due.
async fn began(db: &Db, full: bool) -> Result<Option<Time>, DbErr> {
    let mut find = Stmt::new(&db.read, "select started_at from clerk_sync.sync_runs where kind = 'reconcile'");
    if full {
        find = find.sql(" and mode = 'full'");
    }
    find.sql(" order by started_at desc limit 1")
        .all(&db.read)
        .await?
        .first()
        .map(|row| row.try_get("", "started_at"))
        .transpose()
}

/// Whether a run over everybody has come to a good end.
async fn based(db: &Db) -> Result<bool, DbErr> {
    let find = "select 1 as one from clerk_sync.sync_runs where state = 'done' and mode = 'full' limit 1";
    Ok(!Stmt::new(&db.read, find).all(&db.read).await?.is_empty())
}
