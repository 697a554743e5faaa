//! The websocket `GET /v1/ws`: live changes, resume, and how a connection ends. Fed by the process's own tail of the
//! change feed, so that any replica serves any client.
//!
//! - [`protocol`]: the frames
//! - [`enter`] and [`auth`]: who a client is; [`crowd`]: how many there may be of one, and of strangers
//! - [`rights`]: what it may follow, and what takes that away; [`watch`] and [`losses`] see to it
//! - [`topics`] and [`names`]: names, and what reaches them
//! - [`hub`]: who follows what; the hand-over of live rows, in [`round`]s, into each client's [`queue`]; [`patience`] with
//!   those whose queues are full
//! - [`session`]: one client, looking at its queue and, when they call, at [`others`]; [`subscribe`](mod@subscribe), [`resume`] and [`subscription`] are its parts
//! - [`wire`]: its socket
//!
//! Invariants: each row reaches a subscription once, in seq order, whether live or replayed. Memory is bounded for
//! each client (its queue, its subscriptions, one page) and by the number of clients. Tokens and payloads are never
//! logged.

mod auth;
mod client;
mod crowd;
mod enter;
mod hub;
mod losses;
mod names;
mod notices;
mod others;
mod patience;
pub mod protocol;
mod queue;
mod rate;
mod resume;
mod rights;
mod round;
mod session;
mod subscribe;
mod subscription;
mod topics;
mod watch;
mod wire;

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use axum::extract::ws::WebSocket;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::{
    sync::CancellationToken,
    task::{TaskTracker, task_tracker::TaskTrackerToken},
};

use crate::{
    access::Access, clock::Clock, config, db::Db, lifecycle::Supervisor, outbox::tail::Follower, telemetry::metrics,
};

use crowd::{Crowd, Door};
use hub::Hub;

pub use rights::takes_place;
pub use topics::{canonical_word, reached};

/// The clients of this process and what serves them.
#[derive(Debug)]
pub struct Gateway {
    access: Access,
    db: Db,
    clock: Clock,
    config: config::Gateway,
    epoch: String,
    hub: Arc<Hub>,
    places: Arc<Semaphore>,
    door: Arc<Door>,
    crowd: Arc<Crowd>,
    /// Turns to read from the database.
    turns: Arc<Semaphore>,
    clients: AtomicU64,
    shutdown: CancellationToken,
    tasks: TaskTracker,
}

/// Room for one client. It counts as connected, and keeps the process alive, until this is dropped.
#[derive(Debug)]
pub struct Place {
    number: u64,
    _permit: OwnedSemaphorePermit,
    _task: TaskTrackerToken,
}

impl Drop for Place {
    fn drop(&mut self) {
        metrics::ws_connections(-1);
    }
}

/// What a gateway needs of its process.
#[derive(Debug)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Parts {
    pub access: Access,
    pub db: Db,
    pub clock: Clock,
    pub config: config::Gateway,
    pub epoch: String,
    pub supervisor: Supervisor,
}

impl Gateway {
    /// A gateway over `follower`, whose rows it hands on until shutdown. Both it and its clients are among the supervisor's tasks.
    pub fn start(parts: Parts, follower: Follower) -> Arc<Self> {
        let Parts { access, db, clock, config, epoch, supervisor } = parts;
        let (shutdown, tasks) = (supervisor.shutdown().clone(), supervisor.tasks().clone());
        let hub = Arc::new(Hub::new(follower.at(), config.list_fields.clone()));
        let feeding = hub.clone();
        let stop = shutdown.clone();
        supervisor.spawn("gateway", async move { feeding.run(follower, stop).await });
        let places = Arc::new(Semaphore::new(config.max_connections.min(Semaphore::MAX_PERMITS)));
        let turns = Arc::new(Semaphore::new(config.replays.min(Semaphore::MAX_PERMITS)));
        // However few places there are, half of them are people's.
        let strangers = config.max_unauthenticated.min(config.max_connections / 2).max(1);
        let (door, crowd) = (Door::new(strangers), Crowd::new(config.max_connections_per_user));
        let clients = AtomicU64::new(0);
        Arc::new(Self { access, db, clock, config, epoch, hub, places, door, crowd, turns, clients, shutdown, tasks })
    }

    /// Whether a page of this origin may open a websocket.
    pub fn allows_origin(&self, origin: &str) -> bool {
        self.config.allows_origin(origin)
    }

    /// The most bytes that a frame of a client may have.
    pub fn max_frame(&self) -> usize {
        self.config.max_frame
    }

    /// Room for one more client; `None` when there is none, or when the process is ending.
    pub fn admit(&self) -> Option<Place> {
        if self.shutdown.is_cancelled() {
            return None;
        }
        let permit = self.places.clone().try_acquire_owned().ok()?;
        metrics::ws_connections(1);
        Some(Place { number: self.clients.fetch_add(1, Relaxed), _permit: permit, _task: self.tasks.token() })
    }

    /// Serves one client until it ends.
    pub async fn serve(self: Arc<Self>, socket: WebSocket, place: Place) {
        session::run(self, socket, place).await;
    }
}
