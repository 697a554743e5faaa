//! Opening the database and bringing its tables up to date.

use std::{path::PathBuf, str::FromStr as _};

use migration::{Migrator, MigratorTrait};
use sea_orm::{ConnectOptions, ConnectionTrait as _, Database, DbBackend, DbErr, RuntimeErr, TransactionOptions};
use sqlx::{
    Connection as _,
    postgres::{PgConnectOptions, PgPoolOptions},
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous},
};

use super::{
    Db, LAZY, Pool, PoolerError, Pooling, Transaction, WRITE, commit_lock,
    pool::Turn,
    pooler,
    schema::Schema,
    storage::{Condition, Discard, Storage, guard},
};
use crate::config;

/// Leases, one cursor a sink, and wake-ups use these; each holds one only while its statement runs.
const LAZY_CONNECTIONS: u32 = 4;

/// Receipts are stored by one writer; a second connection is there when the first breaks.
const RECEIPT_CONNECTIONS: u32 = 2;

/// Opens the pools. Makes the file (SQLite) or the schema (Postgres) if it is not there; makes no tables.
///
/// # Errors
/// When the URL is of no kind we know or the database cannot be reached. The text repeats no part of the URL: a driver's
/// own may hold all of it.
pub async fn connect(config: &config::Database) -> Result<Db, DbErr> {
    open(config).await.map_err(|error| match error {
        DbErr::Custom(ours) => DbErr::Custom(ours),
        // Told by its code; SQLite repeats no URL.
        storage if Condition::of(&storage).is_some() => storage,
        error => DbErr::Custom(super::Quiet(&error).to_string()),
    })
}

async fn open(config: &config::Database) -> Result<Db, DbErr> {
    let url = config.url.expose();
    check(url)?;
    if url.starts_with("sqlite:") {
        prepare_directory(url)?;
        let (storage, turn) = (Storage::new(), Turn::new(config.acquire_timeout));
        let open = async |connections, turn| -> Result<Pool, DbErr> {
            let discard = Discard::default();
            let opened = Database::connect(sqlite(config, connections, &storage, &discard)).await?;
            Ok(Pool::new(opened, Schema::sqlite()).watched(storage.clone(), discard, turn))
        };
        let write = open(1, Some(turn.clone())).await?;
        let receipts = open(1, Some(turn)).await?;
        let read = open(config.max_read_connections, None).await?;
        return Ok(Db { lazy: write.clone(), receipts, write, read, listen_pool: None, storage });
    }
    let url = url.replacen("postgresql://", "postgres://", 1);
    let options = PgConnectOptions::from_str(&url).map_err(|_| DbErr::Custom("database.url cannot be read".into()))?;
    let pooling = detect_pooler(&options, config.acquire_timeout).await?;
    let bare = Database::connect(postgres(config, &url, 1)).await?;
    bare.execute_unprepared(&format!("create schema if not exists {}", config.schema)).await?;
    bare.close().await?;
    let schema = Schema::postgres(&config.schema);
    let open = async |connections| -> Result<Pool, DbErr> {
        Ok(Pool::new(Database::connect(postgres(config, &url, connections)).await?, schema.clone()))
    };
    let write = open(config.max_connections).await?.with_settings(WRITE);
    let lazy = open(LAZY_CONNECTIONS).await?.with_settings(LAZY);
    // Their one statement sets what it needs itself.
    let receipts = open(RECEIPT_CONNECTIONS).await?;
    let read = open(config.max_read_connections).await?;
    // A listener keeps its connection for as long as the process lives. Sessions of a transaction pooler listen for
    // whichever client is given them next, so none listens.
    let listen_pool = (pooling == Pooling::Sessions).then(|| {
        let one = PgPoolOptions::new().max_connections(1).min_connections(0).acquire_timeout(config.acquire_timeout);
        one.connect_lazy_with(options.extra_float_digits(None))
    });
    Ok(Db { write, lazy, receipts, read, listen_pool, storage: Storage::new() })
}

/// # Errors
/// A pooler through which the server cannot be used.
async fn detect_pooler(options: &PgConnectOptions, patience: std::time::Duration) -> Result<Pooling, DbErr> {
    let pooling = pooler::detect(options, patience).await.map_err(|error| match error {
        PoolerError::Unreachable(error) => DbErr::Conn(RuntimeErr::SqlxError(error.into())),
        refused => DbErr::Custom(format!("database.url: {refused}. {}", refused.remedy())),
    })?;
    if pooling == Pooling::Transactions {
        tracing::info!(
            "a transaction pooler is between us and Postgres: LISTEN is not possible, so work of other replicas is \
             found by polling (sync.poll, relay.poll, tail.poll)"
        );
    }
    Ok(pooling)
}

