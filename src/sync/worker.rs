//! The applier of one process: reads batches while it leads, and commits one while the next is read and decoded.

use std::{
    collections::{HashMap, HashSet},
    panic::{AssertUnwindSafe, catch_unwind},
    time::Duration,
};

use tokio::{
    runtime::RuntimeFlavor,
    sync::{mpsc, watch},
};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};
use uuid::Uuid;

use crate::{
    clerk::decode::decode,
    clock::{Clock, Time},
    config,
    db::{Db, Quiet},
    domain::{Event, Policy},
    failpoint::{Failpoint, reach},
    inbox::{
        admission::AdmissionLog,
        due::{self, Bounds, Due},
        retry::{Attempt, Deferred, defer},
    },
    instance::Instance,
    lifecycle,
    telemetry::metrics,
    wake::Signals,
};

use super::{
    batch::{Context, DEFERRED, Offender, Tried, bury, process},
    commit::Committed,
    confirm::Confirm,
    leader::Leadership,
    progress,
    reader::Reader,
    refresh::Refresher,
    write::inbox::wake_more,
};

/// What the loop needs.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Worker {
    pub db: Db,
    pub signals: Signals,
    pub policy: Policy,
    pub clock: Clock,
    pub config: config::Sync,
    /// Deliveries of other instances are refused.
    pub instance: Instance,
    /// Where Clerk is to be asked about new people.
    pub confirm: Option<Confirm>,
    /// Where Clerk is to be asked about clashes.
    pub refresh: Option<Refresher>,
    pub admissions: AdmissionLog,
}

/// A batch that is ready to be planned.
#[derive(Debug, Default)]
pub(super) struct Batch {
    events: Vec<Tried>,
    received: Vec<Time>,
    /// Rows whose decoding panicked.
    unreadable: Vec<Offender>,
}

impl Worker {
    /// Applies events until shutdown, while this process leads. Reading and decoding of the next batch run while the
    /// present one commits.
    ///
    /// # Panics
    /// If the reading task panics, so that whoever supervises this one hears of it.
    pub async fn run(self, shutdown: CancellationToken) {
        let leadership = Leadership::new(self.db.clone(), Uuid::new_v4().simple().to_string());
        let (sender, mut batches) = mpsc::channel::<(u64, Batch)>(1);
        let (ended, finished) = watch::channel(0);
        let lease = leadership.clone();
        let _renewing = AbortOnDropHandle::new(tokio::spawn(async move { lease.keep().await }));
        let reader = Reader::new(self.clone(), leadership.clone(), finished, shutdown.clone());
        let reading = AbortOnDropHandle::new(tokio::spawn(reader.run(sender)));
        while let Some((number, batch)) = batches.recv().await {
            lifecycle::beat();
            let (started, rows) = (std::time::Instant::now(), batch.events.len());
            self.signals.crowd.applied(rows);
            apart(self.finish(batch, &shutdown)).await;
            let _ = ended.send(number);
            self.signals.crowd.applied(rows);
            self.signals.crowd.give_way(started.elapsed()).await;
            lifecycle::rest();
        }
        if let Err(error) = reading.await
            && error.is_panic()
        {
            std::panic::resume_unwind(error.into_panic());
        }
        if let Err(error) = progress::clear(&self.db, leadership.owner()).await {
            tracing::debug!(error = %Quiet(&error), "the rows of progress could not be removed");
        }
        leadership.release(&self.signals).await;
    }

    /// Applies what is due now, and what that wakes, until nothing is; returns how many events ended. Needs no lease: what
    /// another process applies meanwhile is left out.
    ///
    /// # Errors
    /// What the database says while reading.
    pub async fn drain(&self) -> Result<usize, sea_orm::DbErr> {
        let never = CancellationToken::new();
        let mut ended = 0;
        loop {
            let rows = due::read(&self.db, None, self.bounds(), self.clock.now()).await?;
            if !rows.is_empty() {
                ended += self.finish(self.prepare(rows).await?, &never).await;
            } else if wake_more(&self.db, self.clock.now()).await? == 0 {
                return Ok(ended);
            }
        }
    }

    pub(super) fn bounds(&self) -> Bounds {
        Bounds { rows: self.config.batch, bytes: self.config.batch_bytes }
    }

