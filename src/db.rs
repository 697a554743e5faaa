//! The database: connections for reading and for writing, the one commit lock, and statements that
//! carry many rows at once.
//!
//! Invariants:
//! - Every write to identity tables, and every row that the outbox gets, is of a transaction opened by [`Db::begin_commit`],
//!   which holds the commit lock first. Hence one writer at a time, and outbox rows visible in the order of their numbers.
//!   (Old rows leave it without the lock; the upkeep says why.)
//! - A statement's text depends on nothing but the database's kind, so each is prepared once a connection.

mod classify;
mod connect;
mod look;
mod pool;
mod pooler;
mod quiet;
mod rows;
mod schema;
mod stmt;
mod storage;

use sea_orm::{ConnectionTrait, DbBackend, DbErr, SqliteTransactionMode, Statement, TransactionOptions};

pub use classify::{Disposition, disposition, error_code, is_about_values, is_data_error};
pub use connect::{connect, connections, migrate, migrate_down, pending_migrations, sqlite_file};
pub use look::{LookError, Steps, look, steps};
pub use pool::{Pool, Transaction};
pub use pooler::{PoolerError, Pooling};
pub use quiet::Quiet;
pub use rows::{Cell, Col, Rows, Type};
pub use stmt::Stmt;
pub use storage::{Condition, DAMAGED, Storage, primary_code, probe};

/// Key of the advisory lock on Postgres: "clerksyn" in ASCII, so that nobody else takes it by chance.
const COMMIT_LOCK: i64 = 0x636c_6572_6b73_796e;

/// How a transaction that writes begins on Postgres, whatever the server's defaults are.
/// - READ COMMITTED: what is read under the commit lock must be what was committed last.
/// - Durability is ours to promise.
/// - Plans are made for the sizes that the tables and the batch really have: a plan made while a table was still empty must
///   not be kept once it is large.
/// - A writer that stops answering must not hold the lock, and with it every writer, for ever.
const WRITE: &str = "set transaction isolation level read committed, read write; set local synchronous_commit = on; \
                     set local plan_cache_mode = force_custom_plan; \
                     set local idle_in_transaction_session_timeout = '30s'";

/// The same for what a crash may lose.
const LAZY: &str = "set transaction isolation level read committed, read write; set local synchronous_commit = off; \
                    set local plan_cache_mode = force_custom_plan";

/// Waits for the commit lock, in a transaction on Postgres.
fn commit_lock() -> String {
    format!("select pg_catalog.pg_advisory_xact_lock({COMMIT_LOCK})")
}

/// Handles to one database. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Db {
    /// For writing. On SQLite one connection, so writers queue here instead of failing with "database is locked".
    pub write: Pool,
    /// For writing what a crash may lose, because only work is repeated then: leases, cursors, wake-ups, what
    /// retention removes, our own search index. On Postgres such a commit does not wait for the disk, nor takes a flush from those that must.
    /// Commits are lost from the newest back, so a cursor never outlives what it says is delivered.
    pub lazy: Pool,
    /// For storing receipts: one statement, whose plan cannot grow old and is kept. No other transaction ever runs on these
    /// connections, so none can contain a receipt.
    pub receipts: Pool,
    /// For reading.
    pub read: Pool,
    /// Where listeners get a session of their own. Postgres only, and not through a transaction pooler.
    listen_pool: Option<sqlx::PgPool>,
    storage: Storage,
}

impl Db {
    /// Which of the two databases this is.
    pub fn backend(&self) -> DbBackend {
        self.write.get_database_backend()
    }

    /// The pool to open LISTEN connections from. `None` on SQLite, where one process owns the database, and behind a
    /// transaction pooler, where no session is ours.
    pub fn listen_pool(&self) -> Option<&sqlx::PgPool> {
        self.listen_pool.as_ref()
    }

    /// The storage under SQLite's file.
    pub fn storage(&self) -> &Storage {
        &self.storage
    }

    /// A write transaction without the commit lock, for rows that only their own stage writes (receipts, cursors).
    ///
    /// # Errors
    /// When no connection can be had or the database refuses.
    pub async fn begin(&self) -> Result<Transaction, DbErr> {
        self.begin_write(WRITE).await
    }

    /// A write transaction that holds the commit lock, until it ends.
    ///
    /// # Errors
    /// When no connection can be had or the database refuses.
    pub async fn begin_commit(&self) -> Result<Transaction, DbErr> {
        self.begin_write(&format!("{WRITE}; {}", commit_lock())).await
    }

    async fn begin_write(&self, settings: &str) -> Result<Transaction, DbErr> {
        let immediate = (self.backend() == DbBackend::Sqlite).then_some(SqliteTransactionMode::Immediate);
        let options = TransactionOptions { sqlite_transaction_mode: immediate, ..Default::default() };
        self.write.begin(options, settings).await
    }

    /// A transaction for reading: all its statements see one state, so that what is put together from several tables
    /// never mixes two. Dropping it ends it.
    ///
    /// # Errors
    /// When no connection can be had or the database refuses.
    pub async fn begin_read(&self) -> Result<Transaction, DbErr> {
        // On SQLite a deferred transaction is a snapshot from its first read on.
        let snapshot = "set transaction isolation level repeatable read, read only";
        self.read.begin(TransactionOptions::default(), snapshot).await
    }

    /// Whether the database answers.
    ///
    /// # Errors
    /// When it does not.
    pub async fn ping(&self) -> Result<(), DbErr> {
        self.read.execute_raw(Statement::from_string(self.backend(), "select 1")).await.map(drop)
    }
}

/// The name of the constraint that refused a statement, where the database tells it. Names are the schema's own words.
pub fn refusing_constraint(error: &DbErr) -> Option<String> {
    let (DbErr::Exec(sea_orm::RuntimeErr::SqlxError(error)) | DbErr::Query(sea_orm::RuntimeErr::SqlxError(error))) =
        error
    else {
        return None;
    };
    error.as_database_error()?.constraint().map(str::to_owned)
}
