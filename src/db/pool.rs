//! Connections and transactions that qualify table names and keep settings inside transactions.
//!
//! Invariant: nothing outlives a transaction. On Postgres a setting is `SET LOCAL`; a pooler that hands the session to
//! another client hands on nothing of ours.

use sea_orm::{
    ConnectionTrait, DatabaseConnection, DatabaseTransaction, DbBackend, DbErr, ExecResult, QueryResult, Statement,
    TransactionOptions, TransactionTrait as _,
};

use super::schema::Schema;

/// A pool of connections. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Pool {
    connections: DatabaseConnection,
    schema: Schema,
    /// What a statement that is not part of a transaction is wrapped in, on Postgres.
    settings: Option<&'static str>,
}

impl Pool {
    pub(super) fn new(connections: DatabaseConnection, schema: Schema) -> Self {
        Self { connections, schema, settings: None }
    }

    /// The same connections; each statement that is not part of a transaction becomes one that begins with `settings`.
    pub(super) fn with_settings(self, settings: &'static str) -> Self {
        Self { settings: Some(settings), ..self }
    }

    /// Begins a transaction, with `settings` in it (Postgres).
    pub(super) async fn begin(&self, options: TransactionOptions, settings: &str) -> Result<Transaction, DbErr> {
        let inner = self.connections.begin_with_options(options).await?;
        let tx = Transaction { inner, schema: self.schema.clone() };
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
        statement.sql = sql.into();
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
            return self.connections.execute_raw(self.qualify(statement)).await;
        };
        let done = tx.execute_raw(statement).await?;
        tx.commit().await?;
        Ok(done)
    }

    /// As it stands, without settings of ours.
    async fn execute_unprepared(&self, sql: &str) -> Result<ExecResult, DbErr> {
        self.connections.execute_unprepared(&self.schema.qualify(sql)).await
    }

    async fn query_one_raw(&self, statement: Statement) -> Result<Option<QueryResult>, DbErr> {
        let Some(tx) = self.wrapped().await? else {
            return self.connections.query_one_raw(self.qualify(statement)).await;
        };
        let row = tx.query_one_raw(statement).await?;
        tx.commit().await?;
        Ok(row)
    }

    async fn query_all_raw(&self, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
        let Some(tx) = self.wrapped().await? else {
            return self.connections.query_all_raw(self.qualify(statement)).await;
        };
        let rows = tx.query_all_raw(statement).await?;
        tx.commit().await?;
        Ok(rows)
    }
}

/// A transaction. Dropping it rolls it back.
#[derive(Debug)]
pub struct Transaction {
    inner: DatabaseTransaction,
    schema: Schema,
}

impl Transaction {
    /// Commits it.
    ///
    /// # Errors
    /// When the database refuses, or the connection is lost: then it is not known whether it was committed.
    pub async fn commit(self) -> Result<(), DbErr> {
        self.inner.commit().await
    }

    /// Takes everything back.
    ///
    /// # Errors
    /// When the connection is lost; nothing is committed then either.
    pub async fn rollback(self) -> Result<(), DbErr> {
        self.inner.rollback().await
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
        self.inner.execute_raw(qualify(&self.schema, statement)).await
    }

    async fn execute_unprepared(&self, sql: &str) -> Result<ExecResult, DbErr> {
        self.inner.execute_unprepared(&self.schema.qualify(sql)).await
    }

    async fn query_one_raw(&self, statement: Statement) -> Result<Option<QueryResult>, DbErr> {
        self.inner.query_one_raw(qualify(&self.schema, statement)).await
    }

    async fn query_all_raw(&self, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
        self.inner.query_all_raw(qualify(&self.schema, statement)).await
    }
}
