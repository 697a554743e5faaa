//! The services that `tests/run` starts, found through the environment, and what each test gets of them for itself.
//!
//! Where a service is not there, a test leaves itself out and says so, so that `cargo test` alone runs what needs none.
//! `TEST_REQUIRE_SERVICES=1` (set by `tests/run`) makes that a failure: a test that was left out must not look green.

use std::{
    io::Write as _,
    sync::atomic::{AtomicU32, Ordering},
};

use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use tempfile::TempDir;

/// A fresh database on the Postgres server. Dropped with this value, as far as it can be.
#[derive(Debug)]
pub(crate) struct Postgres {
    server: String,
    name: String,
    url: String,
}

/// A fresh database on Postgres; `None` where there is no server.
pub(crate) fn postgres() -> Option<Postgres> {
    let server = service("TEST_POSTGRES_URL", "Postgres")?;
    let name = format!("t_{}", unique());
    // A test that was killed may have left one of the same name; its process is gone.
    run(&server, &[format!("drop database if exists {name} with (force)"), format!("create database {name}")]).unwrap();
    let url = with_database(&server, &name);
    Some(Postgres { server, name, url })
}

impl Postgres {
    /// The connection string.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // The server's folder goes with the run anyway; what matters is not to hide how the test itself ended.
        run(&self.server, &[format!("drop database if exists {} with (force)", self.name)]).ok();
    }
}

/// The URL of the Redis server and a prefix that nobody else uses; `None` where there is no server.
pub(crate) fn redis() -> Option<(String, String)> {
    let url = service("TEST_REDIS_URL", "Redis")?;
    Some((url, format!("t_{}_{}", unique(), uuid::Uuid::new_v4().simple())))
}

/// The program of a browser; `None` where there is none.
pub(crate) fn chromium() -> Option<String> {
    service("TEST_CHROMIUM", "Chromium")
}

/// The program of PgBouncer; `None` where there is none.
pub(crate) fn pgbouncer() -> Option<String> {
    service("TEST_PGBOUNCER", "PgBouncer")
}

/// The URL of an SQLite database that does not exist yet, and the folder it will live in, removed with the value.
pub(crate) fn sqlite() -> (TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}", folder.path().join("test.db").display());
    (folder, url)
}

/// `<pid>_<n>`: unlike in any process that runs at the same time.
fn unique() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!("{}_{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}

/// What an environment variable says of a service; `None` where it is not there.
pub(crate) fn service(variable: &str, name: &str) -> Option<String> {
    let url = std::env::var(variable).ok().filter(|url| !url.is_empty());
    if url.is_none() {
        let thread = std::thread::current();
        let test = thread.name().unwrap_or("a test");
        assert!(
            std::env::var_os("TEST_REQUIRE_SERVICES").is_none_or(|value| value != "1"),
            "{test} needs {name}, and {variable} is not set"
        );
        // Past the harness, which would swallow what a passing test prints.
        writeln!(std::io::stderr(), "left out: {test} needs {name}; run tests/run").ok();
    }
    url
}

/// The same server and parameters, another database.
fn with_database(server: &str, name: &str) -> String {
    let (base, parameters) = server.split_once('?').map_or((server, None), |(base, rest)| (base, Some(rest)));
    let host = base.find("://").map_or(0, |at| at + 3);
    let end = base[host..].find('/').map_or(base.len(), |at| host + at);
    let parameters = parameters.map(|rest| format!("?{rest}")).unwrap_or_default();
    format!("{}/{name}{parameters}", &base[..end])
}

/// Runs statements one by one, on a thread of its own: callers may stand inside a runtime, or in a `drop`.
fn run(server: &str, statements: &[String]) -> Result<(), sqlx::Error> {
    let work = async {
        let mut connection = PgConnection::connect(server).await?;
        for statement in statements {
            sqlx::Executor::execute(&mut connection, sqlx::raw_sql(AssertSqlSafe(statement.clone()))).await?;
        }
        connection.close().await
    };
    std::thread::scope(|scope| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(sqlx::Error::Io)?;
        scope.spawn(move || runtime.block_on(work)).join().unwrap_or(Err(sqlx::Error::WorkerCrashed))
    })
}

#[test]
fn a_database_takes_the_place_of_the_one_in_the_url() {
    assert_eq!(with_database("postgres://a@h:1/postgres", "t"), "postgres://a@h:1/t");
    assert_eq!(with_database("postgres://a@h:1", "t"), "postgres://a@h:1/t");
    assert_eq!(with_database("postgres://h/x?sslmode=disable", "t"), "postgres://h/t?sslmode=disable");
}

/// Two databases at once, each its own, and gone when dropped even while somebody is connected.
#[tokio::test]
async fn postgres_databases_are_separate_and_temporary() {
    let (Some(one), Some(two)) = (postgres(), postgres()) else { return };
    let mut first = PgConnection::connect(one.url()).await.unwrap();
    let mut second = PgConnection::connect(two.url()).await.unwrap();
    sqlx::query("create table only_here (id int)").execute(&mut first).await.unwrap();
    assert!(sqlx::query("select * from only_here").fetch_all(&mut second).await.is_err());
    let url = one.url().to_owned();
    drop(one);
    assert!(PgConnection::connect(&url).await.is_err());
}

/// The migrations run on what the helpers hand out.
#[tokio::test]
async fn both_databases_can_be_migrated() {
    let (_folder, sqlite) = sqlite();
    let postgres = postgres();
    let urls = std::iter::once(sqlite.as_str()).chain(postgres.as_ref().map(Postgres::url));
    for url in urls {
        let environment = [("DATABASE_URL".to_owned(), url.to_owned())].into();
        let config = clerk_sync::config::load(None, environment).unwrap();
        let db = clerk_sync::db::connect(&config.database).await.unwrap();
        clerk_sync::db::migrate(&db).await.unwrap();
        assert_eq!(clerk_sync::db::pending_migrations(&db).await.unwrap(), Vec::<String>::new());
    }
}