    /// Decodes rows, and asks Clerk about those that need it. Leaves out those that are to be looked at later.
    pub(super) async fn prepare(&self, rows: Vec<Due>) -> Result<Batch, sea_orm::DbErr> {
        reach(Failpoint::BatchRead).await?;
        let mut batch = Batch::default();
        let clashes: HashSet<i64> = rows.iter().filter(|row| row.awaits.is_some()).map(|row| row.stored.seq).collect();
        let instance = self.instance.expected().await?;
        for Due { stored, attempts, received_at, .. } in rows {
            let offender = Offender::stored(&stored);
            match catch_unwind(AssertUnwindSafe(|| decode(stored, instance.as_deref()))) {
                Ok(event) => {
                    batch.events.push((event, attempts));
                    batch.received.push(received_at);
                }
                Err(_) => batch.unreadable.push(offender),
            }
        }
        if let Some(confirm) = &self.confirm {
            self.confirmed(confirm, &mut batch).await?;
        }
        if let Some(refresh) = self.refresh.as_ref().filter(|_| !clashes.is_empty()) {
            let started = std::time::Instant::now();
            let marked = batch.events.iter_mut().map(|(event, _)| event).filter(|event| clashes.contains(&event.seq));
            refresh.refresh(marked.collect()).await?;
            metrics::stage("refresh", started.elapsed());
        }
        Ok(batch)
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
        defer(&self.db.write, &later, Attempt::NotCounted).await?;
        let later: HashSet<i64> = later.into_iter().map(|(seq, ..)| seq).collect();
        let both = std::mem::take(&mut batch.events).into_iter().zip(std::mem::take(&mut batch.received));
        (batch.events, batch.received) = both.filter(|((event, _), _)| !later.contains(&event.seq)).unzip();
        Ok(())
    }

    fn context<'a>(&'a self, shutdown: &'a CancellationToken) -> Context<'a> {
        let Self { db, policy, clock, config, .. } = self;
        Context { db, policy, clock, config, shutdown }
    }

    /// Plans and commits a batch; returns how many events ended.
    pub(super) async fn finish(&self, batch: Batch, shutdown: &CancellationToken) -> usize {
        let context = self.context(shutdown);
        let received = batch.events.iter().zip(&batch.received);
        let known: HashMap<i64, (String, Time)> =
            received.map(|((event, _), at)| (event.seq, (event.event_type.clone(), *at))).collect();
        let (fresh, suspects): (Vec<Tried>, Vec<Tried>) =
            batch.events.into_iter().partition(|(_, attempts)| *attempts == 0);
        let started = std::time::Instant::now();
        let mut done = Committed::default();
        if !fresh.is_empty() {
            done.add(process(&context, fresh).await);
        }
        done.add(self.retry_suspects(&context, suspects).await);
        for offender in &batch.unreadable {
            done.add(bury(&context, offender, "data: reading this event panics", "panic").await);
        }
        metrics::stage("commit", started.elapsed());
        self.report(&done, &known);
        done.outcomes.len()
    }

    /// Tries events that failed before, each alone and after the others. Once one of them is deferred the rest is put off
    /// untried, so that one batch loses time to one of them at most.
    async fn retry_suspects(&self, context: &Context<'_>, suspects: Vec<Tried>) -> Committed {
        let (mut done, mut rest) = (Committed::default(), suspects.into_iter());
        for suspect in rest.by_ref() {
            let tried = process(context, vec![suspect]).await;
            let is_deferred = tried.deferred > 0;
            done.add(tried);
            if is_deferred {
                break;
            }
        }
        let at = context.clock.now() + chrono::Duration::seconds(1);
        let rest: Vec<Deferred> = rest.map(|(event, _)| (event.seq, at, DEFERRED)).collect();
        if !rest.is_empty()
            && let Err(error) = defer(&context.db.write, &rest, Attempt::NotCounted).await
        {
            tracing::warn!(error = %Quiet(&error), "events could not be put off");
        }
        done
    }

    /// Ends a row as `dead` because the process died again and again while it was applied.
    pub(super) async fn bury_fatal(&self, row: &Due, shutdown: &CancellationToken) {
        let reason = "attempts: the process ended again and again while this event was applied";
        let done = bury(&self.context(shutdown), &Offender::stored(&row.stored), reason, "crash").await;
        self.report(&done, &HashMap::from([(row.stored.seq, (row.stored.event_type.clone(), row.received_at))]));
    }

    /// Wakes what follows, and counts.
    fn report(&self, done: &Committed, known: &HashMap<i64, (String, Time)>) {
        if done.told {
            self.signals.outbox.wake();
        }
        if done.woken > 0 {
            self.signals.inbox.wake();
        }
        self.admissions.note(done.outcomes.iter().map(|(_, outcome)| outcome));
        let now = self.clock.now();
        for (seq, outcome) in &done.outcomes {
            if let Some((event_type, received)) = known.get(seq) {
                metrics::event_ended(event_type, outcome.outcome, (now - *received).to_std().unwrap_or_default());
            }
        }
    }
}

/// Runs work that computes for long on a thread of its own, so that receiving and delivering never wait for it. (A runtime
/// of one thread, as tests have, has no other to give.)
pub(super) async fn apart<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Handle::current();
    match runtime.runtime_flavor() {
        RuntimeFlavor::MultiThread => tokio::task::block_in_place(|| runtime.block_on(work)),
        _ => work.await,
    }
}

/// So that replicas which started together do not poll together.
pub(super) fn jittered(period: Duration) -> Duration {
    period.mul_f64(0.75 + 0.5 * fastrand::f64())
}
