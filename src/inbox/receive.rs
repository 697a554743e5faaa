//! Receipts are committed in groups: while one group is being written, the next gathers.
//!
//! Invariants: an answer leaves only after the row is committed (P1); a group is bounded by rows and bytes; rows of
//! a group are sorted by svix-id, so that two replicas never wait for each other; a request that hung up cancels
//! nothing; what cannot be stored in time is answered with an error, and Svix delivers it again; while the storage under
//! SQLite is full or failing nothing is tried, until a canary row was read back ([`crate::db::Storage`]).

use std::time::{Duration, Instant};

use sea_orm::{DbErr, QueryResult};
use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use crate::{
    clerk::envelope::Envelope,
    clock::Time,
    config,
    db::{Cell, Col, Condition, Db, Rows, Stmt, Storage, Type},
    failpoint::{Failpoint, reach},
    lifecycle,
    wake::Signals,
};

/// A verified delivery on its way to its row.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "the names are the columns'")]
pub struct Receipt {
    pub svix_id: String,
    pub envelope: Envelope,
    pub received_at: Time,
    pub traceparent: Option<String>,
}

/// What became of a receipt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accepted {
    /// A new row.
    New,
    /// The row was there already.
    Duplicate,
}

/// The receipt could not be stored, or not in time. It may be stored all the same: the next delivery will tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the delivery cannot be stored now: {0}")]
pub struct Unavailable(pub &'static str);

/// Senders that were just answered send their next; a group that waited a moment for them takes twice as many.
const LONGEST_PAUSE: Duration = Duration::from_millis(2);

type Answer = oneshot::Sender<Result<Accepted, Unavailable>>;

/// Where requests hand in their receipts. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Receiver {
    queue: mpsc::Sender<(Receipt, Answer)>,
    answer_within: Duration,
    storage: Storage,
}

/// Writes the groups.
#[derive(Debug)]
pub struct Writer {
    queue: mpsc::Receiver<(Receipt, Answer)>,
    db: Db,
    signals: Signals,
    group_rows: usize,
    group_bytes: usize,
}

/// A receiver and the writer that it feeds.
pub fn receiver(db: Db, signals: Signals, config: &config::Receiver) -> (Receiver, Writer) {
    let (sender, queue) = mpsc::channel(config.queue.max(1));
    let receiver = Receiver { queue: sender, answer_within: config.answer_within, storage: db.storage().clone() };
    let group_rows = config.group_rows.max(1);
    let writer = Writer { queue, db, signals, group_rows, group_bytes: config.group_bytes };
    (receiver, writer)
}

impl Receiver {
    /// Stores a receipt; returns once its row is committed.
    ///
    /// # Errors
    /// [`Unavailable`] when the queue is full, the storage is not sound, the database refuses, or it takes too long.
    pub async fn accept(&self, receipt: Receipt) -> Result<Accepted, Unavailable> {
        storable(&self.storage)?;
        let (answer, wait) = oneshot::channel();
        self.queue.try_send((receipt, answer)).map_err(|_| Unavailable("too many deliveries are waiting"))?;
        match timeout(self.answer_within, wait).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(Unavailable("shutting down")),
            Err(_) => Err(Unavailable("the database is too slow")),
        }
    }
}

/// Whether the storage takes receipts.
fn storable(storage: &Storage) -> Result<(), Unavailable> {
    match storage.condition() {
        Condition::Sound => Ok(()),
        Condition::Full => Err(Unavailable("the database has no space left")),
        Condition::Failing => Err(Unavailable("the storage of the database reports errors")),
        Condition::Broken => Err(Unavailable("the database is damaged")),
    }
}

impl Writer {
    /// Writes groups until shutdown; then what is still queued. One at a time: what comes meanwhile gathers.
    pub async fn run(mut self, shutdown: CancellationToken) {
        let mut pause = Duration::ZERO;
        loop {
            let first = tokio::select! {
                first = self.queue.recv() => first,
                () = shutdown.cancelled() => {
                    self.queue.close();
                    self.queue.recv().await
                }
            };
            let Some(first) = first else { return };
            lifecycle::beat();
            tokio::time::sleep(pause).await;
            let group = self.gather(first);
            let (rows, started) = (group.len(), Instant::now());
            self.write(group).await;
            lifecycle::rest();
            pause = if rows > 1 { (started.elapsed() / 4).min(LONGEST_PAUSE) } else { Duration::ZERO };
        }
    }

    /// Everything that is waiting now, up to the bounds.
    fn gather(&mut self, first: (Receipt, Answer)) -> Vec<(Receipt, Answer)> {
        let size = |receipt: &Receipt| receipt.envelope.body.as_ref().map_or(0, Vec::len);
        let mut bytes = size(&first.0);
        let mut group = vec![first];
        while group.len() < self.group_rows && bytes < self.group_bytes {
            let Ok(next) = self.queue.try_recv() else { break };
            bytes += size(&next.0);
            group.push(next);
        }
        group
    }

