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
use crate::db::Condition;

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
    /// How it is where that says more than up or down.
    word: Option<&'static str>,
    /// Whether nothing can be done without it. What is not needed so delays, and is caught up with.
    needed: bool,
}

/// 200 `ok`; 200 `degraded` while the sync goes on without a cache, a search or a stream, whose cursors wait; 503 `not_ready`
/// without the database, or while the storage under SQLite is full or failing.
pub async fn readyz(State(state): State<ApiState>) -> Response {
    let found = dependencies(&state).await;
    let word = |one: &Dependency| one.word.unwrap_or(if one.up { "ok" } else { "down" });
    let names: Map<String, Value> = found.iter().map(|one| (one.name.to_owned(), json!(word(one)))).collect();
    if found.iter().any(|one| one.needed && !one.up) {
        return Problem::new(StatusCode::SERVICE_UNAVAILABLE, "not_ready", "A needed dependency does not answer.")
            .retry_after(5)
            .with("dependencies", names)
            .into_response();
    }
    let status = if found.iter().all(|one| one.up) { "ok" } else { "degraded" };
    Json(json!({"status": status, "dependencies": names})).into_response()
}

/// Every dependency, asked at once. A cache of this process's own and a search in the database are as well as what they
/// stand on. The stream is there only where it is in use.
async fn dependencies(state: &ApiState) -> Vec<Dependency> {
    let (cache, search) = (&state.sinks.cache.cache, &state.sinks.search.search);
    let stream = state.sinks.stream.as_ref().filter(|_| state.config.stream.enabled);
    let stream = async {
        match stream {
            Some(sink) => Some(answers(sink.stream.ping()).await),
            None => None,
        }
    };
    let (database, cache, search, stream) =
        tokio::join!(answers(state.db.ping()), answers(cache.ping()), answers(search.ping()), stream);
    let mut found = vec![
        Dependency { name: "database", up: database, word: None, needed: true },
        Dependency { name: "cache", up: cache, word: None, needed: false },
        Dependency { name: "search", up: search, word: None, needed: false },
    ];
    found.extend(stream.map(|up| Dependency { name: "stream", up, word: None, needed: false }));
    let storage = state.db.storage().condition();
    if storage != Condition::Sound {
        // Only where it is worth a word: on SQLite, with a full or failing disk.
        found.push(Dependency { name: "storage", up: false, word: Some(storage.as_str()), needed: true });
    }
    found
}

async fn answers<T, E>(ask: impl Future<Output = Result<T, E>>) -> bool {
    matches!(tokio::time::timeout(ANSWER_WITHIN, ask).await, Ok(Ok(_)))
}
