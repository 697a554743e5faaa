//! HTTP, one file a resource. Errors are `application/problem+json` with a stable code (see [`problem`]).
//!
//! - [`auth`], [`params`], [`page`]: who asks, for what, and lists a page at a time
//! - [`hygiene`]: what holds for every request, [`line`]: for every connection; [`cors`](mod@cors): what pages of other origins may read
//! - [`reads`]: the one place that reads people; [`freshness`]: how new an answer has to be
//! - [`sight`]: the one place that says whom a caller may see; [`tag`]: what they have seen already

pub mod admin;
pub mod auth;
mod body;
pub mod changes;
mod cors;
mod ensure;
mod freshness;
pub mod health;
mod hygiene;
pub mod line;
mod metrics;
pub mod organizations;
pub mod page;
pub mod params;
pub mod problem;
pub mod reads;
pub mod search;
mod sight;
pub(crate) mod tag;
pub mod users;
pub mod webhooks;
pub mod ws;

use std::{ops::Deref, sync::Arc, time::Duration};

use axum::{
    Router,
    middleware::{from_fn, from_fn_with_state, map_response},
    routing::get,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower_http::catch_panic::CatchPanicLayer;

use crate::{
    access::Access, clerk::signature::Verifier, clock::Clock, config::Config, console, db::Db, domain::Policy,
    inbox::receive::Receiver, lifecycle::Heartbeats, meta::Meta, outbox::tail::Tail, reconcile::ensure::Ensurer,
    sinks::Sinks, telemetry::exporter::Exporter, wake::Signals,
};

/// What handlers share. Every layer of every request clones it: one count, not a count a part.
#[derive(Debug, Clone)]
pub struct ApiState(Arc<Parts>);

impl Deref for ApiState {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

impl From<Parts> for ApiState {
    fn from(parts: Parts) -> Self {
        Self(Arc::new(parts))
    }
}

/// Its parts.
#[derive(Debug)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Parts {
    pub db: Db,
    pub clock: Clock,
    pub config: Arc<Config>,
    pub verifier: Arc<Verifier>,
    pub receiver: Receiver,
    pub bodies: webhooks::Budget,
    pub access: Arc<Access>,
    pub policy: Arc<Policy>,
    pub signals: Signals,
    pub sinks: Sinks,
    pub meta: Meta,
    pub exporter: Exporter,
    pub heartbeats: Heartbeats,
    pub ensurer: Ensurer,
    pub tail: Tail,
    pub streams: changes::Streams,
    /// Ends answers that are held back, and streams.
    pub shutdown: CancellationToken,
    pub tasks: TaskTracker,
}

/// The routes of a process, by the roles it has.
pub fn router(state: ApiState, receive: bool, api: bool) -> Router {
    let limit = state.config.api.request_timeout;
    let within = |router: Router<ApiState>, limit: Duration| router.layer(from_fn_with_state(limit, hygiene::within));
    let probes = Router::new().route("/healthz", get(health::healthz)).route("/readyz", get(health::readyz));
    // With an address of their own, the metrics have no other.
    let probes = if state.config.metrics.address.is_empty() { probes.merge(metrics::routes()) } else { probes };
    let mut router = within(probes, limit);
    if receive {
        // The same endpoint with a slash behind it: senders follow no redirects.
        let receiver = Router::new()
            .route("/webhooks/clerk", webhooks::route(&state))
            .route("/webhooks/clerk/", webhooks::route(&state));
        // Only against bodies that never end: the receiver's own answer is never cut off.
        router = router.merge(within(receiver, limit + state.config.receiver.answer_within));
    }
    if api {
        let resources = users::routes().merge(organizations::routes()).merge(search::routes()).merge(admin::routes());
        let held_back = Duration::from_secs(changes::WAIT_MAX.unsigned_abs());
        let resources = within(resources, limit).merge(within(changes::routes(), limit + held_back));
        let resources = resources.merge(within(ensure::routes(), limit + ensure::WAIT_MAX));
        router = router.merge(resources.layer(map_response(hygiene::private))).merge(console::routes());
    }
    // Around everything, so that a page can also read why it was refused.
    let cors = from_fn_with_state(cors::Cors::new(state.config.clone()), cors::cors);
    finish(router).layer(cors).with_state(state)
}

/// The routes of `metrics.address`.
pub fn metrics_router(state: ApiState) -> Router {
    let limit = state.config.api.request_timeout;
    finish(metrics::routes().layer(from_fn_with_state(limit, hygiene::within))).with_state(state)
}

/// What holds for every route, those that are not there included.
fn finish<S: Clone + Send + Sync + 'static>(router: Router<S>) -> Router<S> {
    router
        .fallback(problem::not_found)
        .method_not_allowed_fallback(problem::method_not_allowed)
        .layer(CatchPanicLayer::custom(hygiene::panicked))
        .layer(from_fn(hygiene::log))
}
