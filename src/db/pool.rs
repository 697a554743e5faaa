//! Connections and transactions that qualify table names and keep settings inside transactions.
//!
//! Invariants:
//! - Nothing outlives a transaction. On Postgres a setting is `SET LOCAL`; a pooler that hands the session to another client
//!   hands on nothing of ours.
//! - Every error of SQLite is seen by [`Storage`], and a connection whose transaction failed is not used again.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use sea_orm::{
    ConnAcquireErr, ConnectionTrait, DatabaseConnection, DatabaseTransaction, DbBackend, DbErr, ExecResult,
    QueryResult, Statement, TransactionOptions, TransactionTrait as _,
};
use tokio::sync::{Mutex, OwnedMutexGuard};

use super::{
    schema::Schema,
    storage::{Discard, Storage},
};

/// The turn of one writer: on SQLite the connections that write wait here for each other, in the order in which they came.
/// (SQLite's own waiting has no order and sleeps between two tries; it is left to other processes.) Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Turn {
    queue: Arc<Mutex<()>>,
    patience: Duration,
}

impl Turn {
    /// A queue in which nobody waits longer than `patience`.
    pub(super) fn new(patience: Duration) -> Self {
        Self { queue: Arc::default(), patience }
    }

    async fn take(&self) -> Result<OwnedMutexGuard<()>, DbErr> {
        let taken = tokio::time::timeout(self.patience, self.queue.clone().lock_owned()).await;
        taken.map_err(|_| DbErr::ConnectionAcquire(ConnAcquireErr::Timeout))
    }
}

/// A pool of connections. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Pool {
    connections: DatabaseConnection,
    schema: Schema,
    /// What a statement that is not part of a transaction is wrapped in, on Postgres.
    settings: Option<&'static str>,
    watch: Watch,
    /// Where writers take turns.
    turn: Option<Turn>,
}

/// What errors are reported to. On Postgres nothing is heard: the server and the driver agree on what a transaction is.
#[derive(Debug, Clone)]
struct Watch {
    storage: Storage,
    discard: Discard,
}

impl Watch {
    /// Passes a result on.
    fn seen<T>(&self, result: Result<T, DbErr>) -> Result<T, DbErr> {
        if let Err(error) = &result {
            self.storage.observe(error);
        }
        result
    }

    /// The same, of a statement in a transaction: its connection must not be used again.
    fn seen_inside<T>(&self, result: Result<T, DbErr>) -> Result<T, DbErr> {
        if result.is_err() {
            self.discard.everything_so_far();
        }
        self.seen(result)
    }
}

impl Pool {
    pub(super) fn new(connections: DatabaseConnection, schema: Schema) -> Self {
        let watch = Watch { storage: Storage::new(), discard: Discard::default() };
        Self { connections, schema, settings: None, watch, turn: None }
    }

    /// The same connections, guarded by [`super::storage::guard`] with these, and writing in turn.
    pub(super) fn watched(self, storage: Storage, discard: Discard, turn: Option<Turn>) -> Self {
        Self { watch: Watch { storage, discard }, turn, ..self }
    }

    /// The same connections; each statement that is not part of a transaction becomes one that begins with `settings`.
    pub(super) fn with_settings(self, settings: &'static str) -> Self {
        Self { settings: Some(settings), ..self }
    }

    /// Begins a transaction, with `settings` in it (Postgres).
    pub(super) async fn begin(&self, options: TransactionOptions, settings: &str) -> Result<Transaction, DbErr> {
        let turn = self.turn().await?;
        let inner = self.watch.seen(self.connections.begin_with_options(options).await)?;
        let tx = Transaction {
            inner,
            schema: self.schema.clone(),
            watch: self.watch.clone(),
            failed: AtomicBool::new(false),
            _turn: turn,
        };
        if tx.get_database_backend() == DbBackend::Postgres && !settings.is_empty() {
            tx.execute_unprepared(settings).await?;
        }
        Ok(tx)
    }

    /// Closes every connection; what asks for one afterwards is refused.
    ///
    /// # Errors
    /// When a connection cannot be closed in order.
    pub async fn close(&self) -> Result<(), DbErr> {
        self.connections.close_by_ref().await
    }

    pub(super) fn connections(&self) -> &DatabaseConnection {
        &self.connections
    }

    pub(super) fn schema(&self) -> &Schema {
        &self.schema
    }

    async fn turn(&self) -> Result<Option<OwnedMutexGuard<()>>, DbErr> {
        match &self.turn {
            Some(turn) => turn.take().await.map(Some),
            None => Ok(None),
        }
    }

