//! Reads pending rows for the applier of one process, in the order in which they are due, ahead of the commits.
//!
//! Reading continues after the row that the last batch ended with (keyset), because the rows of a batch are `pending` until
//! it is committed. Once nothing more is found, and every few batches, it begins anew: rows that were deferred, woken or
//! committed late stand before that place.

use std::{
    collections::{HashSet, VecDeque},
    time::Duration,
};

use sea_orm::DbErr;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::{
    db::Quiet,
    inbox::due::{self, Due, Position},
    lease::Held,
    wake::Waiter,
};

use super::{
    leader::Leadership,
    progress::{self, MAX_TRIES, Range, Slot},
    worker::{Batch, Worker, apart, jittered},
    write::inbox::wake_more,
};

/// After how many batches reading begins anew and those who are still to be woken get a turn, however busy it is.
const BATCHES_A_ROUND: u64 = 16;

/// How long another replica's lease is waited for before it is looked at again.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The reading half of the applier.
pub(super) struct Reader {
    worker: Worker,
    leadership: Leadership,
    shutdown: CancellationToken,
    waiter: Waiter,
    /// Where reading continues.
    after: Option<Position>,
    /// The number of the last batch that was handed on.
    sent: u64,
    /// The number of the last batch that has ended.
    finished: watch::Receiver<u64>,
    /// Batches that have not ended, with the seqs of their rows.
    in_flight: VecDeque<(u64, HashSet<i64>)>,
}

impl Reader {
    pub(super) fn new(
        worker: Worker,
        leadership: Leadership,
        finished: watch::Receiver<u64>,
        shutdown: CancellationToken,
    ) -> Self {
        let waiter = worker.signals.inbox.waiter();
        Self { worker, leadership, shutdown, waiter, after: None, sent: 0, finished, in_flight: VecDeque::new() }
    }

    /// Hands batches on until shutdown, while this process leads.
    pub(super) async fn run(mut self, sender: mpsc::Sender<(u64, Batch)>) {
        let mut handed_over = self.worker.signals.leadership.waiter();
        while !self.shutdown.is_cancelled() {
            // The permit first: nothing is read that nobody can take.
            let Ok(permit) = sender.reserve().await else { return };
            match self.lead().await {
                Ok(Held::Here) => {}
                Ok(Held::Elsewhere(left)) => {
                    self.pause(handed_over.wait(left.min(LOOK_EVERY))).await;
                    continue;
                }
                Err(error) => {
                    self.rest(&error, "the applier's lease cannot be taken").await;
                    continue;
                }
            }
            match apart(self.next()).await {
                Ok(Some(batch)) => permit.send((self.sent, batch)),
                Ok(None) => self.idle().await,
                Err(error) => self.rest(&error, "pending events cannot be read").await,
            }
        }
    }

    async fn pause(&self, wait: impl Future<Output = ()>) {
        tokio::select! {
            () = wait => {}
            () = self.shutdown.cancelled() => {}
        }
    }

    async fn rest(&self, error: &DbErr, what: &'static str) {
        tracing::warn!(error = %Quiet(error), "{what}; trying again");
        self.pause(tokio::time::sleep(jittered(self.worker.config.poll.min(LOOK_EVERY)))).await;
    }

    /// Waits for work. Nothing is read, or what is read is on its way.
    async fn idle(&mut self) {
        self.leadership.set_idle(self.in_flight.is_empty());
        let poll = jittered(self.worker.config.poll);
        tokio::select! {
            () = self.waiter.wait(poll) => {}
            Ok(()) = self.finished.changed(), if !self.in_flight.is_empty() => {}
            () = self.shutdown.cancelled() => {}
        }
        self.leadership.set_idle(false);
    }

    /// Takes or renews the lease. Where others may have led since, what they left behind comes first.
    async fn lead(&mut self) -> Result<Held, DbErr> {
        let is_new = self.leadership.has_lapsed();
        let held = self.leadership.acquire().await?;
        if held == Held::Here && is_new {
            self.land(true).await;
            self.after = None;
            self.recover().await?;
        }
        Ok(held)
    }

    /// Forgets batches that have ended; waits for the others where it is asked to.
    async fn land(&mut self, all: bool) {
        if all {
            let sent = self.sent;
            let last = self.in_flight.back().map_or(0, |_| sent);
            // A sender that is gone means shutdown.
            let _ = self.finished.wait_for(|finished| *finished >= last).await;
        }
        let finished = *self.finished.borrow_and_update();
        self.in_flight.retain(|(number, _)| *number > finished);
    }

