//! Runs over everybody at Clerk: backfills and comparisons, the latest first.

use axum::extract::State;

use crate::{
    api::{ApiState, auth::Admin, body::JsonBody, page, params::Params, problem::Problem},
    clock::from_millis,
    reconcile::runs,
};

pub(super) async fn list(State(state): State<ApiState>, _: Admin, params: Params) -> Result<JsonBody, Problem> {
    let params = params.only(&["limit", "cursor"])?;
    let limit = params.limit(100, 20)?;
    let before = params.cursor("runs", |key| from_millis(key.parse().ok()?))?;
    let (rows, next) = runs::page(&state.db, before, limit).await?;
    let next = next.map(|at| at.timestamp_millis());
    Ok(page::list("runs", rows.iter().map(runs::object).collect(), next))
}