    async fn wrapped(&self) -> Result<Option<Transaction>, DbErr> {
        match self.settings {
            Some(settings) => self.begin(TransactionOptions::default(), settings).await.map(Some),
            None => Ok(None),
        }
    }

    fn qualify(&self, statement: Statement) -> Statement {
        qualify(&self.schema, statement)
    }
}

fn qualify(schema: &Schema, mut statement: Statement) -> Statement {
    if let std::borrow::Cow::Owned(sql) = schema.qualify(&statement.sql) {
        statement.sql = sql;
    }
    statement
}

#[async_trait::async_trait]
impl ConnectionTrait for Pool {
    fn get_database_backend(&self) -> DbBackend {
        self.connections.get_database_backend()
    }

    async fn execute_raw(&self, statement: Statement) -> Result<ExecResult, DbErr> {
        let Some(tx) = self.wrapped().await? else {
            let _turn = self.turn().await?;
            return self.watch.seen(self.connections.execute_raw(self.qualify(statement)).await);
        };
        let done = tx.execute_raw(statement).await?;
        tx.commit().await?;
        Ok(done)
    }

    /// As it stands, without settings of ours.
    async fn execute_unprepared(&self, sql: &str) -> Result<ExecResult, DbErr> {
        let _turn = self.turn().await?;
        self.watch.seen(self.connections.execute_unprepared(&self.schema.qualify(sql)).await)
    }

    async fn query_one_raw(&self, statement: Statement) -> Result<Option<QueryResult>, DbErr> {
        let Some(tx) = self.wrapped().await? else {
            let _turn = self.turn().await?;
            return self.watch.seen(self.connections.query_one_raw(self.qualify(statement)).await);
        };
        let row = tx.query_one_raw(statement).await?;
        tx.commit().await?;
        Ok(row)
    }

    async fn query_all_raw(&self, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
        let Some(tx) = self.wrapped().await? else {
            let _turn = self.turn().await?;
            return self.watch.seen(self.connections.query_all_raw(self.qualify(statement)).await);
        };
        let rows = tx.query_all_raw(statement).await?;
        tx.commit().await?;
        Ok(rows)
    }
}

/// A transaction. Dropping it rolls it back.
#[derive(Debug)]
pub struct Transaction {
    // Before the turn, so that the rollback of one that is dropped is queued before the next begins.
    inner: DatabaseTransaction,
    schema: Schema,
    watch: Watch,
    /// Whether a statement failed that no rollback to a savepoint took back.
    failed: AtomicBool,
    _turn: Option<OwnedMutexGuard<()>>,
}

impl Transaction {
    /// Commits it.
    ///
    /// # Errors
    /// When the database refuses, or the connection is lost: then it is not known whether it was committed. When one of its
    /// statements failed: Postgres would take everything back and call that a success.
    pub async fn commit(self) -> Result<(), DbErr> {
        if self.failed.load(Ordering::Relaxed) {
            self.rollback().await?;
            return Err(DbErr::Custom("a statement of the transaction failed, so it was rolled back".into()));
        }
        self.watch.seen_inside(self.inner.commit().await)
    }

    /// Takes everything back.
    ///
    /// # Errors
    /// When the connection is lost; nothing is committed then either.
    pub async fn rollback(self) -> Result<(), DbErr> {
        self.watch.seen_inside(self.inner.rollback().await)
    }

    /// Passes the result of a statement on.
    fn noted<T>(&self, result: Result<T, DbErr>) -> Result<T, DbErr> {
        self.failed.fetch_or(result.is_err(), Ordering::Relaxed);
        self.watch.seen_inside(result)
    }

    pub(super) fn inner(&self) -> &DatabaseTransaction {
        &self.inner
    }
}

#[async_trait::async_trait]
impl ConnectionTrait for Transaction {
    fn get_database_backend(&self) -> DbBackend {
        self.inner.get_database_backend()
    }

    async fn execute_raw(&self, statement: Statement) -> Result<ExecResult, DbErr> {
        self.noted(self.inner.execute_raw(qualify(&self.schema, statement)).await)
    }

    async fn execute_unprepared(&self, sql: &str) -> Result<ExecResult, DbErr> {
        let done = self.noted(self.inner.execute_unprepared(&self.schema.qualify(sql)).await)?;
        if sql.starts_with("rollback to savepoint") {
            self.failed.store(false, Ordering::Relaxed);
        }
        Ok(done)
    }

    async fn query_one_raw(&self, statement: Statement) -> Result<Option<QueryResult>, DbErr> {
        self.noted(self.inner.query_one_raw(qualify(&self.schema, statement)).await)
    }

    async fn query_all_raw(&self, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
        self.noted(self.inner.query_all_raw(qualify(&self.schema, statement)).await)
    }
}
