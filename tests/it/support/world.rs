//! A database of its own with the real receipt and sync over it, driven step by step: no timers, no sleeps.

use clerk_sync::{
    app::{App, Role, Running},
    clerk::envelope,
    clock::Clock,
    config::{self, Config, Secret},
    inbox::receive::{Accepted, Receipt, Receiver, receiver},
};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::{process::SECRET, services, tables};

/// One of the two databases, empty.
pub(crate) struct World {
    pub(crate) name: &'static str,
    pub(crate) app: App,
    receiver: Receiver,
    stop: CancellationToken,
    _keep: Box<dyn std::any::Any + Send>,
}

/// The configuration with these keys over the defaults.
pub(crate) fn config(overrides: &[(&str, String)]) -> Config {
    let long = |key: &str| format!("CLERK_SYNC__{}", key.replace('.', "__").to_uppercase());
    let environment = overrides.iter().map(|(key, value)| (long(key), value.clone())).collect();
    config::load(None, environment).unwrap()
}

/// Every database that is there: SQLite always, Postgres where `tests/run` started one.
pub(crate) async fn worlds(overrides: &[(&str, String)]) -> Vec<World> {
    let mut worlds = vec![sqlite(overrides).await];
    worlds.extend(postgres(overrides).await);
    worlds
}

pub(crate) async fn postgres(overrides: &[(&str, String)]) -> Option<World> {
    let postgres = services::postgres()?;
    let url = postgres.url().to_owned();
    Some(World::open("postgres", &url, overrides, Box::new(postgres)).await)
}

pub(crate) async fn sqlite(overrides: &[(&str, String)]) -> World {
    let (folder, url) = services::sqlite();
    World::open("sqlite", &url, overrides, Box::new(folder)).await
}

impl World {
    async fn open(
        name: &'static str,
        url: &str,
        overrides: &[(&str, String)],
        keep: Box<dyn std::any::Any + Send>,
    ) -> Self {
        let mut config = config(overrides);
        config.database.url = Secret::from(url);
        config.clerk.signing_secret = Secret::from(SECRET);
        config.server.port = 0;
        config.database.max_connections = 4;
        config.database.max_read_connections = 4;
        let app = App::connect(config, Clock::system(), true).await.unwrap();
        let (receiver, writer) = receiver(app.db.clone(), app.signals.clone(), &app.config.receiver);
        let stop = CancellationToken::new();
        tokio::spawn(writer.run(stop.clone()));
        Self { name, app, receiver, stop, _keep: keep }
    }

    /// Empties the tables and goes on under other keys: far cheaper than a new database.
    pub(crate) async fn empty(&mut self, overrides: &[(&str, String)]) {
        tables::empty(&self.app.db.write).await;
        let url = self.app.config.database.url.expose().to_owned();
        // Before the next ones are opened: a server has only so many connections.
        self.stop.cancel();
        let db = self.app.db.clone();
        for pool in [db.write, db.lazy, db.receipts, db.read] {
            let _ = pool.close().await;
        }
        let keep = std::mem::replace(&mut self._keep, Box::new(()));
        *self = Self::open(self.name, &url, overrides, keep).await;
    }

    /// Stores a delivery as the receiver does once its signature is verified.
    pub(crate) async fn deliver(&self, id: &str, body: &Value) -> Accepted {
        let envelope = envelope::read(body.to_string().as_bytes()).unwrap();
        let receipt =
            Receipt { svix_id: id.to_owned(), envelope, received_at: self.app.clock.now(), traceparent: None };
        self.receiver.accept(receipt).await.unwrap()
    }

    /// The same; whether it was stored.
    pub(crate) async fn try_deliver(&self, id: &str, body: &Value) -> bool {
        let envelope = envelope::read(body.to_string().as_bytes()).unwrap();
        let receipt =
            Receipt { svix_id: id.to_owned(), envelope, received_at: self.app.clock.now(), traceparent: None };
        self.receiver.accept(receipt).await.is_ok()
    }

    /// Another replica over the same database, with keys of its own.
    pub(crate) async fn replica(&self, overrides: &[(&str, String)]) -> App {
        let mut config = config(overrides);
        config.database = self.app.config.database.clone();
        config.clerk.signing_secret = Secret::from(SECRET);
        config.server.port = 0;
        App::connect(config, self.app.clock.clone(), false).await.unwrap()
    }

    /// Runs what is due until nothing is.
    pub(crate) async fn drain(&self) -> usize {
        self.app.worker().drain().await.unwrap()
    }

    /// The whole process, listening on a free port.
    pub(crate) async fn serve(&self) -> Running {
        self.app.clone().start(&Role::ALL.into()).await.unwrap()
    }

    /// The inbox row of a delivery.
    pub(crate) async fn inbox(&self, id: &str) -> entity::inbox::Model {
        use sea_orm::{ColumnTrait, EntityTrait, QueryFilter};
        let find = entity::inbox::Entity::find().filter(entity::inbox::Column::SvixId.eq(id));
        find.one(&self.app.db.read).await.unwrap().unwrap()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}
