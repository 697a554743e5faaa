//! A statement built from constant text, row sources and single values.

use sea_orm::{ConnectionTrait, DbBackend, DbErr, FromQueryResult, QueryResult, Statement, Value};

use super::{Cell, Rows};

/// A statement under construction. Text is constant; everything that varies is a parameter.
#[derive(Debug)]
pub struct Stmt {
    backend: DbBackend,
    sql: String,
    values: Vec<Value>,
}

impl Stmt {
    /// A statement for the database that `connection` leads to.
    pub fn new(connection: &impl ConnectionTrait, sql: &'static str) -> Self {
        Self { backend: connection.get_database_backend(), sql: sql.to_owned(), values: Vec::new() }
    }

    /// More text.
    pub fn sql(mut self, sql: &str) -> Self {
        self.sql.push_str(sql);
        self
    }

    /// Text that differs between the two databases.
    pub fn dialect(self, postgres: &'static str, sqlite: &'static str) -> Self {
        let sql = if self.backend == DbBackend::Postgres { postgres } else { sqlite };
        self.sql(sql)
    }

    /// Rows as a table expression named `r`.
    pub fn rows(mut self, rows: Rows) -> Self {
        rows.render(self.backend, &mut self.sql, &mut self.values);
        self
    }

    /// One value.
    pub fn val(mut self, value: impl Into<Cell>) -> Self {
        self.values.push(value.into().into_value(self.backend));
        self.sql.push_str(&format!("${}", self.values.len()));
        self
    }

    fn build(self) -> Statement {
        Statement::from_sql_and_values(self.backend, self.sql, self.values)
    }

    /// Runs it; answers how many rows were written.
    ///
    /// # Errors
    /// What the database says.
    pub async fn exec(self, connection: &impl ConnectionTrait) -> Result<u64, DbErr> {
        Ok(connection.execute_raw(self.build()).await?.rows_affected())
    }

    /// Runs it; answers its rows.
    ///
    /// # Errors
    /// What the database says.
    pub async fn all(self, connection: &impl ConnectionTrait) -> Result<Vec<QueryResult>, DbErr> {
        connection.query_all_raw(self.build()).await
    }

    /// Runs it; answers its rows as `T`.
    ///
    /// # Errors
    /// What the database says, or a column that is not what `T` wants.
    pub async fn all_as<T: FromQueryResult>(self, connection: &impl ConnectionTrait) -> Result<Vec<T>, DbErr> {
        self.all(connection).await?.iter().map(|row| T::from_query_result(row, "")).collect()
    }

    /// Runs it; answers its first row as `T`.
    ///
    /// # Errors
    /// What the database says, or a column that is not what `T` wants.
    pub async fn one_as<T: FromQueryResult>(self, connection: &impl ConnectionTrait) -> Result<Option<T>, DbErr> {
        let row = connection.query_one_raw(self.build()).await?;
        row.map(|row| T::from_query_result(&row, "")).transpose()
    }
}
