//! The real binary over an SQLite file on a disk that can fail, or over Postgres, and the record of what it acknowledged.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    path::{Path, PathBuf},
    process::Stdio,
    str::FromStr as _,
    time::{Duration, Instant},
};

use clerk_sync::config;
use serde_json::{Value, json};
use sqlx::{
    AssertSqlSafe, ConnectOptions as _, Connection as _, Executor as _, PgConnection, Row as _, SqliteConnection,
    sqlite::SqliteConnectOptions,
};
use tempfile::TempDir;
use tokio::task::JoinHandle;

use crate::support::{
    disk::Disk,
    process::{Process, free_port, post_whole},
    server::{ADMIN, Answer, answer, person},
};

/// Everything acknowledged ends within this time once faults cease (P13).
pub(super) const LIVENESS: Duration = Duration::from_secs(10);

/// Users that the deliveries are about.
const USERS: u64 = 20;

/// What the server runs with beside the defaults.
const SETTINGS: [(&str, &str); 5] = [
    ("CLERK_SYNC__SYNC__LEASE", "1s"),
    ("CLERK_SYNC__UPKEEP__EVERY", "200ms"),
    ("CLERK_SYNC__SYNC__POLL", "100ms"),
    ("CLERK_SYNC_ADMIN_TOKEN", ADMIN),
    ("RUST_LOG", "clerk_sync=warn,error"),
];

/// What became of one delivery.
#[derive(Debug, Clone)]
pub(super) struct Sent {
    /// The status; `None` where there was no answer.
    pub(super) status: Option<u16>,
    /// The header of a refusal that says when to come again.
    pub(super) retry_after: Option<String>,
}

/// A server, its disk, and what it has said.
pub(super) struct Bed {
    pub(super) disk: Disk,
    pub(super) process: Process,
    acknowledged: BTreeSet<String>,
    settings: Vec<(String, String)>,
    url: String,
    sent: u64,
    port: u16,
    client: reqwest::Client,
    // Last: the process ends before its folder goes.
    folder: TempDir,
}

impl Bed {
    /// A server on a new database.
    pub(super) async fn start() -> Self {
        Self::start_with(&[], None).await
    }

    /// A server with these settings beside the usual ones, on a copy of this database.
    pub(super) async fn start_with(settings: &[(&str, &str)], template: Option<&PathBuf>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        if let Some(template) = template {
            std::fs::copy(template, folder.path().join("test.db")).unwrap();
        }
        let url = format!("sqlite://{}", folder.path().join("test.db").display());
        Self::open(folder, &url, settings).await
    }

    /// A server on this database.
    pub(super) async fn on(url: &str, settings: &[(&str, &str)]) -> Self {
        Self::open(tempfile::tempdir().unwrap(), url, settings).await
    }

