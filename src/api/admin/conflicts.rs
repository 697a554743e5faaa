//! Verified addresses that two persons claim, newest first, and what an operator decides about them.

use axum::{Json, extract::State};
use serde::Deserialize;
use serde_json::Value;
use uuid::Uuid;

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
    domain::{decisions::Verdict, operators::Action},
    sync::oversight,
};

pub(super) async fn list(State(state): State<ApiState>, _: Admin, params: Params) -> Result<JsonBody, Problem> {
    let params = params.only(&["state", "limit", "cursor"])?;
    let limit = params.limit(200, 50)?;
    let before = params.cursor("conflicts", |key| Uuid::try_parse(key).ok())?;
    let word = match params.filter("state") {
        None => None,
        Some("open") => Some("open"),
        Some("resolved") => Some("resolved"),
        Some(_) => return Err(Problem::invalid("state must be open or resolved.")),
    };
    let before = before.unwrap_or(Uuid::max());
    let mut rows = oversight::conflicts(&state.db, word, before, page::one_more(limit)).await?;
    let more = page::cut(&mut rows, limit);
    let next = rows.last().filter(|_| more).map(|row| row.id.0);
    Ok(page::list("conflicts", rows.iter().map(oversight::conflict_json).collect(), next))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Resolve {
    decision: String,
}

/// Answers the conflict as it now is; whom it kept out is planned again at once.
pub(super) async fn resolve(
    State(state): State<ApiState>,
    _: Admin,
    Segment(id): Segment,
    Body(resolve): Body<Resolve>,
) -> Result<Json<Value>, Problem> {
    let verdict = match resolve.decision.as_str() {
        "retry" => None,
        word => Some(
            Verdict::parse(word)
                .ok_or_else(|| Problem::invalid("decision must be keep_existing, take_over or retry."))?,
        ),
    };
    let id = Uuid::try_parse(&id).map_err(|_| Problem::missing())?;
    let row = oversight::conflict(&state.db, id).await?.ok_or_else(Problem::missing)?;
    let action = Action::Decide { conflict: id, newcomer: row.clerk_id, older: row.other_clerk_id, verdict };
    state.operate(action).await?;
    let row = oversight::conflict(&state.db, id).await?.ok_or_else(Problem::missing)?;
    Ok(Json(oversight::conflict_json(&row)))
}
