//! `/healthz`: this process lives. `/readyz`: each dependency and each loop by name.

use std::time::Duration;

use axum::{
    Json,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde_json::{Map, Value, json};

use crate::lifecycle::{Need, Turn};

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

/// 200 `ok`; 200 `degraded` while the sync goes on without a cache, a search or a stream, whose cursors wait, or while a loop
/// is stalled that others can wait for; 503 `not_ready` without the database, while the storage under SQLite is full or
/// failing, or where the applier makes no progress.
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
    let turns = state.heartbeats.turns();
    let loops: Map<String, Value> = turns.iter().map(|turn| (turn.name.to_string(), told(turn))).collect();
    if let Some(turn) = turns.iter().find(|turn| turn.stalled && turn.need == Need::Required) {
        let detail = format!("{} makes no progress.", turn.name);
        return Problem::new(StatusCode::SERVICE_UNAVAILABLE, "not_ready", detail)
            .retry_after(5)
            .with("dependencies", names)
            .with("loops", loops)
            .into_response();
    }
    let well = found.iter().all(|one| one.up) && turns.iter().all(|turn| !turn.stalled);
    let status = if well { "ok" } else { "degraded" };
    Json(json!({"status": status, "dependencies": names, "loops": loops})).into_response()
}

/// A loop, and how many seconds ago its last turn began.
fn told(turn: &Turn) -> Value {
    json!({"status": if turn.stalled { "stalled" } else { "ok" }, "last_turn_seconds": turn.since.map(|since| since.as_secs())})
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
