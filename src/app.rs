//! The composition root: the only file that names concrete backends and says which task runs where.

mod parts;
mod policy;

use std::{collections::BTreeSet, net::SocketAddr, sync::Arc};

use anyhow::{Context as _, bail};
use tokio::net::TcpListener;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    access::Access,
    api::{
        self,
        line::{Lines, Peer},
    },
    backends::{cache::Cache, link::LinkError, mailer::Mailer, search::Search, stream::Stream},
    clerk::{api::Api, signature::Verifier},
    clock::Clock,
    config::{self, Config},
    db::{self, Db},
    domain::Policy,
    gateway::{self, Gateway},
    inbox::{admission::AdmissionLog, receive, rescan::rescan},
    instance::Instance,
    meta::Meta,
    outbox::tail::Tail,
    sinks::{Sinks, cache::CacheSink, chat::ChatSink, local, mail::MailSink, search::SearchSink, stream::StreamSink},
    telemetry::{exporter::Exporter, metrics},
    wake::Signals,
};

/// What a process does. `serve --roles` chooses; all of them by default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Takes deliveries.
    Receive,
    /// Applies them.
    Sync,
    /// Feeds shared sinks.
    Relay,
    /// Serves websocket clients.
    Gateway,
    /// Answers reads and admins.
    Api,
}

impl Role {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Receive, Self::Sync, Self::Relay, Self::Gateway, Self::Api];

    /// From the word of `--roles`.
    pub fn parse(word: &str) -> Option<Self> {
        let words = ["receive", "sync", "relay", "gateway", "api"];
        words.iter().position(|known| *known == word).and_then(|index| Self::ALL.get(index).copied())
    }
}

/// A connected, migrated process that does nothing yet. Cheap to clone.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "the names say it")]
pub struct App {
    pub config: Arc<Config>,
    pub db: Db,
    pub signals: Signals,
    pub clock: Clock,
    pub policy: Policy,
    pub meta: Meta,
    pub sinks: Sinks,
    /// Clerk's API, where a secret key is configured.
    pub api: Option<Api>,
    /// Whose users the database holds.
    pub instance: Instance,
    pub admissions: AdmissionLog,
}

/// A process at work.
#[derive(Debug)]
pub struct Running {
    /// Where it listens.
    pub addr: SocketAddr,
    shutdown: CancellationToken,
    tasks: TaskTracker,
    config: Arc<Config>,
}

impl App {
    /// Connects and, where `migrate` says so, brings the tables up to date; else refuses pending steps.
    ///
    /// # Errors
    /// When a required backend cannot be reached or steps are pending. Names what to do.
    pub async fn connect(config: Config, clock: Clock, migrate: bool) -> anyhow::Result<Self> {
        let db = db::connect(&config.database)
            .await
            .context("database.url: the database cannot be reached (set DATABASE_URL)")?;
        if migrate {
            db::migrate(&db).await.context("the tables cannot be brought up to date")?;
            let rescanned = rescan(&db, clock.now()).await.context("stored deliveries cannot be read again")?;
            if rescanned > 0 {
                tracing::info!(rescanned, "deliveries that an earlier version could not read are due again");
            }
        } else if let [first, ..] = db::pending_migrations(&db).await?.as_slice() {
            bail!(
                "migrations are pending, the first is {first}: run `clerk-sync migrate up`, or start without --no-migrate"
            );
        }
        let api = Api::new(&config.clerk, metrics::clerk_request)?;
        if api.is_none() && config.clerk.confirm == config::Confirm::Required {
            bail!("clerk.confirm = required: Clerk's API is asked with clerk.secret_key (set CLERK_SECRET_KEY)");
        }
        let meta = Meta::load(&db).await?;
        let instance = Instance::new(db.clone(), api.clone(), &config.clerk.instance_id);
        let policy = policy::of(&config, meta.hash_key.clone());
        let signals = Signals::new(uuid::Uuid::new_v4());
        let cache = Cache::new(&config.cache, &config.redis, clock.clone()).context("redis.url (set REDIS_URL)")?;
        let search = Search::new(&db, &config.meili).context("meili.url (set MEILI_URL and MEILI_MASTER_KEY)")?;
        let (mail, chat) = channels(&config, &meta, &clock)?;
        let search = SearchSink::new(db.clone(), search);
        let stream = stream(&config, &db).context("redis.url (set REDIS_URL)")?;
        let sinks = Sinks { cache: CacheSink { db: db.clone(), cache }, search, stream, mail, chat };
        Ok(Self {
            config: Arc::new(config),
            db,
            signals,
            clock,
            policy,
            meta,
            sinks,
            instance,
            api,
            admissions: AdmissionLog::default(),
        })
    }

