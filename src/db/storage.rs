//! Health of the storage under an SQLite file, and which connections may be used again.
//!
//! SQLite may end a transaction by itself (disk full, I/O error, out of memory, a trigger), and the driver goes on counting
//! it: a later rollback then leaves a savepoint open, and statements that should commit by themselves become part of it.
//! Hence the invariants:
//! - A connection is used only if SQLite says that it is outside of a transaction ([`guard`]).
//! - A connection on which a transaction failed is closed, never used again ([`Discard`]).
//! - After a full or failing disk all connections are closed, and nothing is acknowledged until a canary row was written
//!   and read back over another connection ([`Storage::condition`], [`probe`]).
//! - A damaged file, or a canary that reads back differently, is final ([`Storage::broken`]): the process must end.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use sea_orm::{DbErr, RuntimeErr};
use sqlx::{Connection as _, Sqlite, SqliteConnection, pool::PoolOptions};
use tokio::sync::watch;
use uuid::Uuid;

use super::{Db, Stmt};

/// What a process says when it ends because the storage is [`Condition::Broken`].
pub const DAMAGED: &str = "the database file is damaged, so nothing more is read or written: keep a copy of the file with \
                           its -wal and -shm, then restore a backup (docs/recovery.md, \"A damaged file\")";

/// What the storage can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// It reads and writes.
    Sound,
    /// There is no space left; nothing can be written.
    Full,
    /// It reports errors of reading, writing or flushing, or memory ran out.
    Failing,
    /// The file is damaged or its state cannot be known. Final.
    Broken,
}

impl Condition {
    /// Its name in `/readyz`, logs and alerts.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sound => "ok",
            Self::Full => "full",
            Self::Failing => "failing",
            Self::Broken => "broken",
        }
    }

    /// What an error of SQLite says about the storage; `None` if nothing.
    pub fn of(error: &DbErr) -> Option<Self> {
        if let DbErr::Conn(RuntimeErr::SqlxError(error))
        | DbErr::Exec(RuntimeErr::SqlxError(error))
        | DbErr::Query(RuntimeErr::SqlxError(error)) = error
            && matches!(error.as_ref(), sqlx::Error::WorkerCrashed)
        {
            return Some(Self::Failing);
        }
        match primary_code(error)? {
            // SQLITE_FULL
            13 => Some(Self::Full),
            // SQLITE_NOMEM, READONLY (a file system that was remounted after errors), IOERR, CANTOPEN
            7 | 8 | 10 | 14 => Some(Self::Failing),
            // SQLITE_CORRUPT, NOTADB
            11 | 26 => Some(Self::Broken),
            _ => None,
        }
    }
}

/// SQLite's primary result code.
pub fn primary_code(error: &DbErr) -> Option<u32> {
    let (DbErr::Conn(RuntimeErr::SqlxError(error))
    | DbErr::Exec(RuntimeErr::SqlxError(error))
    | DbErr::Query(RuntimeErr::SqlxError(error))) = error
    else {
        return None;
    };
    let error = error.as_database_error()?;
    error.try_downcast_ref::<sqlx::sqlite::SqliteError>()?;
    let code: u32 = error.code()?.parse().ok()?;
    Some(code & 0xff)
}

/// The storage under one database. Cheap to clone. On Postgres it stays [`Condition::Sound`].
#[derive(Debug, Clone)]
pub struct Storage {
    condition: watch::Sender<Condition>,
    discard: Discard,
}

impl Storage {
    pub(super) fn new() -> Self {
        Self { condition: watch::Sender::new(Condition::Sound), discard: Discard::default() }
    }

    /// What it can do, as far as is known.
    pub fn condition(&self) -> Condition {
        *self.condition.borrow()
    }

    /// Whether receipts may be stored.
    pub fn is_sound(&self) -> bool {
        self.condition() == Condition::Sound
    }

    /// Notes what an error says about the storage.
    pub(super) fn observe(&self, error: &DbErr) {
        if let Some(condition) = Condition::of(error) {
            self.note(condition);
        }
    }

