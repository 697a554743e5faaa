//! The composition root: the only file that names concrete backends and says which task runs where.

mod parts;
mod policy;

use std::{collections::BTreeSet, net::SocketAddr, sync::Arc, time::Duration};

use anyhow::{Context as _, bail};
use axum::Router;
use tokio::net::{TcpListener, ToSocketAddrs};
use tokio_util::sync::CancellationToken;

use crate::{
    access::Access,
    api::{
        self,
        line::{Limits, Places, Server},
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
    lifecycle::{self, Need, Supervisor},
    meta::{self, Meta},
    outbox::{relay::Sink, tail::Tail},
    sinks::{Sinks, cache::CacheSink, chat::ChatSink, local, mail::MailSink, search::SearchSink, stream::StreamSink},
    telemetry::{exporter::Exporter, metrics},
    upkeep::progress,
    wake::Signals,
};

/// The least limits of turns that wait for others: a delivery for its target, and the upkeep for Clerk.
const DELIVERY_LIMIT: Duration = Duration::from_secs(5 * 60);
const UPKEEP_LIMIT: Duration = Duration::from_secs(30 * 60);

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
    /// Where it answers `/metrics`, if that is elsewhere.
    pub metrics_addr: Option<SocketAddr>,
    supervisor: Supervisor,
    renumbered: CancellationToken,
    db: Db,
    clock: Clock,
    epoch: String,
    config: Arc<Config>,
}

