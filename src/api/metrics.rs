//! `GET /metrics`: this process's counts, then the service's own from the database. The counts are answered even when
//! the database is not.

use std::time::Duration;

use axum::{
    Router,
    extract::State,
    http::header,
    response::{IntoResponse, Response},
    routing::get,
};

use crate::telemetry::service::Queues;

use super::{ApiState, auth::Scraper};

/// A scrape waits no longer than this for the database.
const DATABASE_WITHIN: Duration = Duration::from_secs(4);

/// The route of this resource.
pub(super) fn routes() -> Router<ApiState> {
    Router::new().route("/metrics", get(show))
}

async fn show(State(state): State<ApiState>, _: Scraper) -> Response {
    let mut text = state.exporter.render();
    match tokio::time::timeout(DATABASE_WITHIN, Queues::read(&state.db, state.clock.now())).await {
        Ok(Ok(queues)) => text.push_str(&queues.render()),
        Ok(Err(error)) => tracing::warn!(%error, "the queues cannot be read for the metrics"),
        Err(_) => tracing::warn!("the queues cannot be read for the metrics in time"),
    }
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response()
}