    /// A channel that is configured for the first time tells of what comes from now on.
    ///
    /// # Errors
    /// What the database says.
    pub async fn begin_channels(&self) -> Result<(), sea_orm::DbErr> {
        if let Some(mail) = &self.sinks.mail {
            self.relay().begin(mail).await?;
        }
        match &self.sinks.chat {
            Some(chat) => self.relay().begin(chat).await,
            None => Ok(()),
        }
    }

    /// Starts the tasks of these roles and listens.
    ///
    /// # Errors
    /// When the signing secret is missing or malformed, an API token is malformed, or the address cannot be bound.
    /// Names the key.
    pub async fn start(self, roles: &BTreeSet<Role>) -> anyhow::Result<Running> {
        let config = self.config.clone();
        let verifier = Verifier::new(config.clerk.signing_secret.expose(), config.receiver.tolerance).map_err(|error| {
            anyhow::anyhow!(
                "clerk.signing_secret: {error}. Copy the signing secret of the endpoint from Clerk's dashboard (Webhooks) \
                 and set CLERK_WEBHOOK_SIGNING_SECRET=whsec_…"
            )
        })?;
        let access = Arc::new(Access::new(&config.api, &config.clerk)?);
        self.instance.check_at_start().await?;
        let exporter = Exporter::install()?;
        let address = (config.server.host.as_str(), config.server.port);
        let listener = TcpListener::bind(address).await.with_context(|| {
            format!("server.host, server.port: cannot listen on {}:{} (set HOST and PORT)", address.0, address.1)
        })?;
        let addr = listener.local_addr()?;
        let (shutdown, tasks) = (CancellationToken::new(), TaskTracker::new());
        let (receiver, writer) = receive::receiver(self.db.clone(), self.signals.clone(), &config.receiver);
        // Before anything can raise an alert that they should tell of.
        if roles.contains(&Role::Relay) {
            self.begin_channels().await?;
        }
        tasks.spawn(self.signals.clone().bridge(self.db.clone(), shutdown.clone()));
        tasks.spawn(self.upkeep(&shutdown).run(shutdown.clone()));
        tasks.spawn(self.recovery().run(shutdown.clone()));
        tasks.spawn(exporter.clone().upkeep(shutdown.clone()));
        if roles.contains(&Role::Sync) {
            tasks.spawn(self.worker().run(shutdown.clone()));
            let (db, admissions, config) = (self.db.clone(), self.admissions.clone(), config.clone());
            tasks.spawn(async move { admissions.report_stored(&db, &config.entry).await });
        }
        if roles.contains(&Role::Relay) {
            tasks.spawn(self.relay().run(self.sinks.search.clone(), shutdown.clone()));
            // A cache of this process's own is fed by its own tail instead.
            if matches!(self.sinks.cache.cache, Cache::Redis(_)) {
                tasks.spawn(self.relay().run(self.sinks.cache.clone(), shutdown.clone()));
            }
            if let Some(stream) = self.sinks.stream.as_ref().filter(|_| config.stream.enabled) {
                tasks.spawn(self.relay().run(stream.clone(), shutdown.clone()));
            }
            if let Some(mail) = &self.sinks.mail {
                tasks.spawn(self.relay().run(mail.clone(), shutdown.clone()));
            }
            if let Some(chat) = &self.sinks.chat {
                tasks.spawn(self.relay().run(chat.clone(), shutdown.clone()));
            }
        }
        // The writer outlives the listener: what was taken is stored before the process ends.
        let stored = CancellationToken::new();
        tasks.spawn(writer.run(stored.clone()));
        let watermarks = self.sinks.cache.cache.watermarks().clone();
        let tail = Tail::new(self.db.clone(), self.signals.clone(), config.tail.clone(), watermarks).await?;
        let state = api::Parts {
            db: self.db.clone(),
            clock: self.clock.clone(),
            config: config.clone(),
            verifier: Arc::new(verifier),
            receiver,
            access: access.clone(),
            policy: Arc::new(self.policy.clone()),
            signals: self.signals.clone(),
            sinks: self.sinks.clone(),
            meta: self.meta.clone(),
            exporter,
            ensurer: self.ensurer(),
            tail: tail.clone(),
            streams: api::changes::Streams::new(&config),
            shutdown: shutdown.clone(),
            tasks: tasks.clone(),
        };
        let mut router = api::router(state.into(), roles.contains(&Role::Receive), roles.contains(&Role::Api));
        if roles.contains(&Role::Gateway) {
            router = router.merge(api::ws::routes(self.gateway(&access, &tail, &shutdown, &tasks)));
        }
        if roles.contains(&Role::Api) && matches!(self.sinks.cache.cache, Cache::Local(_)) {
            tasks.spawn(local::follow(self.sinks.cache.clone(), tail.follow("cache:local"), shutdown.clone()));
        }
        if roles.contains(&Role::Gateway) || roles.contains(&Role::Api) {
            tasks.spawn(tail.run(shutdown.clone()));
            self.keep_keys(&access, &shutdown, &tasks);
        }
        let stop = shutdown.clone();
        let lines = Lines::new(listener, config.receiver.max_body);
        tasks.spawn(async move {
            let served = axum::serve(lines, router.into_make_service_with_connect_info::<Peer>());
            if let Err(error) = served.with_graceful_shutdown(stop.cancelled_owned()).await {
                tracing::error!(%error, "the listener ended");
            }
            stored.cancel();
        });
        tasks.close();
        Ok(Running { addr, shutdown, tasks, config })
    }