/// Why a process at work ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// A signal, or a task that failed; whether everything ended in order.
    Asked {
        /// Whether all tasks ended in time and none before it was asked to.
        in_order: bool,
    },
    /// The change feed is another one: the process is to start anew.
    Renumbered,
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
        // A database that lost commits gives numbers again, so cached rows are of one epoch.
        let prefix = format!("{}:{}", config.redis.prefix, meta.epoch.chars().take(8).collect::<String>());
        let redis = config::Redis { prefix, ..config.redis.clone() };
        let cache = Cache::new(&config.cache, &redis, clock.clone()).context("redis.url (set REDIS_URL)")?;
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
        let (listener, addr) =
            listen((config.server.host.as_str(), config.server.port), "server.host, server.port", "HOST and PORT")
                .await?;
        let metrics_listener = match config.metrics.address.as_str() {
            "" => None,
            address => Some(listen(address, "metrics.address", "CLERK_SYNC__METRICS__ADDRESS=HOST:PORT").await?),
        };
        let (supervisor, renumbered) = (Supervisor::default(), CancellationToken::new());
        let (receiver, writer) = receive::receiver(self.db.clone(), self.signals.clone(), &config.receiver);
        // Before anything can raise an alert that they should tell of.
        if roles.contains(&Role::Relay) {
            self.begin_channels().await?;
        }
        let watermarks = self.sinks.cache.cache.watermarks().clone();
        let tail = Tail::new(
            self.db.clone(),
            self.signals.clone(),
            config.tail.clone(),
            watermarks,
            &self.meta.epoch,
            renumbered.clone(),
        )
        .await?;
        // The writer outlives the listener: what was taken is stored before the process ends.
        let stored = CancellationToken::new();
        self.start_loops(roles, &supervisor, &renumbered, exporter.clone());
        supervisor.spawn_loop(
            "receipts",
            config.server.stalled_after,
            if roles.contains(&Role::Receive) { Need::Required } else { Need::Degrades },
            writer.run(stored.clone()),
        );
        let state = api::Parts {
            db: self.db.clone(),
            clock: self.clock.clone(),
            config: config.clone(),
            verifier: Arc::new(verifier),
            receiver,
            bodies: api::webhooks::Budget::new(config.receiver.unverified_bytes),
            access: access.clone(),
            policy: Arc::new(self.policy.clone()),
            signals: self.signals.clone(),
            sinks: self.sinks.clone(),
            meta: self.meta.clone(),
            exporter,
            heartbeats: supervisor.heartbeats().clone(),
            ensurer: self.ensurer(),
            tail: tail.clone(),
            streams: api::changes::Streams::new(&config),
            shutdown: supervisor.shutdown().clone(),
            tasks: supervisor.tasks().clone(),
        };
        let state = api::ApiState::from(state);
        let mut router = api::router(state.clone(), roles.contains(&Role::Receive), roles.contains(&Role::Api));
        if roles.contains(&Role::Gateway) {
            router = router.merge(api::ws::routes(self.gateway(&access, &tail, &supervisor)));
        }
        if roles.contains(&Role::Api) && matches!(self.sinks.cache.cache, Cache::Local(_)) {
            let following =
                local::follow(self.sinks.cache.clone(), tail.follow("cache:local"), supervisor.shutdown().clone());
            supervisor.spawn("cache:local", following);
        }
        if roles.contains(&Role::Gateway) || roles.contains(&Role::Api) {
            let limit = config.server.stalled_after;
            supervisor.spawn_loop("tail", limit, Need::Degrades, tail.run(supervisor.shutdown().clone()));
            self.keep_keys(&access, &supervisor);
        }
        let server = self.server(listener, roles.contains(&Role::Receive), &supervisor);
        supervisor.spawn("http", serve(server, router, Some(stored)));
        let metrics_addr = metrics_listener.map(|(listener, addr)| {
            let server = self.server(listener, false, &supervisor);
            supervisor.spawn("http:metrics", serve(server, api::metrics_router(state), None));
            addr
        });
        supervisor.tasks().close();
        let (db, clock, epoch) = (self.db.clone(), self.clock.clone(), self.meta.epoch.clone());
        Ok(Running { addr, metrics_addr, supervisor, renumbered, db, clock, epoch, config })
    }

    /// Starts what runs beside the listener. Each of them ends with shutdown, or ends the process.
    fn start_loops(
        &self,
        roles: &BTreeSet<Role>,
        supervisor: &Supervisor,
        renumbered: &CancellationToken,
        exporter: Exporter,
    ) {
        let stop = || supervisor.shutdown().clone();
        let limit = self.config.server.stalled_after;
        let (bridge, asked) = (self.signals.clone().bridge(self.db.clone(), stop()), stop());
        supervisor.spawn("wake", async move {
            bridge.await;
            // Where there is nothing to listen to, everything polls.
            asked.cancelled().await;
        });
        supervisor.spawn_loop("upkeep", limit.max(UPKEEP_LIMIT), Need::Degrades, self.upkeep(&stop()).run(stop()));
        supervisor.spawn("exporter", exporter.upkeep(stop()));
        supervisor.spawn("storage", self.recovery().run(stop()));
        let applies = roles.contains(&Role::Sync);
        if applies {
            supervisor.spawn_loop(progress::APPLIER, limit, Need::Required, self.worker().run(stop()));
            let (db, admissions, config) = (self.db.clone(), self.admissions.clone(), self.config.clone());
            supervisor.spawn_once("admissions", async move { admissions.report_stored(&db, &config.entry).await });
        }
        let need = if applies { Need::Required } else { Need::Degrades };
        let watch = progress::Watch {
            db: self.db.clone(),
            signals: self.signals.clone(),
            clock: self.clock.clone(),
            heartbeats: supervisor.heartbeats().clone(),
            progress: supervisor.heartbeats().register(progress::APPLIER, limit, need),
            stalled_after: limit,
            repeat: self.config.alerts.repeat,
            epoch: self.meta.epoch.clone(),
            renumbered: renumbered.clone(),
        };
        supervisor.spawn("progress", watch.run(stop()));
        if roles.contains(&Role::Relay) {
            self.start_relay(supervisor, self.sinks.search.clone());
            // A cache of this process's own is fed by its own tail instead.
            if matches!(self.sinks.cache.cache, Cache::Redis(_)) {
                self.start_relay(supervisor, self.sinks.cache.clone());
            }
            if let Some(stream) = self.sinks.stream.as_ref().filter(|_| self.config.stream.enabled) {
                self.start_relay(supervisor, stream.clone());
            }
            if let Some(mail) = &self.sinks.mail {
                self.start_relay(supervisor, mail.clone());
            }
            if let Some(chat) = &self.sinks.chat {
                self.start_relay(supervisor, chat.clone());
            }
        }
    }

    fn start_relay<S: Sink>(&self, supervisor: &Supervisor, sink: S) {
        let name = format!("relay:{}", sink.name());
        let limit = self.config.server.stalled_after.max(DELIVERY_LIMIT);
        supervisor.spawn_loop(&name, limit, Need::Degrades, self.relay().run(sink, supervisor.shutdown().clone()));
    }

    fn server(&self, listener: TcpListener, takes_deliveries: bool, supervisor: &Supervisor) -> Server {
        let config = &self.config.server;
        Server {
            listener,
            limits: Limits { header: config.header_timeout, idle: config.idle_timeout },
            places: Places::new(config, takes_deliveries),
            max_body: self.config.receiver.max_body,
            shutdown: supervisor.shutdown().clone(),
            tasks: supervisor.tasks().clone(),
        }
    }

    /// Keeps the keys that session tokens are verified with, where they are published.
    fn keep_keys(&self, access: &Access, supervisor: &Supervisor) {
        if let Some(keys) = access.published() {
            supervisor.spawn("keys", keys.clone().run(supervisor.shutdown().clone()));
        } else if !self.config.clerk.jwt_key.is_empty() && !self.config.clerk.jwks_url.is_empty() {
            tracing::warn!(
                "clerk.jwt_key and clerk.jwks_url are both set: session tokens are verified with clerk.jwt_key, and \
                 clerk.jwks_url is not asked"
            );
        }
    }

    /// The websockets, fed by this process's tail of the change feed.
    fn gateway(&self, access: &Access, tail: &Tail, supervisor: &Supervisor) -> Arc<Gateway> {
        let follower = tail.follow("gateway");
        let parts = gateway::Parts {
            access: access.clone(),
            db: self.db.clone(),
            clock: self.clock.clone(),
            config: self.config.gateway.clone(),
            epoch: self.meta.epoch.clone(),
            supervisor: supervisor.clone(),
        };
        Gateway::start(parts, follower)
    }
}

