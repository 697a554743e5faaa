//! A process's own reading position in the change feed. One task reads each row once, in seq order, and hands it to
//! every [`Follower`] of the process; shared targets have leased cursors instead.
//!
//! Invariants: a follower sees every row above the head at which it began, once, in order. One that falls behind
//! by more than the buffer reads the rows it missed from the database, so it delays no other and nothing grows.
//! Errors of the database are waited out; a row is never passed over but where it was trimmed before it was read (a
//! process that stood still for longer than `retention.outbox`), and then the follower is told ([`Next::Lost`]).
//!
//! The reader reads its own last row again with each page ([`feed::follow_from`]). Where that row is another one, or gone
//! though retention did not remove it, commits were taken back: nothing more is handed out, and the process starts anew in
//! a new epoch (`meta::renumber`), so that no client, cache or right outlives what the database lost.
//!
//! Read your event (P12): each row is noted in the cache's [`Watermarks`] before any follower gets it. Readers that take
//! rows from the database themselves first let the tail come as far ([`Tail::see`]).

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use sea_orm::DbErr;
use tokio::sync::{
    Notify,
    broadcast::{self, error::RecvError},
    watch,
};
use tokio_util::sync::CancellationToken;

use crate::{
    backends::cache::{Watermarks, user_key},
    config,
    db::Db,
    inbox::retry::backoff,
    lifecycle,
    wake::Signals,
};

use super::feed::{self, Entry, Page, Position};

/// What a follower gets.
#[derive(Debug, Clone)]
pub enum Next {
    /// The next row.
    Row(Arc<Entry>),
    /// Rows up to this one were trimmed unread; what comes next is above it. Whatever the follower keeps of the feed is
    /// to be loaded anew.
    Lost(i64),
}

/// The one reader of a process. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Tail {
    db: Db,
    signals: Signals,
    config: config::Tail,
    head: watch::Sender<i64>,
    /// The row at `head`. Only the reader of the feed moves it.
    position: Arc<Mutex<Position>>,
    /// Cancelled once the feed is not the one in which `position` was reached.
    renumbered: CancellationToken,
    ring: broadcast::Sender<Next>,
    watermarks: Watermarks,
    /// Wakes the reader at once.
    nudge: Arc<Notify>,
}

/// How long a reader of the feed waits for the tail to come as far.
const SEE_TIMEOUT: Duration = Duration::from_millis(250);

/// Reads the change feed from the head at which it was made.
#[derive(Debug)]
pub struct Follower {
    name: &'static str,
    db: Db,
    config: config::Tail,
    ring: broadcast::Receiver<Next>,
    watermarks: Watermarks,
    /// The last row that was handed out.
    at: i64,
    /// Rows that the ring no longer had, already read again.
    missed: VecDeque<Next>,
    /// Whether rows above those in `missed` may be gone from the ring.
    behind: bool,
}

impl Tail {
    /// A tail that stands at the present head; it moves once [`Tail::run`] does. What it reads it notes in `watermarks`.
    ///
    /// # Errors
    /// What the database says.
    pub async fn new(
        db: Db,
        signals: Signals,
        config: config::Tail,
        watermarks: Watermarks,
        epoch: &str,
        renumbered: CancellationToken,
    ) -> Result<Self, DbErr> {
        let position = feed::newest(&db.read, epoch).await?;
        let head = position.seq;
        // A shared cache may hold what is older than this process.
        watermarks.raise(head);
        let ring = broadcast::Sender::new(config.buffer.max(1));
        let (head, position) = (watch::Sender::new(head), Arc::new(Mutex::new(position)));
        Ok(Self { db, signals, config, head, position, renumbered, ring, watermarks, nudge: Arc::default() })
    }

    /// Waits until this process has read the feed up to `seq`, which wakes its reader. Returns whether it has in time.
    pub async fn reach(&self, seq: i64, within: Duration) -> bool {
        let mut head = self.head.subscribe();
        if *head.borrow() >= seq {
            return true;
        }
        self.nudge.notify_one();
        tokio::time::timeout(within, head.wait_for(|head| *head >= seq)).await.is_ok_and(|reached| reached.is_ok())
    }

    /// Lets no reader in this process get cached objects that are older than `seq`, for a caller who is about to be told
    /// of rows up to there that the tail may not have read. If the tail does not come as far soon, all older entries
    /// count as stale.
    pub async fn see(&self, seq: i64) {
        if !self.reach(seq, SEE_TIMEOUT).await {
            self.watermarks.raise(seq);
        }
    }

    /// How far this process has read: every row up to here is or was on its way to the followers.
    pub fn head(&self) -> watch::Receiver<i64> {
        self.head.subscribe()
    }

    /// A follower from the present head on; `name` is for the logs.
    pub fn follow(&self, name: &'static str) -> Follower {
        // The ring first: a row that comes in between is above `at` and in the ring. The other way round it would
        // be above `at` and nowhere.
        let ring = self.ring.subscribe();
        let at = *self.head.borrow();
        let (db, config, watermarks) = (self.db.clone(), self.config.clone(), self.watermarks.clone());
        Follower { name, db, config, ring, watermarks, at, missed: VecDeque::new(), behind: false }
    }

