//! `/healthz`: this process lives. `/readyz`: each dependency by name.

use std::time::Duration;

use axum::{
    Json,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde_json::{Map, Value, json};

use super::{ApiState, problem::Problem};

/// A dependency that says nothing for so long is down.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// Always 200: the process answers.
pub async fn healthz() -> impl IntoResponse {
    Json(json!({"status": "ok"}))
}

/// A dependency as it was found.
struct Dependency {
    name: &'static str,
    up: bool,
    /// Whether nothing can be done without it. What is not needed so delays, and is caught up with.
    needed: bool,
}

/// 200 `ok`; 200 `degraded` while the sync goes on without a cache or a search, whose cursors wait; 503 `not_ready`
/// without the database.
pub async fn readyz(State(state): State<ApiState>) -> Response {
    let found = dependencies(&state).await;
    let word = |up: bool| if up { "ok" } else { "down" };
    let names: Map<String, Value> = found.iter().map(|one| (one.name.to_owned(), json!(word(one.up)))).collect();
    if found.iter().any(|one| one.needed && !one.up) {
        return Problem::new(StatusCode::SERVICE_UNAVAILABLE, "not_ready", "A needed dependency does not answer.")
            .retry_after(5)
            .with("dependencies", names)
            .into_response();
    }
    let status = if found.iter().all(|one| one.up) { "ok" } else { "degraded" };
    Json(json!({"status": status, "dependencies": names})).into_response()
}

/// Every dependency. A cache or a search that this process carries itself is as well as what it stands on; a remote one
/// is to be asked here.
async fn dependencies(state: &ApiState) -> Vec<Dependency> {
    let database = matches!(tokio::time::timeout(ANSWER_WITHIN, state.db.ping()).await, Ok(Ok(())));
    let mut found = vec![Dependency { name: "database", up: database, needed: true }];
    if state.config.redis.url.is_empty() {
        found.push(Dependency { name: "cache", up: true, needed: false });
    }
    if state.config.meili.url.is_empty() {
        found.push(Dependency { name: "search", up: database, needed: false });
    }
    found
}