    fn note(&self, condition: Condition) {
        self.discard.everything_so_far();
        self.condition.send_if_modified(|known| {
            let changed = *known != condition && *known != Condition::Broken;
            if changed {
                *known = condition;
            }
            changed
        });
    }

    /// Returns once it is neither sound nor broken.
    pub async fn failed(&self) -> Condition {
        let mut changes = self.condition.subscribe();
        let failed = changes.wait_for(|condition| matches!(condition, Condition::Full | Condition::Failing)).await;
        failed.map_or(Condition::Broken, |condition| *condition)
    }

    /// Returns once it is broken: from then on nothing that is written can be relied on.
    pub async fn broken(&self) {
        let mut changes = self.condition.subscribe();
        if changes.wait_for(|condition| *condition == Condition::Broken).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// A canary row was written and read back: receipts may be stored again.
    pub(super) fn recovered(&self) {
        self.condition.send_if_modified(|known| {
            let changed = matches!(known, Condition::Full | Condition::Failing);
            if changed {
                *known = Condition::Sound;
            }
            changed
        });
    }

    /// What was written reads back differently.
    pub(super) fn contradicted(&self) {
        self.note(Condition::Broken);
    }
}

/// Closes connections: those that were open at a given moment are not used again. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct Discard(Arc<Mutex<Option<Instant>>>);

impl Discard {
    /// Those that are open now.
    pub(super) fn everything_so_far(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    /// Whether a connection of this age is one of them.
    fn covers(&self, age: Duration) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_some_and(|at| age >= at.elapsed())
    }
}

/// Has a pool hand out and take back only connections that are outside of a transaction and not to be discarded.
pub(super) fn guard(options: PoolOptions<Sqlite>, storage: &Storage, pool: &Discard) -> PoolOptions<Sqlite> {
    let acquired = [storage.discard.clone(), pool.clone()];
    let released = acquired.clone();
    options
        // The guard asks more than the ping would.
        .test_before_acquire(false)
        .before_acquire(move |connection, of| {
            let covered = acquired.iter().any(|discard| discard.covers(of.age));
            Box::pin(async move { Ok(!covered && commits_by_itself(connection).await) })
        })
        .after_release(move |connection, of| {
            let covered = released.iter().any(|discard| discard.covers(of.age));
            Box::pin(async move { Ok(!covered && commits_by_itself(connection).await) })
        })
}

/// Whether each statement on this connection commits by itself, as SQLite and the driver see it. SQLite refuses to set
/// `synchronous` within a transaction; outside of one it is set to what it is already, without reading or writing the file.
/// Queued rollbacks are done before.
async fn commits_by_itself(connection: &mut SqliteConnection) -> bool {
    let outside = sqlx::Executor::execute(&mut *connection, sqlx::raw_sql("pragma synchronous = full")).await.is_ok();
    outside && !connection.is_in_transaction()
}

/// Writes a canary row, as a receipt is written, and reads it back over another connection. If it is there, receipts may
/// be stored again; if another value is there, the storage is [`Condition::Broken`].
///
/// # Errors
/// What the database says; the storage is as it was.
pub async fn probe(db: &Db) -> Result<(), DbErr> {
    let value = Uuid::new_v4().simple().to_string();
    Stmt::new(&db.receipts, "insert into clerk_sync.meta (key, value) values ('canary', ")
        .val(value.as_str())
        .sql(") on conflict (key) do update set value = excluded.value")
        .exec(&db.receipts)
        .await?;
    let rows = Stmt::new(&db.read, "select value from clerk_sync.meta where key = 'canary'").all(&db.read).await?;
    let found: Option<String> = rows.first().map(|row| row.try_get("", "value")).transpose()?;
    if found.as_deref() == Some(value.as_str()) {
        db.storage.recovered()
    } else {
        db.storage.contradicted()
    }
    Ok(())
}