    async fn write(&self, group: Vec<(Receipt, Answer)>) {
        let (receipts, answers): (Vec<Receipt>, Vec<Answer>) = group.into_iter().unzip();
        let results = match self.write_group(&receipts).await {
            Ok(accepted) => accepted.into_iter().map(Ok).collect(),
            Err(error) => {
                tracing::warn!(error = %crate::db::Quiet(&error), rows = receipts.len(), "a group of receipts could not be stored; trying row by row");
                self.write_each(&receipts).await
            }
        };
        self.signals.crowd.stored(receipts.len());
        self.signals.inbox.wake();
        for (answer, result) in answers.into_iter().zip(results) {
            // The request may have hung up; its row stands all the same.
            let _ = answer.send(result);
        }
    }

    /// All of them with one statement.
    async fn write_group(&self, receipts: &[Receipt]) -> Result<Vec<Accepted>, DbErr> {
        reach(Failpoint::ReceiptsGathered).await?;
        let accepted = insert(&self.db, receipts).await?;
        reach(Failpoint::ReceiptsCommitted).await?;
        Ok(accepted)
    }

    /// So that only the guilty row is refused. A database that is down refuses the first, and with it the others.
    async fn write_each(&self, receipts: &[Receipt]) -> Vec<Result<Accepted, Unavailable>> {
        if let Err(unavailable) = storable(self.db.storage()) {
            return vec![Err(unavailable); receipts.len()];
        }
        let mut results = Vec::with_capacity(receipts.len());
        for receipt in receipts {
            let result = insert(&self.db, std::slice::from_ref(receipt)).await;
            let down = result.as_ref().is_err_and(|error| !crate::db::is_data_error(error));
            results.push(
                result
                    .map_err(|_| Unavailable("the database refused it"))
                    .and_then(|accepted| accepted.first().copied().ok_or(Unavailable("the database did not answer"))),
            );
            if down {
                results.resize(receipts.len(), Err(Unavailable("the database is down")));
            }
        }
        results
    }
}

const COLS: [Col; 10] = [
    Col("svix_id", Type::Text),
    Col("event_type", Type::Text),
    Col("subject", Type::Text),
    Col("object_id", Type::Text),
    Col("user_ids", Type::TextJson),
    Col("body", Type::Bytes),
    Col("instance_id", Type::Text),
    Col("occurred_at", Type::Time),
    Col("received_at", Type::Time),
    Col("traceparent", Type::Text),
];

/// One statement, one commit. Answers in the order of `receipts`; of two with one id the first is new.
async fn insert(db: &Db, receipts: &[Receipt]) -> Result<Vec<Accepted>, DbErr> {
    let mut order: Vec<&Receipt> = receipts.iter().collect();
    order.sort_by(|a, b| a.svix_id.cmp(&b.svix_id));
    order.dedup_by(|a, b| a.svix_id == b.svix_id);
    let mut rows = Rows::new(&COLS);
    for receipt in order {
        let envelope = &receipt.envelope;
        rows.push(vec![
            receipt.svix_id.as_str().into(),
            envelope.event_type.as_str().into(),
            envelope.subject.as_deref().into(),
            envelope.object_id.as_deref().into(),
            Cell::json(&envelope.user_ids),
            envelope.body.clone().into(),
            envelope.instance_id.as_deref().into(),
            envelope.occurred_at.into(),
            receipt.received_at.into(),
            receipt.traceparent.as_deref().into(),
        ]);
    }
    let inserted = Stmt::new(&db.receipts, "")
        // Durable whatever the server's default is: set for this transaction, in its only statement.
        .dialect(
            "with durable as materialized (select pg_catalog.set_config('synchronous_commit', 'on', true) as setting) ",
            "",
        )
        .sql(
            "insert into clerk_sync.inbox (svix_id, event_type, subject, object_id, user_ids, body, instance_id,
                occurred_at, received_at, available_at, traceparent)
            select svix_id, event_type, subject, object_id, user_ids, body, instance_id, occurred_at, received_at,
                received_at, traceparent from ",
        )
        .rows(rows)
        .dialect(" cross join durable", "")
        .sql(" where true on conflict (svix_id) do nothing returning svix_id")
        .all(&db.receipts)
        .await?;
    let mut new: std::collections::HashSet<String> =
        inserted.iter().map(|row: &QueryResult| row.try_get("", "svix_id")).collect::<Result<_, _>>()?;
    let accepted = |receipt: &Receipt| if new.remove(&receipt.svix_id) { Accepted::New } else { Accepted::Duplicate };
    Ok(receipts.iter().map(accepted).collect())
}
