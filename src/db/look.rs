//! Opening the database only to look at it, as `doctor` does: no file, schema or table is made, and nothing is set that
//! would outlive a transaction. (A session that is made read-only is no way to that: a transaction pooler would hand it
//! on to whoever comes next.)

use std::{collections::BTreeSet, path::PathBuf, str::FromStr as _, time::Duration};

use migration::{Migrator, MigratorTrait};
use sea_orm::{ConnectOptions, Database, DbBackend, DbErr};
use sqlx::{postgres::PgConnectOptions, sqlite::SqliteConnectOptions};

use super::{Db, Pool, PoolerError, Pooling, Stmt, connect, pooler, schema::Schema, storage::Storage};
use crate::config;

/// One that listens, one that notifies, one that reads.
const CONNECTIONS: u32 = 3;

/// How long somebody else's write is waited for on SQLite.
const BUSY: Duration = Duration::from_secs(1);

/// The database cannot be looked at.
#[derive(Debug, thiserror::Error)]
pub enum LookError {
    /// `database.url` is of no kind that we know.
    #[error("the URL cannot be read")]
    Url,
    /// It would be kept in memory.
    #[error("the database is one in memory")]
    Memory,
    /// There is no such file.
    #[error("there is no such file")]
    Missing(PathBuf),
    /// What the first connection met.
    #[error("no connection")]
    Connection(#[source] sqlx::Error),
    /// A pooler through which the server cannot be used.
    #[error(transparent)]
    Pooler(PoolerError),
    /// What the pools met after it.
    #[error("no connection")]
    Pool(#[source] DbErr),
}

/// Opens it. On SQLite [`Db::read`] refuses every write; on Postgres reads are transactions ([`Db::begin_read`]).
///
/// # Errors
/// [`LookError`].
pub async fn look(config: &config::Database) -> Result<Db, LookError> {
    let url = config.url.expose();
    if url.starts_with("sqlite:") {
        return sqlite(url).await;
    }
    let url = url.replacen("postgresql://", "postgres://", 1);
    if !url.starts_with("postgres://") {
        return Err(LookError::Url);
    }
    // A connection of its own first: a pool tries again until its time is over, and then says only that it is.
    let options = PgConnectOptions::from_str(&url).map_err(|_| LookError::Url)?;
    let pooling = pooler::detect(&options, Duration::ZERO).await.map_err(|error| match error {
        PoolerError::Unreachable(error) => LookError::Connection(error),
        refused => LookError::Pooler(refused),
    })?;
    let pool = Database::connect(connect::postgres(config, &url, CONNECTIONS)).await.map_err(LookError::Pool)?;
    let pool = Pool::new(pool, Schema::postgres(&config.schema));
    let sessions = || pool.connections().get_postgres_connection_pool().clone();
    let listen_pool = (pooling == Pooling::Sessions).then(sessions);
    Ok(Db {
        write: pool.clone(),
        lazy: pool.clone(),
        receipts: pool.clone(),
        read: pool,
        listen_pool,
        storage: Storage::new(),
    })
}

async fn sqlite(url: &str) -> Result<Db, LookError> {
    let options = SqliteConnectOptions::from_str(url).map_err(|_| LookError::Url)?;
    if url.contains(":memory:") || url.contains("mode=memory") {
        return Err(LookError::Memory);
    }
    if !options.get_filename().exists() {
        return Err(LookError::Missing(options.get_filename().to_owned()));
    }
    let open = |writes: bool| {
        let mut open = ConnectOptions::new(url);
        open.max_connections(1).min_connections(0).sqlx_logging(false);
        open.map_sqlx_sqlite_opts(move |options| {
            let options = options.create_if_missing(false).busy_timeout(BUSY);
            if writes { options } else { options.pragma("query_only", "on") }
        });
        open
    };
    let open = async |writes| {
        let connections = Database::connect(open(writes)).await.map_err(LookError::Pool)?;
        Ok::<_, LookError>(Pool::new(connections, Schema::sqlite()))
    };
    let (write, read) = (open(true).await?, open(false).await?);
    Ok(Db { lazy: write.clone(), receipts: write.clone(), write, read, listen_pool: None, storage: Storage::new() })
}

/// What of our migrations a database has.
#[derive(Debug, Default)]
pub struct Steps {
    /// How many are applied.
    pub applied: usize,
    /// Names of those that are not.
    pub pending: Vec<String>,
    /// Names of those that are applied and not known to this version.
    pub unknown: Vec<String>,
}

/// Reads it, without making the table that holds it.
///
/// # Errors
/// What the database says.
pub async fn steps(db: &Db) -> Result<Steps, DbErr> {
    let tx = db.begin_read().await?;
    let there = match db.backend() {
        DbBackend::Postgres => {
            let table = format!("{}.seaql_migrations", db.read.schema().name());
            Stmt::new(&tx, "select 1 as one where pg_catalog.to_regclass(").val(table).sql(") is not null")
        }
        _ => Stmt::new(&tx, "select 1 as one from sqlite_master where type = 'table' and name = 'seaql_migrations'"),
    };
    let mut applied = BTreeSet::new();
    if !there.all(&tx).await?.is_empty() {
        for row in Stmt::new(&tx, "select version from clerk_sync.seaql_migrations").all(&tx).await? {
            applied.insert(row.try_get::<String>("", "version")?);
        }
    }
    tx.commit().await?;
    let known: Vec<String> = Migrator::migrations().iter().map(|step| step.name().to_owned()).collect();
    Ok(Steps {
        applied: applied.len(),
        unknown: applied.iter().filter(|step| !known.contains(step)).cloned().collect(),
        pending: known.into_iter().filter(|step| !applied.contains(step)).collect(),
    })
}
