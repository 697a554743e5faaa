//! HTTP, one file a resource. Errors are `application/problem+json` with a stable code (see [`problem`]).

pub mod health;
pub mod problem;
pub mod webhooks;
pub mod ws;

use std::sync::Arc;

use axum::{Router, routing::get};

use crate::{clerk::signature::Verifier, clock::Clock, config::Config, db::Db, inbox::receive::Receiver};

/// What handlers share. Cheap to clone.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "the names say it")]
pub struct ApiState {
    pub db: Db,
    pub clock: Clock,
    pub config: Arc<Config>,
    pub verifier: Arc<Verifier>,
    pub receiver: Receiver,
}

/// The routes of a process, by the roles it has.
pub fn router(state: ApiState, receive: bool) -> Router {
    let mut router = Router::new().route("/healthz", get(health::healthz)).route("/readyz", get(health::readyz));
    if receive {
        router = router.route("/webhooks/clerk", webhooks::route(&state));
    }
    router.fallback(problem::not_found).with_state(state)
}
