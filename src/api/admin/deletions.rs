//! Deletions that wait for an operator, and people who come back from one.

use axum::{Json, extract::State};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    api::{
        ApiState,
        auth::Admin,
        body::Body,
        body::JsonBody,
        page,
        params::{Params, Segment},
        problem::Problem,
    },
    domain::operators::Action,
    sync::oversight,
};

/// Newest first.
pub(super) async fn list(State(state): State<ApiState>, _: Admin, params: Params) -> Result<JsonBody, Problem> {
    let params = params.only(&["limit", "cursor"])?;
    let limit = params.limit(200, 50)?;
    let before = params.cursor("deletions", |key| key.parse().ok())?.unwrap_or(i64::MAX);
    let mut rows = oversight::held_deletions(&state.db, before, page::one_more(limit)).await?;
    let more = page::cut(&mut rows, limit);
    let next = rows.last().filter(|_| more).map(|row| row.seq);
    Ok(page::list("deletions", rows.iter().map(oversight::HeldDeletion::to_json).collect(), next))
}

/// Lets the held deletion of this Clerk id happen.
pub(super) async fn release(
    State(state): State<ApiState>,
    _: Admin,
    Segment(clerk_id): Segment,
) -> Result<Json<Value>, Problem> {
    let released = state.operator().release(Some(&clerk_id)).await?;
    state.woken();
    Ok(Json(json!({"released": released})))
}

/// The held deletion of this Clerk id does not happen.
pub(super) async fn cancel(
    State(state): State<ApiState>,
    _: Admin,
    Segment(clerk_id): Segment,
) -> Result<Json<Value>, Problem> {
    state.operate(Action::Cancel { clerk_id: clerk_id.clone() }).await?;
    Ok(Json(json!({"cancelled": [clerk_id]})))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Relink {
    from: String,
    to: String,
}

/// Somebody deleted has returned under a new Clerk id: they keep the stable id.
pub(super) async fn relink(
    State(state): State<ApiState>,
    _: Admin,
    Body(Relink { from, to }): Body<Relink>,
) -> Result<Json<Value>, Problem> {
    state.operate(Action::Relink { from: from.clone(), to: to.clone() }).await?;
    Ok(Json(json!({"from": from, "to": to})))
}
