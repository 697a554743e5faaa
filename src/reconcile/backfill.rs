//! Backfill: everybody at Clerk into the tables, through the same plan and lock as deliveries, which may go on
//! meanwhile: the newer of two snapshots stands, whichever came first, and nobody who was deleted comes back.
//!
//! It goes on where it was killed: the row of its run holds how far each window is, written after what it counts.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicU64, Ordering},
};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::{
    clerk::{
        api::Objects,
        object::{Kind, stored},
    },
    sync::objects::Origin,
};

use super::{
    Reconciler, RunError,
    patience::{TURN, patiently},
    proof::{Proof, Totals},
    report::Tally,
    runs::Run,
    scan::{List, Offset, Window},
};

/// Slices of time for each hand.
const SLICES: u32 = 8;

/// How to go about it.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Windows that are read side by side.
    pub concurrency: u32,
    /// From the beginning, whatever was left.
    pub restart: bool,
}

/// How far a run is, for whoever looks at it.
#[derive(Debug, Default)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Meter {
    pub done: AtomicU64,
    pub total: AtomicU64,
}

/// How far a backfill is.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Progress {
    windows: Vec<Window>,
    organizations: Offset,
    memberships: Offset,
    tally: Tally,
}

/// What a backfill did.
#[derive(Debug, Clone, Serialize)]
pub struct Backfilled {
    /// What became of the objects.
    pub outcomes: Tally,
    /// Whether it adds up.
    pub proof: Proof,
    /// Whether an earlier process had begun it.
    pub resumed: bool,
}

/// What the hands of a run share.
struct Shared {
    reconciler: Reconciler,
    run: Run,
    progress: Mutex<Progress>,
    meter: Arc<Meter>,
    saving: tokio::sync::Mutex<()>,
}

impl Reconciler {
    /// Runs it to its end and proves it.
    ///
    /// # Errors
    /// [`RunError`]; it goes on where it stopped when it is started again.
    pub async fn backfill(&self, options: Options, meter: Arc<Meter>) -> Result<Backfilled, RunError> {
        self.checked().await?;
        let run = self.begin("backfill", "full", "command", !options.restart).await?;
        let done = self.filled(&run, options, meter).await;
        match &done {
            Ok(done) => self.end(&run, done.proof.holds(), json!(done)).await?,
            Err(_) => self.give_up(run.kind).await,
        }
        done
    }

    async fn filled(&self, run: &Run, options: Options, meter: Arc<Meter>) -> Result<Backfilled, RunError> {
        let before = self.totals().await?;
        meter.total.store(before.users + before.organizations + before.memberships, Ordering::Relaxed);
        let left: Option<Progress> = serde_json::from_value(run.progress.clone()).ok();
        let resumed = left.is_some();
        let progress = match left {
            Some(left) => left,
            None => {
                let slices = if options.concurrency > 1 { options.concurrency.saturating_mul(SLICES) } else { 1 };
                Progress { windows: self.windows(slices).await?, ..Progress::default() }
            }
        };
        meter.done.store(progress.tally.total(), Ordering::Relaxed);
        let shared = Arc::new(Shared {
            reconciler: self.clone(),
            run: run.clone(),
            progress: Mutex::new(progress),
            meter,
            saving: tokio::sync::Mutex::default(),
        });
        shared.clone().people(options.concurrency.max(1)).await?;
        // Parents before those who wait for them.
        shared.list(List::Organizations).await?;
        shared.list(List::Memberships).await?;
        // Where a server is running it may be quicker; each row is done once.
        self.worker.drain().await?;
        let outcomes = shared.progress().tally.clone();
        let proof = self.prove(run.started_at, &outcomes).await?;
        Ok(Backfilled { outcomes, proof, resumed })
    }

    /// How many there are, by Clerk's count.
    pub(super) async fn totals(&self) -> Result<Totals, RunError> {
        let (api, shutdown) = (&self.api, &self.shutdown);
        Ok(Totals {
            users: patiently(shutdown, || api.users_total(TURN)).await?,
            organizations: patiently(shutdown, || api.organizations_page(0, 1, TURN)).await?.total_count,
            memberships: patiently(shutdown, || api.memberships_page(0, 1, TURN)).await?.total_count,
        })
    }
}

impl Shared {
    fn progress(&self) -> std::sync::MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Some windows at a time, each by one task.
    async fn people(self: Arc<Self>, concurrency: u32) -> Result<(), RunError> {
        let windows = self.progress().windows.len();
        let mut open = (0..windows).collect::<Vec<_>>().into_iter();
        let mut tasks = JoinSet::new();
        loop {
            while tasks.len() < concurrency as usize
                && let Some(index) = open.next()
            {
                let shared = self.clone();
                tasks.spawn(async move { shared.window(index).await });
            }
            match tasks.join_next().await {
                None => return Ok(()),
                // Dropping the set ends the others; what they had committed stands.
                Some(done) => done.map_err(|_| RunError::Interrupted)??,
            }
        }
    }

    async fn window(&self, index: usize) -> Result<(), RunError> {
        let Some(mut window) = self.progress().windows.get(index).cloned() else { return Ok(()) };
        while let Some(page) = self.reconciler.next_users(&mut window).await? {
            self.page(Kind::User, page, |progress| {
                if let Some(place) = progress.windows.get_mut(index) {
                    *place = window.clone();
                }
            })
            .await?;
        }
        Ok(())
    }

    async fn list(&self, list: List) -> Result<(), RunError> {
        let of = |progress: &Progress| match list {
            List::Organizations => (Kind::Organization, progress.organizations.clone()),
            List::Memberships => (Kind::Membership, progress.memberships.clone()),
        };
        let (kind, mut offset) = of(&self.progress());
        while let Some(page) = self.reconciler.next_listed(list, &mut offset).await? {
            let at = offset.clone();
            self.page(kind, page.data, |progress| match list {
                List::Organizations => progress.organizations = at,
                List::Memberships => progress.memberships = at,
            })
            .await?;
        }
        Ok(())
    }

    /// Applies a page, and then notes that it is applied.
    async fn page(&self, kind: Kind, page: Objects, note: impl FnOnce(&mut Progress)) -> Result<(), RunError> {
        let objects = page.iter().map(|object| stored(kind, object)).collect();
        let report = self.reconciler.applier.apply(objects, Origin::Backfill, false).await?;
        {
            let mut progress = self.progress();
            progress.tally.add(kind, &report);
            note(&mut progress);
            self.meter.done.store(progress.tally.total(), Ordering::Relaxed);
        }
        // One at a time, each with what is so by then: an older state never overwrites a newer one.
        let _saving = self.saving.lock().await;
        let progress: Value = json!(*self.progress());
        self.reconciler.note(&self.run, progress).await
    }
}