    async fn open(folder: TempDir, url: &str, settings: &[(&str, &str)]) -> Self {
        let disk = Disk::new(folder.path(), "test.db");
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let settings: Vec<_> = SETTINGS.iter().chain(settings).map(own).filter(is_known).collect();
        let port = free_port();
        let process = spawn(&folder, &disk, port, url, &settings).await;
        let client = reqwest::Client::builder().timeout(Duration::from_secs(15)).no_proxy().build().unwrap();
        let (acknowledged, url) = (BTreeSet::new(), url.to_owned());
        Self { disk, process, acknowledged, settings, url, sent: 0, port, client, folder }
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// What the server wrote to its log so far.
    pub(super) fn log(&self) -> String {
        std::fs::read_to_string(self.path("log")).unwrap()
    }

    /// Leaves out the numbers of deliveries that the database has already.
    pub(super) fn skip(&mut self, count: u64) {
        self.sent += count;
    }

    /// Sends so many new deliveries at once.
    pub(super) async fn burst(&mut self, count: u64) -> Vec<Sent> {
        let load = self.load(count);
        self.join(load).await
    }

    /// Begins to send so many new deliveries at once.
    pub(super) fn load(&mut self, count: u64) -> Vec<JoinHandle<(String, Sent)>> {
        let numbers = self.sent..self.sent + count;
        self.sent += count;
        let send = |number| {
            let (client, url) = (self.client.clone(), self.process.url.clone());
            tokio::spawn(async move { deliver(&client, &url, number).await })
        };
        numbers.map(send).collect()
    }

    /// Waits for what was sent, and notes what was acknowledged.
    pub(super) async fn join(&mut self, load: Vec<JoinHandle<(String, Sent)>>) -> Vec<Sent> {
        let mut results = Vec::new();
        for sending in load {
            let (id, sent) = sending.await.unwrap();
            if sent.status == Some(200) {
                self.acknowledged.insert(id);
            }
            results.push(sent);
        }
        results
    }

    /// Sends them and has all of them accepted.
    pub(super) async fn accepted(&mut self, count: u64) {
        let statuses: Vec<_> = self.burst(count).await.iter().map(|sent| sent.status).collect();
        assert!(statuses.iter().all(|status| *status == Some(200)), "accepted: {statuses:?}\n{}", self.log());
    }

    /// Sends one by one until one is accepted again.
    pub(super) async fn recovers(&mut self, what: &str) {
        let started = Instant::now();
        while self.burst(1).await[0].status != Some(200) {
            assert!(started.elapsed() < LIVENESS, "{what}: receipts do not come back\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// An admin's request that has no effect: its transaction is rolled back.
    pub(super) async fn refused_operation(&self) {
        let path = format!("{}/v1/admin/events/msg_nothing/retry", self.process.url);
        assert_eq!(answer(self.client.post(path).bearer_auth(ADMIN)).await.status, 404);
    }

    pub(super) async fn ready(&self) -> Answer {
        answer(self.client.get(format!("{}/readyz", self.process.url))).await
    }

    /// SIGTERM, and another process on the same file.
    pub(super) async fn restart(&mut self) {
        self.process.terminate_in_place();
        self.process = spawn(&self.folder, &self.disk, self.port, &self.url, &self.settings).await;
    }

    /// SIGKILL, and another process on the same file.
    pub(super) async fn crash(&mut self) {
        self.process.kill();
        self.process = spawn(&self.folder, &self.disk, self.port, &self.url, &self.settings).await;
    }

    /// Statements over a connection of the test's own, to a file on a disk that works.
    pub(super) async fn execute(&self, sql: &'static str) {
        let mut connection = self.sqlite().await;
        sqlx::raw_sql(sql).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
    }

    /// A copy of the database as it is now.
    pub(super) async fn copy_to(&self, path: &Path) {
        let mut connection = self.sqlite().await;
        sqlx::query("vacuum into $1").bind(path.display().to_string()).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
    }

    pub(super) async fn count(&self, sql: &str) -> i64 {
        if self.is_postgres() {
            let mut connection = self.postgres().await;
            return sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(&mut connection).await.unwrap();
        }
        let mut connection = self.sqlite().await;
        let count = sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(&mut connection).await.unwrap();
        connection.close().await.unwrap();
        count
    }

    /// Two columns of text.
    async fn pairs(&self, sql: &'static str) -> BTreeMap<String, String> {
        if self.is_postgres() {
            let rows = sqlx::query(sql).fetch_all(&mut self.postgres().await).await.unwrap();
            return rows.iter().map(|row| (row.get(0), row.get(1))).collect();
        }
        let mut connection = self.sqlite().await;
        let rows = sqlx::query(sql).fetch_all(&mut connection).await.unwrap();
        connection.close().await.unwrap();
        rows.iter().map(|row| (row.get(0), row.get(1))).collect()
    }

    fn is_postgres(&self) -> bool {
        self.url.starts_with("postgres:")
    }

    async fn sqlite(&self) -> SqliteConnection {
        let options = SqliteConnectOptions::from_str(&self.url).unwrap().busy_timeout(LIVENESS);
        options.disable_statement_logging().connect().await.unwrap()
    }

    async fn postgres(&self) -> PgConnection {
        let mut connection = PgConnection::connect(&self.url).await.unwrap();
        connection.execute("set search_path = clerk_sync").await.unwrap();
        connection
    }

    /// Acknowledged deliveries that another connection does not see.
    pub(super) async fn lost(&self) -> Vec<String> {
        let stored = self.states().await;
        self.acknowledged.iter().filter(|id| !stored.contains_key(*id)).cloned().collect()
    }

    async fn states(&self) -> BTreeMap<String, String> {
        self.pairs("select svix_id, state from inbox").await
    }

    /// Waits until everything stored has ended, and checks P1, P2 and P13.
    pub(super) async fn whole(&mut self, what: &str) {
        let started = Instant::now();
        loop {
            let states = self.states().await;
            let open: Vec<_> = states.iter().filter(|(_, state)| *state != "done" && *state != "skipped").collect();
            if open.is_empty() {
                break;
            }
            assert!(started.elapsed() < LIVENESS, "{what}: P13: not ended: {open:?}\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        let lost = self.lost().await;
        assert!(lost.is_empty(), "{what}: P1: acknowledged and lost: {lost:?}");
        let applied = self.count("select count(*) from inbox where outcome in ('created', 'updated')").await;
        let told = self.count("select count(*) from outbox where topic = 'users'").await;
        let audited = self.count("select count(*) from audit_log where subject like 'user_fault%'").await;
        assert_eq!((told, audited), (applied, applied), "{what}: P2: receipts, feed and audit agree");
        let twice = "select count(*) from (select 1 from outbox where topic = 'users' group by correlation_id having count(*) > 1) as t";
        assert_eq!(self.count(twice).await, 0, "{what}: P2: told once");
        assert_eq!(
            self.count("select max(seq) - count(*) from outbox").await,
            0,
            "{what}: no number of the feed is lost"
        );
        self.newest(what).await;
    }

    /// Each user is as their newest stored version says.
    async fn newest(&self, what: &str) {
        let mut newest: BTreeMap<String, u64> = BTreeMap::new();
        for id in self.states().await.keys() {
            let Ok(number) = id.trim_start_matches("msg_fault").parse::<u64>() else { continue };
            let known = newest.entry(user(number)).or_default();
            *known = number.max(*known);
        }
        let shown = self.pairs("select clerk_id, first_name from users").await;
        let expected: BTreeMap<String, String> =
            newest.into_iter().map(|(user, number)| (user, format!("V{number:06}"))).collect();
        assert_eq!(shown, expected, "{what}: users show their newest version");
    }
}

/// Leases are shortened where there are any.
fn is_known(setting: &(String, String)) -> bool {
    !setting.0.starts_with("CLERK_SYNC__") || config::load(None, [setting.clone()].into()).is_ok()
}

fn user(number: u64) -> String {
    format!("user_fault{:03}", number % USERS)
}

fn body(number: u64) -> Value {
    let padding = "x".repeat(1500);
    person(
        &user(number),
        number,
        json!({"first_name": format!("V{number:06}"), "public_metadata": {"padding": padding}}),
    )
}

async fn deliver(client: &reqwest::Client, url: &str, number: u64) -> (String, Sent) {
    let id = format!("msg_fault{number:06}");
    let response = post_whole(client, url, &id, body(number).to_string().as_bytes()).await;
    let retry_after = response.as_ref().and_then(|answer| answer.headers().get("retry-after"));
    let retry_after = retry_after.map(|value| value.to_str().unwrap().to_owned());
    (id, Sent { status: response.map(|response| response.status().as_u16()), retry_after })
}

async fn spawn(folder: &TempDir, disk: &Disk, port: u16, url: &str, settings: &[(String, String)]) -> Process {
    let log = File::options().create(true).append(true).open(folder.path().join("log")).unwrap();
    let mut environment = disk.environment();
    environment.extend(settings.iter().map(|(name, value)| (name.as_str(), value.as_str())));
    Process::serve_logging_to(Stdio::from(log), port, url, &environment).await
}
