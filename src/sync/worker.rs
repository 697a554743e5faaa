//! The loop of one replica: claim the next batch while the last one commits; rest when nothing is due.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use tokio::{runtime::RuntimeFlavor, sync::mpsc};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    clerk::decode::decode,
    clock::{Clock, Time},
    config,
    db::Db,
    domain::{Event, Policy},
    inbox::{
        admission::AdmissionLog,
        claim::{Claimed, claim},
        retry::put_back,
    },
    telemetry::metrics,
    wake::Signals,
};

use super::{
    batch::{Context, Tried, bury, process},
    confirm::Confirm,
    refresh::Refresher,
    write::inbox::wake_more,
};

/// An event that was rescued more than this many times `sync.max_attempts` is not tried again.
const LAST_CHANCES: i64 = 4;

/// After how many batches those who are still to be woken get a turn, however busy it is.
const BATCHES_A_WAKE: u32 = 16;

/// What the loop needs.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Worker {
    pub db: Db,
    pub signals: Signals,
    pub policy: Policy,
    pub clock: Clock,
    pub config: config::Sync,
    pub instance: Option<String>,
    /// Where Clerk is to be asked about new people.
    pub confirm: Option<Confirm>,
    /// Where Clerk is to be asked about clashes.
    pub refresh: Option<Refresher>,
    pub admissions: AdmissionLog,
}

/// A batch under way: the name of its claim and its events.
struct Batch {
    claim: String,
    events: Vec<Tried>,
    received: Vec<Time>,
}

impl Worker {
    /// Works until shutdown. Claiming and decoding of the next batch run while the present one commits.
    pub async fn run(self, shutdown: CancellationToken) {
        let (sender, mut batches) = mpsc::channel::<Batch>(1);
        let claimer = self.clone();
        let stop = shutdown.clone();
        let claiming = tokio::spawn(async move { claimer.claim_batches(sender, stop).await });
        while let Some(batch) = batches.recv().await {
            let (started, rows) = (std::time::Instant::now(), batch.events.len());
            self.signals.crowd.applied(rows);
            apart(self.finish(batch, &shutdown)).await;
            self.signals.crowd.applied(rows);
            self.signals.crowd.give_way(started.elapsed()).await;
        }
        let _ = claiming.await;
    }

    /// Runs what is due now, and what that wakes, until nothing is. Answers how many events ended.
    ///
    /// # Errors
    /// What the database says while claiming.
    pub async fn drain(&self) -> Result<usize, sea_orm::DbErr> {
        let never = CancellationToken::new();
        let mut ended = 0;
        while let Some(batch) = self.next_batch().await? {
            ended += self.finish(batch, &never).await;
        }
        Ok(ended)
    }

    async fn claim_batches(&self, sender: mpsc::Sender<Batch>, shutdown: CancellationToken) {
        let mut waiter = self.signals.inbox.waiter();
        let mut batches = 0_u32;
        while !shutdown.is_cancelled() {
            // The permit first: nothing is claimed that nobody can take.
            let Ok(permit) = sender.reserve().await else { return };
            // Also where events never cease, those who still wait for a parent that has come are not forgotten.
            batches = batches.wrapping_add(1);
            if batches.is_multiple_of(BATCHES_A_WAKE)
                && let Err(error) = wake_more(&self.db, self.clock.now()).await
            {
                tracing::warn!(error = %crate::db::Quiet(&error), "waiting events could not be woken; later batches will");
            }
            match apart(self.next_batch()).await {
                Ok(Some(batch)) => permit.send(batch),
                Ok(None) => tokio::select! {
                    () = waiter.wait(jittered(self.config.poll)) => {}
                    () = shutdown.cancelled() => return,
                },
                Err(error) => {
                    tracing::warn!(error = %crate::db::Quiet(&error), "claiming failed");
                    tokio::select! {
                        () = tokio::time::sleep(jittered(self.config.poll)) => {}
                        () = shutdown.cancelled() => return,
                    }
                }
            }
        }
    }

