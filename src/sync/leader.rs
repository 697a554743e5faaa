//! Leadership of the applier: a lease that one replica holds, so that one applies at a time.
//!
//! The lease spares work and guards nothing: the commit looks up again which rows are due, so two appliers at once are
//! safe. It is renewed every second, also while a batch takes long, and given up on shutdown; after a crash another
//! replica takes it once it runs out.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use sea_orm::{DbBackend, DbErr};

use crate::{
    db::{Db, Quiet},
    lease::{self, Held},
    wake::Signals,
};

/// The lease's name.
pub const LEASE: &str = "applier";

/// How long a lease lasts that is not renewed. Work goes on within 5 s after a crash, so one second is left for looking.
pub const LEASE_TIME: Duration = Duration::from_secs(4);

/// How often it is renewed.
const RENEW_EVERY: Duration = Duration::from_secs(1);

/// The lease as this process has it. Cheap to clone; clones share it.
#[derive(Debug, Clone)]
pub struct Leadership {
    db: Db,
    owner: String,
    renewed: Arc<Mutex<Option<Instant>>>,
    idle: Arc<AtomicBool>,
}

impl Leadership {
    /// Holds nothing yet; `owner` names this process.
    pub fn new(db: Db, owner: String) -> Self {
        Self { db, owner, renewed: Arc::default(), idle: Arc::new(AtomicBool::new(true)) }
    }

    /// Returns the name of this process.
    pub fn owner(&self) -> &str {
        &self.owner
    }

    /// Takes or renews the lease, unless it was renewed within the last second.
    ///
    /// # Errors
    /// What the database says.
    pub async fn acquire(&self) -> Result<Held, DbErr> {
        if self.age().is_some_and(|age| age < RENEW_EVERY) { Ok(Held::Here) } else { self.renew().await }
    }

    /// Whether the lease ran out, or was never taken: another replica may have applied events since.
    pub fn has_lapsed(&self) -> bool {
        self.age().is_none_or(|age| age >= LEASE_TIME)
    }

    /// Sets whether there is nothing to apply. On SQLite, where a renewal waits for the disk, none is written then.
    pub fn set_idle(&self, idle: bool) {
        self.idle.store(idle, Relaxed);
    }

    /// Renews the lease every second for as long as it is held. Never returns.
    pub async fn keep(&self) {
        loop {
            tokio::time::sleep(RENEW_EVERY).await;
            let rests = self.db.backend() == DbBackend::Sqlite && self.idle.load(Relaxed);
            if !rests
                && !self.has_lapsed()
                && let Err(error) = self.renew().await
            {
                tracing::warn!(error = %Quiet(&error), "the applier's lease could not be renewed");
            }
        }
    }

    /// Gives the lease up and tells other replicas.
    pub async fn release(&self, signals: &Signals) {
        *self.renewed.lock().unwrap_or_else(PoisonError::into_inner) = None;
        match lease::release(&self.db, LEASE, &self.owner).await {
            Ok(()) => signals.hand_over(&self.db).await,
            Err(error) => {
                tracing::warn!(error = %Quiet(&error), "the applier's lease could not be given up; it runs out");
            }
        }
    }

    async fn renew(&self) -> Result<Held, DbErr> {
        // Before the statement, so that this process never believes in its lease longer than the database does.
        let started = Instant::now();
        let held = lease::take_by_database_clock(&self.db, LEASE, &self.owner, LEASE_TIME).await?;
        let renewed = (held == Held::Here).then_some(started);
        *self.renewed.lock().unwrap_or_else(PoisonError::into_inner) = renewed;
        Ok(held)
    }

    fn age(&self) -> Option<Duration> {
        self.renewed.lock().unwrap_or_else(PoisonError::into_inner).map(|renewed| renewed.elapsed())
    }
}
