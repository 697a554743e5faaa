//! `/healthz`: this process lives. `/readyz`: each dependency by name.

use axum::{Json, extract::State, http::StatusCode, response::IntoResponse};
use serde_json::json;

use super::ApiState;

/// Always 200: the process answers.
pub async fn healthz() -> impl IntoResponse {
    Json(json!({"status": "ok"}))
}

/// 200 when everything that receiving needs is there, else 503; names what is not.
pub async fn readyz(State(state): State<ApiState>) -> impl IntoResponse {
    let database = state.db.ping().await.is_ok();
    let word = |up: bool| if up { "ok" } else { "down" };
    let status = if database { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(json!({"status": word(database), "dependencies": {"database": word(database)}})))
}
