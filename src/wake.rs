//! Wake-ups: "something was stored", "something was committed". In this process at once; between replicas by
//! Postgres LISTEN/NOTIFY. A wake-up carries nothing and may be lost: everybody who waits for one also polls.

mod crowd;

use std::time::Duration;

use sea_orm::DbBackend;
use sqlx::postgres::PgListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::db::{Db, Stmt};

pub use crowd::Crowd;

const CHANNEL: &str = "clerk_sync_wake";

/// How long wake-ups for other replicas are gathered before one NOTIFY tells them.
const GATHER: Duration = Duration::from_millis(15);

/// One kind of wake-up. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Signal(watch::Sender<u64>);

/// Somebody who waits for a [`Signal`]. A wake-up between two waits is not lost.
#[derive(Debug)]
pub struct Waiter(watch::Receiver<u64>);

impl Signal {
    fn new() -> Self {
        Self(watch::Sender::new(0))
    }

    /// Wakes everybody who waits in this process.
    pub fn wake(&self) {
        self.0.send_modify(|count| *count = count.wrapping_add(1));
    }

    /// A new waiter; it has missed nothing yet.
    pub fn waiter(&self) -> Waiter {
        Waiter(self.0.subscribe())
    }
}

impl Waiter {
    /// Returns at the next wake-up, or after `poll`.
    pub async fn wait(&mut self, poll: Duration) {
        // A sender that is gone means shutdown: fall back to the poll, the caller's token ends the loop.
        let woken = async {
            if self.0.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        let _ = tokio::time::timeout(poll, woken).await;
    }
}

/// The two wake-ups of an event's life.
#[derive(Debug, Clone)]
pub struct Signals {
    /// Rows became `pending` in the inbox.
    pub inbox: Signal,
    /// Rows were committed to the outbox.
    pub outbox: Signal,
    /// The applier's lease was given up.
    pub leadership: Signal,
    /// Whether deliveries crowd in.
    pub crowd: Crowd,
    /// Tells our own notifications from others'.
    origin: Uuid,
}

impl Signals {
    /// New signals of a process that calls itself `origin`.
    pub fn new(origin: Uuid) -> Self {
        Self { inbox: Signal::new(), outbox: Signal::new(), leadership: Signal::new(), crowd: Crowd::new(), origin }
    }

    /// Carries wake-ups to other replicas and theirs here, until shutdown. Does nothing on SQLite; behind a transaction
    /// pooler only tells, and everything here polls.
    pub async fn bridge(self, db: Db, shutdown: CancellationToken) {
        if db.backend() == DbBackend::Sqlite {
            return;
        }
        let listen = async {
            let Some(pool) = db.listen_pool().cloned() else { return std::future::pending().await };
            loop {
                if let Err(error) = self.listen(&pool).await {
                    tracing::warn!(error = %crate::db::Quiet(&sea_orm::DbErr::Conn(sea_orm::RuntimeErr::SqlxError(error.into()))), "listening for wake-ups failed; polling until it works again");
                    tokio::time::sleep(Duration::from_secs(2)).await;
                }
            }
        };
        tokio::select! {
            () = listen => {}
            () = self.notify(&db) => {}
            () = shutdown.cancelled() => {}
        }
    }

    /// Tells other processes that this one no longer applies events.
    pub async fn hand_over(&self, db: &Db) {
        self.leadership.wake();
        if db.listen_pool().is_some()
            && let Err(error) = self.send(db, "leadership").await
        {
            tracing::debug!(error = %crate::db::Quiet(&error), "telling other replicas failed; they poll");
        }
    }

    /// Tells other processes, from one that does not stay: both queues may have grown.
    pub async fn tell(&self, db: &Db) {
        if db.backend() == DbBackend::Sqlite {
            return;
        }
        for what in ["inbox", "outbox"] {
            if let Err(error) = self.send(db, what).await {
                tracing::debug!(error = %crate::db::Quiet(&error), "telling other replicas failed; they poll");
            }
        }
    }

    async fn listen(&self, pool: &sqlx::PgPool) -> Result<(), sqlx::Error> {
        let mut listener = PgListener::connect_with(pool).await?;
        listener.listen(CHANNEL).await?;
        loop {
            let notification = listener.recv().await?;
            match notification.payload().split_once(' ') {
                Some((origin, _)) if origin == self.origin.to_string() => {}
                Some((_, "inbox")) => self.inbox.wake(),
                Some((_, "leadership")) => self.leadership.wake(),
                _ => self.outbox.wake(),
            }
        }
    }

    async fn notify(&self, db: &Db) {
        let (mut inbox, mut outbox) = (self.inbox.waiter(), self.outbox.waiter());
        loop {
            let what = tokio::select! {
                _ = inbox.0.changed() => "inbox",
                _ = outbox.0.changed() => "outbox",
            };
            if let Err(error) = self.send(db, what).await {
                tracing::debug!(error = %crate::db::Quiet(&error), "telling other replicas failed; they poll");
            }
            tokio::time::sleep(GATHER).await;
        }
    }

    async fn send(&self, db: &Db, what: &str) -> Result<(), sea_orm::DbErr> {
        let payload = format!("{} {what}", self.origin);
        Stmt::new(&db.lazy, "select pg_catalog.pg_notify('clerk_sync_wake', ")
            .val(payload)
            .sql(")")
            .exec(&db.lazy)
            .await
            .map(drop)
    }
}
