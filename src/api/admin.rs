//! `/v1/admin`: what operators look at and do. The admin token only.

mod alerts;
mod conflicts;
mod events;
mod stats;

use axum::{
    Router,
    routing::{get, post},
};

use super::ApiState;

/// The routes of this resource.
pub(super) fn routes() -> Router<ApiState> {
    Router::new()
        .route("/v1/admin/events", get(events::list))
        .route("/v1/admin/events/{svix_id}", get(events::show))
        .route("/v1/admin/events/{svix_id}/retry", post(events::retry))
        .route("/v1/admin/events/{svix_id}/discard", post(events::discard))
        .route("/v1/admin/conflicts", get(conflicts::list))
        .route("/v1/admin/alerts", get(alerts::list))
        .route("/v1/admin/stats", get(stats::show))
}