    /// Reads until shutdown.
    pub async fn run(self, shutdown: CancellationToken) {
        let mut waiter = self.signals.outbox.waiter();
        let mut failures = 0;
        while !shutdown.is_cancelled() {
            lifecycle::beat();
            let advanced = tokio::select! {
                advanced = self.advance() => advanced,
                () = shutdown.cancelled() => return,
            };
            let pause = match advanced {
                Ok(true) => {
                    failures = 0;
                    continue;
                }
                Ok(false) => {
                    failures = 0;
                    self.config.poll.mul_f64(0.75 + 0.5 * fastrand::f64())
                }
                Err(error) => {
                    failures += 1;
                    let delay = backoff(failures, self.config.backoff, self.config.backoff_max, fastrand::f64());
                    tracing::warn!(error = %crate::db::Quiet(&error), delay_ms = delay.as_millis() as u64, "the change feed cannot be read; trying again");
                    tokio::select! {
                        () = tokio::time::sleep(delay) => continue,
                        () = shutdown.cancelled() => return,
                    }
                }
            };
            lifecycle::rest();
            tokio::select! {
                () = waiter.wait(pause) => {}
                () = self.nudge.notified() => {}
                () = shutdown.cancelled() => return,
            }
        }
    }

    /// Reads one page; answers whether there may be more.
    async fn advance(&self) -> Result<bool, DbErr> {
        let position = self.position.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let head = position.seq;
        let page = feed::follow_from(&self.db.read, &position, self.config.batch).await?;
        let Page::Rows(page, id, lost) = page else {
            tracing::error!(
                head,
                "the change feed is another one than this process has read: commits were taken back, or the epoch was renewed"
            );
            self.renumbered.cancel();
            // Nothing of the new numbering is handed out: this process starts anew.
            std::future::pending::<()>().await;
            return Ok(false);
        };
        let full = page.len() >= self.config.batch as usize;
        if let Some(upto) = lost {
            tracing::warn!(from = head + 1, upto, "changes were trimmed before this process had read them");
        }
        for next in following(page, lost) {
            next.note(&self.watermarks);
            self.watermarks.advance(next.seq());
            // Before it is sent, see `follow`.
            self.head.send_replace(next.seq());
            // Nobody follows: nobody misses it.
            let _ = self.ring.send(next);
        }
        let seq = *self.head.borrow();
        *self.position.lock().unwrap_or_else(PoisonError::into_inner) = Position { seq, id, ..position };
        Ok(full)
    }
}

impl Follower {
    /// The last row that was handed out, or the head at which it began.
    pub fn at(&self) -> i64 {
        self.at
    }

    /// What comes next; `None` when the tail is gone. Nothing is lost when the future is dropped.
    pub async fn next(&mut self) -> Option<Next> {
        loop {
            while let Some(next) = self.missed.pop_front() {
                // What comes by the ring and what was read again overlap.
                if next.seq() > self.at {
                    self.at = next.seq();
                    return Some(next);
                }
            }
            if self.behind {
                self.read_again().await;
                continue;
            }
            match self.ring.recv().await {
                Ok(next) => self.missed.push_back(next),
                Err(RecvError::Lagged(rows)) => {
                    tracing::debug!(follower = self.name, rows, "behind the change feed; reading the rows again");
                    self.behind = true;
                }
                Err(RecvError::Closed) => return None,
            }
        }
    }

    /// Reads a page of what the ring no longer has. A page that is not full reaches the newest row, and what the
    /// ring dropped is older than that.
    async fn read_again(&mut self) {
        let mut failures = 0;
        loop {
            match feed::follow(&self.db.read, self.at, self.config.batch).await {
                Ok((page, lost)) => {
                    self.behind = page.len() >= self.config.batch as usize;
                    // It may reach further than the tail.
                    self.missed.extend(following(page, lost).inspect(|next| next.note(&self.watermarks)));
                    return;
                }
                Err(error) => {
                    failures += 1;
                    let delay = backoff(failures, self.config.backoff, self.config.backoff_max, fastrand::f64());
                    tracing::warn!(error = %crate::db::Quiet(&error), follower = self.name, "the change feed cannot be read again; trying again");
                    tokio::time::sleep(delay.min(Duration::from_secs(60))).await;
                }
            }
        }
    }
}

impl Next {
    /// Everything up to here is behind whoever got this.
    fn seq(&self) -> i64 {
        match self {
            Self::Row(entry) => entry.seq,
            Self::Lost(upto) => *upto,
        }
    }

    /// Notes which cached objects it makes stale: a user's, by either id. Only rows of `users` change those.
    fn note(&self, watermarks: &Watermarks) {
        match self {
            Self::Lost(upto) => watermarks.raise(*upto),
            Self::Row(entry) if entry.topic == "users" => {
                watermarks.note(&user_key(&entry.subject), entry.seq);
                let routed = entry.routing.as_array().into_iter().flatten().filter_map(|topic| topic.as_str());
                // A user's topic is the key of their object.
                routed.filter(|topic| topic.starts_with("user:")).for_each(|key| watermarks.note(key, entry.seq));
            }
            Self::Row(_) => {}
        }
    }
}

/// A page as followers get it.
fn following(page: Vec<Entry>, lost: Option<i64>) -> impl Iterator<Item = Next> {
    lost.into_iter().map(Next::Lost).chain(page.into_iter().map(|entry| Next::Row(Arc::new(entry))))
}