/// Refuses a URL that the drivers cannot read: their errors repeat it.
fn check(url: &str) -> Result<(), DbErr> {
    let is_read = match url.split_once("://").map(|(scheme, _)| scheme) {
        Some("postgres" | "postgresql") => PgConnectOptions::from_str(url).is_ok(),
        _ if url.starts_with("sqlite:") => SqliteConnectOptions::from_str(url).is_ok(),
        _ => return Err(DbErr::Custom("database.url must start with sqlite:// or postgres://".into())),
    };
    match is_read && reqwest::Url::parse(url).is_ok() {
        true => Ok(()),
        false => Err(DbErr::Custom(
            "database.url cannot be read; signs such as @ / : # in a password are written as %40 %2F %3A %23".into(),
        )),
    }
}

/// The most connections to Postgres that one process opens.
pub fn connections(config: &config::Database) -> u32 {
    config.max_connections.max(1) + config.max_read_connections.max(1) + 1 + LAZY_CONNECTIONS + RECEIPT_CONNECTIONS
}

fn options(config: &config::Database, url: &str, connections: u32) -> ConnectOptions {
    let mut options = ConnectOptions::new(url);
    options
        .max_connections(connections.max(1))
        .min_connections(0)
        .acquire_timeout(config.acquire_timeout)
        .connect_timeout(config.acquire_timeout)
        .sqlx_logging(false)
        .record_stmt_in_spans(false);
    options
}

fn sqlite(config: &config::Database, connections: u32, storage: &Storage, discard: &Discard) -> ConnectOptions {
    let mut options = options(config, config.url.expose(), connections);
    options.map_sqlx_sqlite_opts(|options| {
        options
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(std::time::Duration::from_secs(10))
            .pragma("temp_store", "memory")
            .pragma("journal_size_limit", "67108864")
    });
    let (storage, discard) = (storage.clone(), discard.clone());
    options.map_sqlx_sqlite_pool_opts(move |pool| guard(pool, &storage, &discard));
    options
}

pub(super) fn postgres(config: &config::Database, url: &str, connections: u32) -> ConnectOptions {
    let mut options = options(config, url, connections);
    // A parameter of the start that poolers refuse, and that only text needs: values travel in binary.
    options.map_sqlx_postgres_opts(|options| options.extra_float_digits(None));
    // Queued rollbacks are counted already: what is still inside of a transaction was left so by an error.
    options.map_sqlx_postgres_pool_opts(|pool| {
        pool.before_acquire(|connection, _| Box::pin(async { Ok(!connection.is_in_transaction()) }))
    });
    options
}

/// The file that an SQLite URL names; `None` for other URLs.
pub fn sqlite_file(url: &str) -> Option<PathBuf> {
    let path = url.strip_prefix("sqlite:")?.trim_start_matches("//").split('?').next()?;
    Some(path.into())
}

fn prepare_directory(url: &str) -> Result<(), DbErr> {
    match sqlite_file(url).unwrap_or_default().parent() {
        Some(parent) if !parent.as_os_str().is_empty() => std::fs::create_dir_all(parent)
            .map_err(|error| DbErr::Custom(format!("cannot make the folder of the database: {error}"))),
        _ => Ok(()),
    }
}

/// Applies the steps that are not applied yet. Replicas that start together wait for one another.
///
/// # Errors
/// When a step fails; it is rolled back.
pub async fn migrate(db: &Db) -> Result<(), DbErr> {
    // Not under the commit lock: a host that froze while it held it would keep this one from receiving.
    if super::steps(db).await?.pending.is_empty() {
        return Ok(());
    }
    match db.backend() {
        DbBackend::Postgres => {
            let tx = begin_migration(db).await?;
            Migrator::up(tx.inner(), None).await?;
            tx.commit().await
        }
        _ => Migrator::up(db.write.connections(), None).await,
    }
}

/// Takes the last `count` steps back.
///
/// # Errors
/// When a step fails; it is rolled back.
pub async fn migrate_down(db: &Db, count: u32) -> Result<(), DbErr> {
    match db.backend() {
        DbBackend::Postgres => {
            let tx = begin_migration(db).await?;
            Migrator::down(tx.inner(), Some(count)).await?;
            tx.commit().await
        }
        _ => Migrator::down(db.write.connections(), Some(count)).await,
    }
}

/// One transaction for all steps, under the commit lock. Steps name tables without a schema, so it has a path of its own:
/// our schema, and where the extension that they use is installed already. (Not [`Db::begin_commit`], whose time limit on an
/// idle transaction would let go of the lock during a long step.)
async fn begin_migration(db: &Db) -> Result<Transaction, DbErr> {
    let schema = db.write.schema().name();
    let settings = format!(
        "set transaction isolation level read committed, read write; set local synchronous_commit = on; {}; \
         select pg_catalog.set_config('search_path', pg_catalog.concat_ws(', ', '{schema}', \
           (select pg_catalog.quote_ident(n.nspname) from pg_catalog.pg_extension e \
            join pg_catalog.pg_namespace n on n.oid = e.extnamespace where e.extname = 'pg_trgm')), true)",
        commit_lock()
    );
    db.write.begin(TransactionOptions::default(), &settings).await
}

/// Names of the steps that are not applied yet.
///
/// # Errors
/// When the database does not answer.
pub async fn pending_migrations(db: &Db) -> Result<Vec<String>, DbErr> {
    Ok(super::steps(db).await?.pending)
}
