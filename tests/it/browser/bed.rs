//! A service, a page's own server and a browser; and processes on one database, on ports that stay.

use std::{
    sync::atomic::{AtomicU32, Ordering::Relaxed},
    time::{Duration, Instant},
};

use clerk_sync::{
    app::{App, Role, Running},
    clock::Clock,
    config::Secret,
    db::Stmt,
};
use serde_json::Value;

use super::{devtools::Browser, page::Page, site::Site};
use crate::support::{
    issuer::{ISSUER, Issuer, PARTY},
    process::{SECRET, free_port, post},
    server::ADMIN,
    services,
    world::config,
};

pub(super) struct Bed {
    pub(super) name: &'static str,
    pub(super) site: Site,
    pub(super) browser: Browser,
    /// Where the service that pages speak with is, while it is there.
    pub(super) api: String,
    port: u16,
    database: String,
    client: reqwest::Client,
    deliveries: AtomicU32,
    _keep: Box<dyn std::any::Any + Send>,
}

/// A process of the service.
pub(super) struct Service {
    pub(super) url: String,
    app: App,
    running: Running,
}

impl Bed {
    /// On SQLite; `None` where there is no browser. Tokens live for so many seconds.
    pub(super) async fn start(life: i64) -> Option<Self> {
        let (folder, database) = services::sqlite();
        Self::on("sqlite", database, Box::new(folder), life).await
    }

    /// On Postgres; `None` where there is none.
    pub(super) async fn on_postgres(life: i64) -> Option<Self> {
        let postgres = services::postgres()?;
        let database = postgres.url().to_owned();
        Self::on("postgres", database, Box::new(postgres), life).await
    }

    async fn on(name: &'static str, database: String, keep: Box<dyn std::any::Any + Send>, life: i64) -> Option<Self> {
        let browser = Browser::start().await?;
        let port = free_port();
        let api = format!("http://127.0.0.1:{port}");
        let site = Site::start(&api, life).await;
        let client = reqwest::Client::builder().timeout(Duration::from_secs(60)).no_proxy().build().unwrap();
        let deliveries = AtomicU32::new(0);
        Some(Self { name, site, browser, api, port, database, client, deliveries, _keep: keep })
    }

    /// The service that pages speak with.
    pub(super) async fn serve(&self) -> Service {
        self.process(self.port).await
    }

    /// Another one on the same database, elsewhere.
    pub(super) async fn replica(&self) -> Service {
        self.process(free_port()).await
    }

    async fn process(&self, port: u16) -> Service {
        let pem = Issuer::ours().pem();
        let keys = [
            ("clerk.jwt_key", pem.as_str()),
            ("clerk.issuer", ISSUER),
            ("clerk.authorized_parties", PARTY),
            ("gateway.origins", &self.site.origin),
        ];
        let mut config = config(&keys.map(|(key, value)| (key, value.to_owned())));
        config.database.url = Secret::from(self.database.as_str());
        config.database.max_connections = 4;
        config.database.max_read_connections = 4;
        config.clerk.signing_secret = Secret::from(SECRET);
        config.api.admin_token = Secret::from(ADMIN);
        config.server.port = port;
        let app = App::connect(config, Clock::system(), true).await.unwrap();
        let running = app.clone().start(&Role::ALL.into()).await.unwrap();
        Service { url: format!("http://127.0.0.1:{port}"), app, running }
    }

    /// Posts a signed delivery, which must be accepted.
    pub(super) async fn deliver(&self, to: &Service, body: &Value) {
        let id = format!("msg_{}", self.deliveries.fetch_add(1, Relaxed));
        let status = post(&self.client, &to.url, &id, body.to_string().as_bytes()).await;
        assert_eq!(status, Some(200), "{}", self.name);
    }

    /// The same with several, and waits until they have come to their end.
    pub(super) async fn sync(&self, to: &Service, bodies: &[Value]) {
        for body in bodies {
            self.deliver(to, body).await;
        }
        let started = Instant::now();
        let open = "select 1 from clerk_sync.inbox where state = 'pending' limit 1";
        while !Stmt::new(&to.app.db.read, open).all(&to.app.db.read).await.unwrap().is_empty() {
            assert!(started.elapsed() < Duration::from_secs(30), "{}: does not settle", self.name);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// The page of `who`, who follows these topics and, where one is named, a list.
    pub(super) async fn page(&self, name: &str, who: &str, topics: &str, list: &str) -> Page {
        let name = format!("{name}-{}", self.name);
        let query = format!("api={}&who={who}&topics={topics}&list={list}", self.api);
        Page::open(&self.browser, &name, &format!("{}/live.html?{query}", self.site.origin)).await
    }

    /// The whole change feed, as an admin reads it.
    pub(super) async fn changes(&self) -> Vec<Value> {
        let (mut changes, mut next) = (Vec::new(), 0);
        loop {
            let url = format!("{}/v1/changes?after={next}&limit=1000", self.api);
            let answer = self.client.get(url).bearer_auth(ADMIN).send().await.unwrap();
            let mut answer: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
            next = answer["next"].as_i64().unwrap();
            match answer["data"].take() {
                Value::Array(page) if !page.is_empty() => changes.extend(page),
                _ => return changes,
            }
        }
    }

    /// That nothing went wrong on any page but connections that were refused, and no token stands anywhere.
    pub(super) async fn is_quiet(&self, page: &Page) {
        let addresses = page.get("performance.getEntries().map(({ name }) => name).concat(page.addresses)").await;
        let complaints = page.complaints().await;
        assert_eq!(page.get("page.violations").await, serde_json::json!([]), "{}", self.name);
        let minted = self.site.minted();
        assert!(!minted.is_empty());
        for token in minted {
            let everything = format!("{addresses} {complaints:?}");
            assert!(!everything.contains(&token), "a token stands in {everything}");
        }
        let network = |complaint: &&String| complaint.contains("net::ERR_") || complaint.contains("\"network\"");
        let rest: Vec<_> = complaints.iter().filter(|complaint| !network(complaint)).collect();
        assert!(rest.is_empty(), "{}: {rest:#?}", self.name);
    }
}

impl Service {
    /// Ends it as SIGTERM does.
    pub(super) async fn stop(self) {
        assert!(self.running.stop().await, "the service did not end in time");
    }
}