    /// The next batch; `None` where nothing is due that is not on its way.
    async fn next(&mut self) -> Result<Option<Batch>, DbErr> {
        let (db, clock) = (self.worker.db.clone(), self.worker.clock.clone());
        loop {
            self.land(false).await;
            let rows = due::read(&db, self.after, self.worker.bounds(), clock.now()).await?;
            let last = rows.last().map(|row| (row.available_at, row.stored.seq));
            let is_on_its_way = |row: &Due| self.in_flight.iter().any(|(_, seqs)| seqs.contains(&row.stored.seq));
            let rows: Vec<Due> = rows.into_iter().filter(|row| !is_on_its_way(row)).collect();
            if !rows.is_empty() {
                self.after = last;
                return self.take(rows).await.map(Some);
            }
            if last.is_some() {
                self.after = last;
                continue;
            }
            let is_on_its_way = !self.in_flight.is_empty();
            if is_on_its_way || (self.after.take().is_none() && wake_more(&db, clock.now()).await? == 0) {
                return Ok(None);
            }
        }
    }

    async fn take(&mut self, rows: Vec<Due>) -> Result<Batch, DbErr> {
        let worker = &self.worker;
        let number = self.sent + 1;
        let seqs: HashSet<i64> = rows.iter().map(|row| row.stored.seq).collect();
        if let (Some(first), Some(last)) = (seqs.iter().min(), seqs.iter().max()) {
            let owner = self.leadership.owner();
            progress::begin(&worker.db, owner, Slot::of(number), (*first, *last), 1).await?;
        }
        let batch = worker.prepare(rows).await;
        // Also where rows could not be prepared: they are read again from the beginning.
        if batch.is_err() || number.is_multiple_of(BATCHES_A_ROUND) {
            self.after = None;
        }
        let batch = batch?;
        if number.is_multiple_of(BATCHES_A_ROUND) {
            wake_more(&worker.db, worker.clock.now()).await?;
        }
        self.sent = number;
        self.in_flight.push_back((number, seqs));
        Ok(batch)
    }

    /// Applies what processes that ended had begun.
    async fn recover(&mut self) -> Result<(), DbErr> {
        let ranges = progress::left_behind(&self.worker.db, self.leadership.owner()).await?;
        for mut range in ranges {
            while let Err(error) = apart(self.recover_range(&mut range)).await {
                self.rest(&error, "what another process had begun cannot be applied").await;
                if self.shutdown.is_cancelled() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Applies a range that was begun before: whole, until it was begun too often; then event by event, until the one that
    /// ends the process is alone; then that one ends `dead`.
    async fn recover_range(&self, range: &mut Range) -> Result<(), DbErr> {
        let (worker, owner) = (&self.worker, self.leadership.owner());
        // Before the range is narrowed to what is left of it.
        let (is_fatal, is_single) = (range.tries >= MAX_TRIES, range.is_single());
        loop {
            progress::begin_again(&worker.db, owner, *range).await?;
            let seqs = (range.first_seq, range.last_seq);
            let rows = due::read_range(&worker.db, seqs, worker.bounds(), worker.clock.now()).await?;
            let Some(last) = rows.last().map(|row| row.stored.seq) else { break };
            if is_fatal {
                tracing::error!(
                    events = rows.len(),
                    tries = range.tries,
                    "the process ended again and again while these events were applied; each is tried alone"
                );
            }
            match rows.as_slice() {
                [row] if is_fatal && is_single => worker.bury_fatal(row, &self.shutdown).await,
                _ if is_fatal => self.apply_alone(rows).await?,
                _ => drop(worker.finish(worker.prepare(rows).await?, &self.shutdown).await),
            }
            if last >= range.last_seq || self.shutdown.is_cancelled() {
                break;
            }
            range.first_seq = last + 1;
        }
        progress::end(&worker.db, range.slot).await
    }

    async fn apply_alone(&self, rows: Vec<Due>) -> Result<(), DbErr> {
        let (worker, owner) = (&self.worker, self.leadership.owner());
        for row in rows {
            let seq = row.stored.seq;
            progress::begin(&worker.db, owner, Slot::Alone, (seq, seq), 1).await?;
            worker.finish(worker.prepare(vec![row]).await?, &self.shutdown).await;
            if self.shutdown.is_cancelled() {
                break;
            }
        }
        progress::end_alone(&worker.db).await
    }
}
