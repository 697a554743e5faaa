//! `GET /v1/search/users?q=`: who is meant. What finds them says only who; what is shown is read from the database, so
//! that nobody who is deleted and nothing that is outdated is shown.
//!
//! While Meilisearch does not answer, the database finds people by prefix ([`prefix`]), and the response has the member
//! `"degraded": true`, which is absent otherwise.

mod prefix;

use std::time::Duration;

use axum::{Router, extract::State, routing::get};
use uuid::Uuid;

use super::{ApiState, auth::Reader, body::JsonBody, page, params::Params, problem::Problem, reads};

/// In characters. More says nothing more about who is meant.
const QUERY_MAX: usize = 256;

/// An index that takes longer does not answer: a person waits for the search.
const INDEX_TIMEOUT: Duration = Duration::from_secs(3);

/// The routes of this resource.
pub(super) fn routes() -> Router<ApiState> {
    Router::new().route("/v1/search/users", get(users))
}

async fn users(State(state): State<ApiState>, _: Reader, params: Params) -> Result<JsonBody, Problem> {
    let params = params.only(&["q", "limit"])?;
    let limit = params.limit(100, 20)?;
    let q = params.text("q").unwrap_or_default().trim();
    if q.is_empty() {
        return Err(Problem::invalid("q must say who is looked for."));
    }
    if q.chars().count() > QUERY_MAX {
        return Err(Problem::invalid(format!("q must not be longer than {QUERY_MAX} characters.")));
    }
    let (ids, degraded) = found(&state, q, limit).await?;
    let tx = state.db.begin_read().await?;
    let data = reads::users(&tx, &ids).await?;
    tx.commit().await?;
    let mut page = page::list("search", data, None::<&str>);
    if degraded {
        page.insert("degraded", true);
    }
    Ok(page)
}

/// The best matches first, and whether they are of the database only, because the index does not answer.
async fn found(state: &ApiState, q: &str, limit: usize) -> Result<(Vec<Uuid>, bool), Problem> {
    match tokio::time::timeout(INDEX_TIMEOUT, state.sinks.search.search.search(q, limit)).await {
        Ok(Ok(ids)) => return Ok((ids, false)),
        Ok(Err(error)) => {
            tracing::warn!(%error, "the search index does not answer; searching the database by prefix");
        }
        Err(_) => tracing::warn!("the search index does not answer in time; searching the database by prefix"),
    }
    Ok((prefix::find(&state.db, q, limit).await?, true))
}