impl Running {
    /// Runs until a signal asks to end, or a task ends before it was asked to; then ends every task. Returns whether all
    /// is well.
    ///
    /// # Errors
    /// When signals cannot be received.
    pub async fn until_ended(self) -> anyhow::Result<Ended> {
        tokio::select! {
            ended = lifecycle::signal() => {
                ended.context("signals cannot be received")?;
                tracing::info!("shutting down");
            }
            _ = self.supervisor.failed() => {}
            () = self.renumbered.cancelled() => {
                let (db, clock, epoch) = (self.db.clone(), self.clock.clone(), self.epoch.clone());
                self.stop().await;
                meta::renumber(&db, &epoch, clock.now()).await.context("a new epoch cannot be begun")?;
                return Ok(Ended::Renumbered);
            }
            // At once, without what else a shutdown does: nothing that is read or written can be relied on.
            () = self.db.storage().broken() => bail!(db::DAMAGED),
        }
        Ok(Ended::Asked { in_order: self.stop().await })
    }

    /// What runs the tasks of this process.
    pub fn supervisor(&self) -> &Supervisor {
        &self.supervisor
    }

    /// Ends every task: first no new requests, then what is under way, at most `server.shutdown_grace`.
    /// Returns whether all ended in time and none before it was asked to.
    pub async fn stop(self) -> bool {
        self.supervisor.shutdown().cancel();
        let ended = tokio::time::timeout(self.config.server.shutdown_grace, self.supervisor.tasks().wait()).await;
        ended.is_ok() && !self.supervisor.has_failed()
    }
}

/// Opens a listener.
async fn listen<A: ToSocketAddrs>(address: A, key: &str, names: &str) -> anyhow::Result<(TcpListener, SocketAddr)> {
    let listener =
        TcpListener::bind(address).await.with_context(|| format!("{key}: cannot listen there (set {names})"))?;
    let addr = listener.local_addr()?;
    Ok((listener, addr))
}

/// Serves until shutdown; then nothing more is handed in to be `stored`.
async fn serve(server: Server, router: Router, stored: Option<CancellationToken>) {
    // Also where serving ends in a panic.
    let _stored = stored.map(CancellationToken::drop_guard);
    server.run(router).await;
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
