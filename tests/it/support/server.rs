//! The real service on a free port over a database of its own, spoken to over HTTP with really signed deliveries.

use std::{
    collections::BTreeSet,
    ops::RangeInclusive,
    time::{Duration, Instant},
};

use clerk_sync::{
    app::{App, Role, Running},
    backends::cache::Lookup,
    clock::Clock,
    config::Secret,
    db::Stmt,
};
use reqwest::{Method, RequestBuilder, header::HeaderMap};
use serde_json::{Value, json};

use super::{
    process::{SECRET, post},
    services,
    sse::Events,
    world::config,
};

pub(crate) const ADMIN: &str = "admin-token-of-the-tests";
pub(crate) const READER: &str = "reader-token-of-the-tests";
pub(crate) const WRITER: &str = "writer-token-of-the-tests";

/// A service under test.
pub(crate) struct Server {
    /// Which database it runs on.
    pub(crate) name: &'static str,
    pub(crate) url: String,
    pub(crate) app: App,
    pub(crate) client: reqwest::Client,
    running: Running,
    _keep: Box<dyn std::any::Any + Send>,
}

/// An answer, read whole.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Server {
    /// On every database that is there, with these keys over the defaults.
    pub(crate) async fn start_all(overrides: &[(&str, &str)]) -> Vec<Self> {
        let (folder, url) = services::sqlite();
        let mut servers = vec![Self::open("sqlite", &url, overrides, Box::new(folder)).await];
        if let Some(postgres) = services::postgres() {
            let url = postgres.url().to_owned();
            servers.push(Self::open("postgres", &url, overrides, Box::new(postgres)).await);
        }
        servers
    }

    /// On SQLite.
    pub(crate) async fn start(overrides: &[(&str, &str)]) -> Self {
        let (folder, url) = services::sqlite();
        Self::open("sqlite", &url, overrides, Box::new(folder)).await
    }

    /// Several services on one Postgres database; `None` where there is none.
    pub(crate) async fn replicas(count: usize, overrides: &[(&str, &str)]) -> Option<Vec<Self>> {
        let postgres = services::postgres()?;
        let url = postgres.url().to_owned();
        let mut servers = Vec::new();
        for _ in 1..count {
            servers.push(Self::open("postgres", &url, overrides, Box::new(())).await);
        }
        servers.push(Self::open("postgres", &url, overrides, Box::new(postgres)).await);
        Some(servers)
    }

    pub(crate) async fn open(
        name: &'static str,
        database: &str,
        overrides: &[(&str, &str)],
        keep: Box<dyn std::any::Any + Send>,
    ) -> Self {
        let app = Self::connect(database, overrides, Clock::system()).await;
        Self::serve(name, app, &Role::ALL.into(), keep).await
    }

    /// A process on this database that does nothing yet.
    pub(crate) async fn connect(database: &str, overrides: &[(&str, &str)], clock: Clock) -> App {
        let overrides: Vec<_> = overrides.iter().map(|(key, value)| (*key, (*value).to_owned())).collect();
        let mut config = config(&overrides);
        config.database.url = Secret::from(database);
        config.database.max_connections = 4;
        config.database.max_read_connections = 4;
        config.clerk.signing_secret = Secret::from(SECRET);
        config.api.admin_token = Secret::from(ADMIN);
        config.api.tokens = vec![
            Secret::from(format!("reader:read:{READER}").as_str()),
            Secret::from(format!("writer:write:{WRITER}").as_str()),
        ];
        config.server.port = 0;
        App::connect(config, clock, true).await.unwrap()
    }

    /// Starts a process in these roles.
    pub(crate) async fn serve(
        name: &'static str,
        app: App,
        roles: &BTreeSet<Role>,
        keep: Box<dyn std::any::Any + Send>,
    ) -> Self {
        let running = app.clone().start(roles).await.unwrap();
        let url = format!("http://127.0.0.1:{}", running.addr.port());
        let client = reqwest::Client::builder().timeout(Duration::from_secs(60)).no_proxy().build().unwrap();
        Self { name, url, app, client, running, _keep: keep }
    }

    /// Posts a delivery; its status.
    pub(crate) async fn deliver(&self, id: &str, body: &Value) -> u16 {
        post(&self.client, &self.url, id, body.to_string().as_bytes()).await.unwrap()
    }

    /// Delivers what must be accepted, and waits until everything delivered so far has come to its end.
    pub(crate) async fn sync(&self, id: &str, body: &Value) {
        assert_eq!(self.deliver(id, body).await, 200, "{}", self.name);
        self.settle().await;
    }

    /// Waits until nothing is due or being worked on.
    pub(crate) async fn settle(&self) {
        let started = Instant::now();
        let db = &self.app.db.read;
        loop {
            let busy = "select count(*) as n from clerk_sync.inbox where state = 'pending'";
            let rows = Stmt::new(db, busy).all(db).await.unwrap();
            if rows[0].try_get::<i64>("", "n").unwrap() == 0 {
                return;
            }
            assert!(started.elapsed() < Duration::from_secs(30), "{}: does not settle", self.name);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Waits until a sink has got everything there is.
    pub(crate) async fn caught_up(&self, sink: &'static str) {
        let started = Instant::now();
        let db = &self.app.db.read;
        loop {
            let lag = Stmt::new(db, "select (select coalesce(max(seq), 0) from clerk_sync.outbox) - (select coalesce(max(seq), 0) from clerk_sync.sink_cursors where sink = ")
                .val(sink)
                .sql(") as n");
            if lag.all(db).await.unwrap()[0].try_get::<i64>("", "n").unwrap() == 0 {
                return;
            }
            assert!(started.elapsed() < Duration::from_secs(30), "{}: {sink} does not catch up", self.name);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Waits until the cache has a person as the rows have them.
    pub(crate) async fn cached(&self, clerk_id: &str) {
        let started = Instant::now();
        let row = Stmt::new(&self.app.db.read, "select rev from clerk_sync.users where clerk_id = ").val(clerk_id);
        let rev: i64 = row.all(&self.app.db.read).await.unwrap()[0].try_get("", "rev").unwrap();
        loop {
            match self.app.sinks.cache.cache.get(&format!("user:{clerk_id}")).await.unwrap() {
                Lookup::Hit { rev: known, .. } | Lookup::Gone { rev: known } if known >= rev => return,
                _ => {}
            }
            assert!(started.elapsed() < Duration::from_secs(30), "{}: {clerk_id} does not reach the cache", self.name);
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// A statement straight to the database, for states that the service is slow to come to.
    pub(crate) async fn sql(&self, sql: &'static str) -> u64 {
        Stmt::new(&self.app.db.write, sql).exec(&self.app.db.write).await.unwrap()
    }

    /// Rows of the change feed as another replica would leave them, of which nobody here is told.
    pub(crate) async fn feed(&self, seqs: RangeInclusive<i64>, topic: &str, routing: Value, payload: Value) {
        let tx = self.app.db.begin_commit().await.unwrap();
        let insert = Stmt::new(
            &tx,
            "insert into clerk_sync.outbox (id, created_at, topic, routing, changed, payload, event, subject, seq)
                with recursive n(i) as (select ",
        );
        let insert = insert.val(*seqs.start()).sql(" union all select i + 1 from n where i < ").val(*seqs.end());
        let insert = insert.sql(") select ").val(uuid::Uuid::nil()).sql(", ").val(self.app.clock.now()).sql(", ");
        let insert = insert.val(topic).sql(", ").val(routing).sql(", ").val(json!([])).sql(", ").val(payload);
        insert.sql(", 'user.updated', 'user_seven', i from n").exec(&tx).await.unwrap();
        tx.commit().await.unwrap();
    }

    /// A stream of changes.
    pub(crate) async fn stream(&self, query: &str, token: &str) -> Events {
        let opened = Events::open(self.request(Method::GET, &format!("/v1/changes{query}"), token)).await;
        opened.unwrap_or_else(|answer| panic!("{}: {}: {}", self.name, answer.status, answer.text))
    }

    pub(crate) fn request(&self, method: Method, path: &str, token: &str) -> RequestBuilder {
        let request = self.client.request(method, format!("{}{path}", self.url));
        if token.is_empty() { request } else { request.bearer_auth(token) }
    }

    pub(crate) async fn get(&self, path: &str, token: &str) -> Answer {
        answer(self.request(Method::GET, path, token)).await
    }

    pub(crate) async fn post(&self, path: &str, token: &str) -> Answer {
        answer(self.request(Method::POST, path, token)).await
    }

    /// What a reader gets, which must be there.
    pub(crate) async fn read(&self, path: &str) -> Value {
        self.expect(path, READER).await
    }

    /// What the admin gets, which must be there.
    pub(crate) async fn admin(&self, path: &str) -> Value {
        self.expect(path, ADMIN).await
    }

    async fn expect(&self, path: &str, token: &str) -> Value {
        let answer = self.get(path, token).await;
        assert_eq!(answer.status, 200, "{}: {path}: {}", self.name, answer.text);
        answer.json()
    }

    /// The entity tag of an object of this `rev`.
    pub(crate) fn tag(&self, rev: &impl std::fmt::Display) -> String {
        format!("W/\"{rev}-{}\"", &self.app.meta.epoch[..8])
    }

    /// Ends it; whether everything ended in time.
    pub(crate) async fn stop(self) -> bool {
        self.running.stop().await
    }
}

pub(crate) async fn answer(request: RequestBuilder) -> Answer {
    let response = request.send().await.unwrap();
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    Answer { status, headers, text: response.text().await.unwrap() }
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("not JSON: {}", self.text))
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// That it is a problem of this status and code.
    pub(crate) fn is_problem(&self, status: u16, code: &str, what: &str) {
        assert_eq!(self.status, status, "{what}: {}", self.text);
        assert_eq!(self.header("content-type"), "application/problem+json", "{what}");
        let body = self.json();
        assert_eq!((&body["code"], &body["status"]), (&json!(code), &json!(status)), "{what}");
        assert_eq!(self.header("www-authenticate"), if status == 401 { "Bearer" } else { "" }, "{what}");
    }
}

/// A person's snapshot at second `at`, with one verified address; `changes` lies over its data.
pub(crate) fn person(id: &str, at: u64, changes: Value) -> Value {
    let ms = 1_700_000_000_000_u64 + at * 1000;
    let mut body = json!({
        "type": "user.updated", "object": "event", "timestamp": ms,
        "data": {
            "id": id, "object": "user", "first_name": "Ada", "last_name": "Quill",
            "created_at": 1_700_000_000_000_u64, "updated_at": ms, "primary_email_address_id": "idn_1",
            "email_addresses": [email("idn_1", &format!("{id}@example.com"), true)],
        },
    });
    for (name, value) in changes.as_object().unwrap() {
        body["data"][name] = value.clone();
    }
    body
}

/// An address of a person.
pub(crate) fn email(id: &str, address: &str, verified: bool) -> Value {
    let status = if verified { "verified" } else { "unverified" };
    json!({"id": id, "email_address": address, "verification": {"status": status}})
}

/// A person's deletion.
pub(crate) fn deletion(id: &str) -> Value {
    json!({"type": "user.deleted", "object": "event", "timestamp": 1_800_000_000_000_u64, "data": {"id": id, "deleted": true}})
}