    async fn next_batch(&self) -> Result<Option<Batch>, sea_orm::DbErr> {
        let name = Uuid::new_v4().simple().to_string();
        let claimed = claim(&self.db, &name, self.config.batch, self.clock.now(), self.config.lease).await?;
        if claimed.is_empty() {
            if wake_more(&self.db, self.clock.now()).await? > 0 {
                return Box::pin(self.next_batch()).await;
            }
            return Ok(None);
        }
        let received = claimed.iter().map(|row| row.received_at).collect();
        let clashes: HashSet<i64> =
            claimed.iter().filter(|row| row.awaits.is_some()).map(|row| row.stored.seq).collect();
        let decode = |row: Claimed| (decode(row.stored, self.instance.as_deref()), row.attempts);
        let mut batch = Batch { claim: name, events: claimed.into_iter().map(decode).collect(), received };
        if let Some(confirm) = &self.confirm {
            self.confirmed(confirm, &mut batch).await?;
        }
        if let Some(refresh) = self.refresh.as_ref().filter(|_| !clashes.is_empty()) {
            let started = std::time::Instant::now();
            let marked = batch.events.iter_mut().map(|(event, _)| event).filter(|event| clashes.contains(&event.seq));
            refresh.refresh(marked.collect()).await?;
            metrics::stage("refresh", started.elapsed());
        }
        Ok(Some(batch))
    }

    /// Leaves out whom Clerk does not know yet: they are due again later.
    async fn confirmed(&self, confirm: &Confirm, batch: &mut Batch) -> Result<(), sea_orm::DbErr> {
        let started = std::time::Instant::now();
        let mut events: Vec<(&mut Event, Time)> =
            batch.events.iter_mut().map(|(event, _)| event).zip(batch.received.iter().copied()).collect();
        let later = confirm.judge(&mut events).await?;
        metrics::stage("confirm", started.elapsed());
        if later.is_empty() {
            return Ok(());
        }
        put_back(&self.db.write, &batch.claim, &later, false).await?;
        let later: HashSet<i64> = later.into_iter().map(|(seq, ..)| seq).collect();
        let both = std::mem::take(&mut batch.events).into_iter().zip(std::mem::take(&mut batch.received));
        (batch.events, batch.received) = both.filter(|((event, _), _)| !later.contains(&event.seq)).unzip();
        Ok(())
    }

    async fn finish(&self, batch: Batch, shutdown: &CancellationToken) -> usize {
        let Self { db, policy, clock, config, .. } = self;
        let context = Context { db, policy, clock, config, shutdown };
        let received = batch.events.iter().zip(&batch.received);
        let known: HashMap<i64, (String, Time)> =
            received.map(|((event, _), at)| (event.seq, (event.event_type.clone(), *at))).collect();
        let limit = i64::from(config.max_attempts);
        let (due, spent): (Vec<Tried>, Vec<Tried>) =
            batch.events.into_iter().partition(|(_, attempts)| *attempts < limit);
        let started = std::time::Instant::now();
        let mut done = process(&context, &batch.claim, due).await;
        // Rescued often: one of them may be what kills the process. Each is tried alone, in no order, so that whatever
        // happens the others get through; only one that kills it again and again is put aside.
        let mut spent = spent;
        fastrand::shuffle(&mut spent);
        for (event, attempts) in spent {
            if attempts >= limit.saturating_mul(LAST_CHANCES) {
                done.told |=
                    bury(&context, &batch.claim, &event, "attempts: failed too often", &mut done.outcomes).await;
                continue;
            }
            let alone = process(&context, &batch.claim, vec![(event, attempts)]).await;
            done.told |= alone.told;
            done.woken += alone.woken;
            done.outcomes.extend(alone.outcomes);
        }
        metrics::stage("commit", started.elapsed());
        if done.told {
            self.signals.outbox.wake();
        }
        if done.woken > 0 {
            self.signals.inbox.wake();
        }
        self.admissions.note(done.outcomes.iter().map(|(_, outcome)| outcome));
        let now = clock.now();
        for (seq, outcome) in &done.outcomes {
            if let Some((event_type, received)) = known.get(seq) {
                metrics::event_ended(event_type, outcome.outcome, (now - *received).to_std().unwrap_or_default());
            }
        }
        done.outcomes.len()
    }
}

/// Runs work that computes for long on a thread of its own, so that receiving and delivering never wait for it. (A runtime
/// of one thread, as tests have, has no other to give.)
async fn apart<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Handle::current();
    match runtime.runtime_flavor() {
        RuntimeFlavor::MultiThread => tokio::task::block_in_place(|| runtime.block_on(work)),
        _ => work.await,
    }
}

/// So that replicas which started together do not poll together.
fn jittered(period: Duration) -> Duration {
    period.mul_f64(0.75 + 0.5 * fastrand::f64())
}
