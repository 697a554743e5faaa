//! `GET /v1/search/users?q=`: who is meant. What finds them says only who; what is shown is read from the database, so
//! that nobody who is deleted and nothing that is outdated is shown.

use axum::{Router, extract::State, routing::get};
use entity::Id;
use sea_orm::DbErr;
use uuid::Uuid;

use crate::{db::Stmt, domain::emails};

use super::{ApiState, auth::Reader, body::JsonBody, page, params::Params, problem::Problem, reads};

/// In characters. More says nothing more about who is meant.
const QUERY_MAX: usize = 256;

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
    let ids = found(&state, q, limit).await?;
    let tx = state.db.begin_read().await?;
    let data = reads::users(&tx, &ids).await?;
    tx.commit().await?;
    Ok(page::list("search", data, None::<&str>))
}

/// The best matches first. While the index does not answer, whoever has a verified address that begins with `q`.
async fn found(state: &ApiState, q: &str, limit: usize) -> Result<Vec<Uuid>, DbErr> {
    match state.sinks.search.search.search(q, limit).await {
        Ok(ids) => Ok(ids),
        Err(error) => {
            tracing::warn!(%error, "the search index does not answer; looking for addresses in the database");
            by_address(state, q, limit).await
        }
    }
}

async fn by_address(state: &ApiState, q: &str, limit: usize) -> Result<Vec<Uuid>, DbErr> {
    let low = emails::normalise(q);
    let high = format!("{low}\u{10ffff}");
    let db = &state.db.read;
    let rows = Stmt::new(db, "select user_id as id from email_addresses where verified and normalised >= ")
        .val(low)
        .sql(" and normalised < ")
        .val(high)
        .sql(" order by normalised limit ")
        .val(i64::try_from(limit).unwrap_or(i64::MAX))
        .all(db)
        .await?;
    let ids: Result<Vec<Id>, DbErr> = rows.iter().map(|row| row.try_get("", "id")).collect();
    let mut ids: Vec<Uuid> = ids?.into_iter().map(|id| id.0).collect();
    let mut seen = std::collections::HashSet::new();
    ids.retain(|id| seen.insert(*id));
    Ok(ids)
}