    /// Keeps the keys that session tokens are verified with, where they are published.
    fn keep_keys(&self, access: &Access, shutdown: &CancellationToken, tasks: &TaskTracker) {
        if let Some(keys) = access.published() {
            tasks.spawn(keys.clone().run(shutdown.clone()));
        } else if !self.config.clerk.jwt_key.is_empty() && !self.config.clerk.jwks_url.is_empty() {
            tracing::warn!(
                "clerk.jwt_key and clerk.jwks_url are both set: session tokens are verified with clerk.jwt_key, and \
                 clerk.jwks_url is not asked"
            );
        }
    }

    /// The websockets, fed by this process's tail of the change feed.
    fn gateway(&self, access: &Access, tail: &Tail, shutdown: &CancellationToken, tasks: &TaskTracker) -> Arc<Gateway> {
        let follower = tail.follow("gateway");
        let parts = gateway::Parts {
            access: access.clone(),
            db: self.db.clone(),
            clock: self.clock.clone(),
            config: self.config.gateway.clone(),
            epoch: self.meta.epoch.clone(),
            shutdown: shutdown.clone(),
            tasks: tasks.clone(),
        };
        Gateway::start(parts, follower)
    }
}

impl Running {
    /// Ends every task: first no new requests, then what is under way, at most `server.shutdown_grace`.
    /// Answers whether all ended in time.
    pub async fn stop(self) -> bool {
        self.shutdown.cancel();
        tokio::time::timeout(self.config.server.shutdown_grace, self.tasks.wait()).await.is_ok()
    }
}

/// The public stream, where Redis is.
fn stream(config: &Config, db: &Db) -> Result<Option<StreamSink>, LinkError> {
    if config.redis.url.is_empty() {
        return Ok(None);
    }
    let stream = Stream::new(&config.redis, &config.stream)?;
    Ok(Some(StreamSink::new(db.clone(), stream, &config.gateway.list_fields)))
}

/// How alerts reach people: each channel where it is configured.
fn channels(config: &Config, meta: &Meta, clock: &Clock) -> anyhow::Result<(Option<MailSink>, Option<ChatSink>)> {
    let alerts = &config.alerts;
    let mail = match alerts.mail_to.is_empty() {
        true => None,
        false => Some(MailSink { mailer: Mailer::new(alerts, &config.smtp)?, epoch: meta.epoch.clone() }),
    };
    let chat = match alerts.webhook_url.is_empty() {
        true => None,
        false => Some(ChatSink::new(alerts, clock.clone())?),
    };
    Ok((mail, chat))
}
