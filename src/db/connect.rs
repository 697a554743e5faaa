//! Opening the database and bringing its tables up to date.

use migration::{Migrator, MigratorTrait};
use sea_orm::{ConnectOptions, ConnectionTrait, Database, DatabaseConnection, DbBackend, DbErr};
use sqlx::sqlite::{SqliteJournalMode, SqliteSynchronous};

use super::{COMMIT_LOCK, Db};
use crate::config;

/// Claims, one cursor a sink, and wake-ups use these; each holds one only while its statement runs.
const LAZY_CONNECTIONS: u32 = 4;

/// Receipts are stored by one writer; a second connection is there when the first breaks.
const RECEIPT_CONNECTIONS: u32 = 2;

/// Opens the pools. Makes the file (SQLite) or the schema (Postgres) if it is not there; makes no tables.
///
/// # Errors
/// When the URL is of no kind we know or the database cannot be reached.
pub async fn connect(config: &config::Database) -> Result<Db, DbErr> {
    let url = config.url.expose();
    if url.starts_with("sqlite:") {
        prepare_directory(url)?;
        let write = Database::connect(sqlite(config, 1)).await?;
        let read = Database::connect(sqlite(config, config.max_read_connections)).await?;
        return Ok(Db { lazy: write.clone(), receipts: write.clone(), write, read, listen_pool: None });
    }
    let url = url.replacen("postgresql://", "postgres://", 1);
    if !url.starts_with("postgres://") {
        return Err(DbErr::Custom("database.url must start with sqlite:// or postgres://".into()));
    }
    let bare = Database::connect(postgres(config, &url, 1, "")).await?;
    bare.execute_unprepared(&format!("create schema if not exists {}", config.schema)).await?;
    bare.close().await?;
    // A plan made while a table was still empty must not be kept once it is large: batches are planned each for itself,
    // by the sizes that the tables and the batch really have.
    // Durability is ours to promise, whatever the server's default is.
    let fresh = "set plan_cache_mode = force_custom_plan; set synchronous_commit = on;";
    let write = Database::connect(postgres(config, &url, config.max_connections, fresh)).await?;
    let lazy = "set plan_cache_mode = force_custom_plan; set synchronous_commit = off;";
    let lazy = Database::connect(postgres(config, &url, LAZY_CONNECTIONS, lazy)).await?;
    // Nothing is looked up by the one statement that these run.
    let kept = "set plan_cache_mode = auto; set synchronous_commit = on;";
    let receipts = Database::connect(postgres(config, &url, RECEIPT_CONNECTIONS, kept)).await?;
    let read = Database::connect(postgres(config, &url, config.max_read_connections, "")).await?;
    let listen_pool = Some(read.get_postgres_connection_pool().clone());
    Ok(Db { write, lazy, receipts, read, listen_pool })
}

/// The most connections to Postgres that one process opens.
pub fn connections(config: &config::Database) -> u32 {
    config.max_connections.max(1) + config.max_read_connections.max(1) + LAZY_CONNECTIONS + RECEIPT_CONNECTIONS
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

fn sqlite(config: &config::Database, connections: u32) -> ConnectOptions {
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
    options
}

pub(super) fn postgres(config: &config::Database, url: &str, connections: u32, setup: &'static str) -> ConnectOptions {
    let mut options = options(config, url, connections);
    // `public` stays on the path for pg_trgm where a database already had it there.
    // READ COMMITTED, whatever the database's default is: what is read under the commit lock must be what was committed last.
    let setup = format!(
        "set search_path = {}, public; set timezone = 'UTC'; set default_transaction_isolation = 'read committed'; {setup}",
        config.schema
    );
    options.map_sqlx_postgres_pool_opts(move |pool| {
        let setup = setup.clone();
        pool.after_connect(move |connection, _| {
            let setup = sqlx::AssertSqlSafe(setup.clone());
            Box::pin(async move { sqlx::Executor::execute(connection, sqlx::raw_sql(setup)).await.map(drop) })
        })
    });
    options
}

fn prepare_directory(url: &str) -> Result<(), DbErr> {
    let path = url.trim_start_matches("sqlite:").trim_start_matches("//").split('?').next().unwrap_or_default();
    match std::path::Path::new(path).parent() {
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
    match db.backend() {
        DbBackend::Postgres => {
            // Not `begin_commit`, whose time limit on an idle transaction would let go of the lock during a long step.
            let lock = db.begin().await?;
            lock.execute_unprepared(&format!("select pg_advisory_xact_lock({COMMIT_LOCK})")).await?;
            let result = Migrator::up(&db.write, None).await;
            lock.commit().await?;
            result
        }
        _ => Migrator::up(&db.write, None).await,
    }
}

/// Names of the steps that are not applied yet.
///
/// # Errors
/// When the database does not answer.
pub async fn pending_migrations(db: &Db) -> Result<Vec<String>, DbErr> {
    let connection: &DatabaseConnection = &db.write;
    Ok(Migrator::get_pending_migrations(connection).await?.iter().map(|step| step.name().to_owned()).collect())
}
