//! Other ways into the same plan: what Clerk's API says, where deliveries have not said it or not yet.
//!
//! - [`backfill`]: everybody, once; goes on after a kill, and proves that nobody is missing
//! - [`drift`]: what differs, found and repaired; every repair is a delivery that was lost
//! - [`ensure`]: one person, now; [`parents`]: those whom memberships wait for
//! - [`runs`]: each run over everybody is a row, for people to look at and for the next one to go on from
//!
//! Clerk is asked outside of every transaction; what it says is planned under the commit lock, in chunks
//! ([`crate::sync::objects`]).

pub mod backfill;
pub mod drift;
pub mod ensure;
mod extras;
pub mod parents;
mod patience;
pub mod proof;
pub mod report;
pub mod runs;
mod scan;

use std::time::Duration;

use sea_orm::DbErr;
use tokio_util::sync::CancellationToken;

use crate::{
    clerk::api::{Api, ApiError},
    clock::{Clock, span},
    config,
    db::{Db, Quiet},
    domain::plan::Alert,
    instance::{Instance, InstanceError},
    sync::{objects::Applier, raise::raise, worker::Worker},
};

/// What runs work with. Cheap to clone.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Reconciler {
    pub api: Api,
    /// Checked before every run.
    pub instance: Instance,
    pub db: Db,
    pub clock: Clock,
    pub applier: Applier,
    /// For parked events that a run wakes, where no server is running.
    pub worker: Worker,
    pub config: config::Reconcile,
    /// How long an alert that goes on is not told again.
    pub repeat: Duration,
    /// Names this process in leases.
    pub owner: String,
    pub shutdown: CancellationToken,
}

impl Reconciler {
    /// Checks that Clerk's API speaks of the instance that is pinned, before anything that it says changes data. A mismatch
    /// is alerted.
    pub(crate) async fn checked(&self) -> Result<(), RunError> {
        let Err(error) = self.instance.check(patience::TURN).await else { return Ok(()) };
        if error.is_mismatch() {
            let alert = Alert {
                kind: "instance.mismatch",
                level: "error",
                subject: "instance".into(),
                text: error.to_string(),
            };
            let repeat = span(self.repeat);
            let tx = self.db.begin_commit().await?;
            raise(&tx, &[alert], repeat, &self.clock, self.clock.now()).await?;
            tx.commit().await?;
            self.applier.signals.outbox.wake();
        }
        Err(error.into())
    }
}

/// Why a run came to no end.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The key is of another instance, or Clerk does not say of which.
    #[error("{0}")]
    Instance(#[from] InstanceError),
    /// Clerk does not answer, or refuses to.
    #[error("{0}")]
    Clerk(#[from] ApiError),
    /// The database says no.
    #[error("the database: {}", Quiet(.0))]
    Database(#[from] DbErr),
    /// Another process is at it.
    #[error("another {0} is under way; look at it with `clerk-sync runs`")]
    Busy(&'static str),
    /// The process is to end. A backfill goes on where it stopped.
    #[error("interrupted; a backfill goes on where it stopped when it is started again")]
    Interrupted,
}
