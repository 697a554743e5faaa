//! The real process on a free port, with databases that outlive it, and many deliveries at a time.

use std::{sync::Arc, time::Duration};

use clerk_sync::{
    app::{App, Role, Running},
    clock::Clock,
    config::Secret,
    db::Stmt,
};
use futures_util::{StreamExt as _, stream};
use serde_json::Value;

use crate::support::{
    process::{SECRET, post},
    services,
    world::config,
    ws,
};

/// The token of whoever opens a websocket here.
pub(super) const ADMIN: &str = "the-admin-token";

/// A token of a service, which opens none.
pub(super) const READER: &str = "the-reader-token";

/// A process under test.
pub(super) struct Server {
    pub(super) url: String,
    pub(super) app: App,
    running: Running,
    overrides: Vec<(String, String)>,
    database: String,
    keep: Arc<dyn std::any::Any + Send + Sync>,
    client: reqwest::Client,
}

impl Server {
    /// On a new SQLite file, with these keys over the defaults.
    pub(super) async fn start(overrides: &[(&str, &str)]) -> Self {
        let (folder, database) = services::sqlite();
        Self::on(&database, Arc::new(folder), overrides).await
    }

    /// On every database that is there, each new.
    pub(super) async fn each(overrides: &[(&str, &str)]) -> Vec<Self> {
        let mut servers = vec![Self::start(overrides).await];
        if let Some(postgres) = services::postgres() {
            let url = postgres.url().to_owned();
            servers.push(Self::on(&url, Arc::new(postgres), overrides).await);
        }
        servers
    }

    /// On this database, which lives as long as `keep`.
    pub(super) async fn on(
        database: &str,
        keep: Arc<dyn std::any::Any + Send + Sync>,
        overrides: &[(&str, &str)],
    ) -> Self {
        let overrides: Vec<_> = overrides.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let keys: Vec<_> = overrides.iter().map(|(key, value)| (key.as_str(), value.clone())).collect();
        let mut config = config(&keys);
        config.database.url = Secret::from(database);
        config.database.max_connections = 4;
        config.database.max_read_connections = 4;
        config.clerk.signing_secret = Secret::from(SECRET);
        config.api.admin_token = Secret::from(ADMIN);
        config.api.tokens = vec![Secret::from(format!("reader:read:{READER}").as_str())];
        config.server.port = 0;
        let app = App::connect(config, Clock::system(), true).await.unwrap();
        let running = app.clone().start(&Role::ALL.into()).await.unwrap();
        let url = format!("http://{}", running.addr);
        let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(60)).build().unwrap();
        Self { url, app, running, overrides, database: database.to_owned(), keep, client }
    }

    /// Ends it; whether everything ended in time.
    pub(super) async fn stop(self) -> bool {
        self.running.stop().await
    }

    /// Ends it and starts another on the same database.
    pub(super) async fn restart(self) -> Self {
        let (database, keep, overrides) = (self.database.clone(), self.keep.clone(), self.overrides.clone());
        assert!(self.stop().await, "the server did not end in time");
        let overrides: Vec<_> = overrides.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        Self::on(&database, keep, &overrides).await
    }

    /// Posts one delivery, which must be accepted.
    pub(super) async fn deliver(&self, body: &Value) {
        self.deliver_all([body.clone()]).await;
    }

    /// Posts all of them, several at a time; every one must be accepted. Needs nothing of the server while it runs.
    pub(super) fn deliver_all<B: IntoIterator<Item = Value>>(
        &self,
        bodies: B,
    ) -> impl Future<Output = ()> + Send + use<B> {
        let (client, url, bodies) = (self.client.clone(), self.url.clone(), Vec::from_iter(bodies));
        async move {
            let answers = stream::iter(bodies).map(move |body| {
                let (client, url) = (client.clone(), url.clone());
                let id = format!("msg_{}", uuid::Uuid::new_v4().simple());
                async move { post(&client, &url, &id, body.to_string().as_bytes()).await }
            });
            let answers: Vec<_> = answers.buffer_unordered(16).collect().await;
            assert!(answers.iter().all(|status| *status == Some(200)), "{answers:?}");
        }
    }

    /// Returns once nothing is due or under way in the inbox. The server does the work: a second worker beside it
    /// could overtake it.
    pub(super) async fn settle(&self) {
        for _ in 0..6_000 {
            let open = "select 1 from clerk_sync.inbox where state = 'pending' limit 1";
            if Stmt::new(&self.app.db.read, open).all(&self.app.db.read).await.unwrap().is_empty() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("the inbox did not settle");
    }

    /// The seqs of the change feed's rows of a topic, in order.
    pub(super) async fn seqs(&self, topic: &str) -> Vec<i64> {
        let query = Stmt::new(&self.app.db.read, "select seq from clerk_sync.outbox where topic = ").val(topic);
        let rows = query.sql(" order by seq").all(&self.app.db.read).await.unwrap();
        rows.iter().map(|row| row.try_get("", "seq").unwrap()).collect()
    }

    /// Runs a statement as the sync would, and wakes whoever follows the change feed.
    pub(super) async fn execute(&self, statement: &'static str) {
        let tx = self.app.db.begin_commit().await.unwrap();
        Stmt::new(&tx, statement).exec(&tx).await.unwrap();
        tx.commit().await.unwrap();
        self.app.signals.outbox.wake();
    }

    /// A websocket that has said nothing yet.
    pub(super) async fn stranger(&self) -> ws::Client {
        self.open(&[], None).await.unwrap()
    }

    /// See [`ws::Client::open`].
    pub(super) async fn open(
        &self,
        headers: &[(&'static str, &str)],
        receive: Option<u32>,
    ) -> Result<ws::Client, tokio_tungstenite::tungstenite::Error> {
        ws::Client::open(self.running.addr, headers, receive).await
    }

    /// A websocket of an admin, and its `welcome`.
    pub(super) async fn admin(&self) -> (ws::Client, Value) {
        let mut client = self.stranger().await;
        let welcome = client.auth(ADMIN).await;
        (client, welcome)
    }
}
