//! The audit trail: who changed what, the latest first.

use axum::extract::State;

use crate::{
    api::{ApiState, auth::Admin, body::JsonBody, page, params::Params, problem::Problem},
    audit,
};

pub(super) async fn list(State(state): State<ApiState>, _: Admin, params: Params) -> Result<JsonBody, Problem> {
    let params = params.only(&["subject", "limit", "cursor"])?;
    let limit = params.limit(200, 50)?;
    let before = params.cursor("audit", |key| key.parse().ok())?;
    let (rows, next) = audit::page(&state.db, params.filter("subject"), before, limit).await?;
    Ok(page::list("audit", rows.iter().map(audit::object).collect(), next))
}
