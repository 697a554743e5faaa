//! `/v1/users`: live people, as the rows show them. Private metadata is not in what is shown. A person sees themselves
//! whole, by either id or as `me`, and of those with whom they share an organisation a public profile ([`sight`]); lists
//! are for services.

use axum::{Router, extract::State, http::HeaderMap, response::Response, routing::get};
use entity::Id;
use uuid::Uuid;

use crate::{db::Stmt, domain::emails};

use super::{
    ApiState,
    auth::{Known, Reader},
    body::JsonBody,
    freshness::MIN_REV,
    page,
    params::{Params, Segment},
    problem::Problem,
    reads, sight,
    tag::Tag,
};

/// The routes of this resource.
pub(super) fn routes() -> Router<ApiState> {
    Router::new().route("/v1/users", get(list)).route("/v1/users/{id}", get(show))
}

/// In the order of our ids, which is the order of arrival. `email` finds whoever has it verified, and nobody else: an
/// address that somebody merely claims identifies no one.
async fn list(State(state): State<ApiState>, _: Reader, params: Params) -> Result<JsonBody, Problem> {
    let params = params.only(&["email", "clerk_id", "limit", "cursor", MIN_REV])?;
    let limit = params.limit(200, 50)?;
    let after = params.cursor("users", |key| Uuid::try_parse(key).ok())?.unwrap_or_default();
    let email = params.address("email").map(|address| emails::normalise(&address));
    let clerk_id = params.text("clerk_id");
    if email.as_deref() == Some("") || clerk_id == Some("") {
        // Whoever looks somebody up by nothing must not be handed everybody.
        return Err(Problem::invalid("email and clerk_id must not be empty."));
    }
    state.reach_min_rev(&params).await?;
    let tx = state.db.begin_read().await?;
    let mut select = Stmt::new(&tx, "select u.id from clerk_sync.users u");
    if let Some(email) = email {
        select = select
            .sql(" join clerk_sync.email_addresses e on e.user_id = u.id and e.verified and e.normalised = ")
            .val(email);
    }
    select = select.sql(" where u.status <> 'deleted' and u.id > ").val(after);
    if let Some(clerk_id) = clerk_id {
        select = select.sql(" and u.clerk_id = ").val(clerk_id);
    }
    let wanted = i64::try_from(limit).unwrap_or(i64::MAX).saturating_add(1);
    let rows = select.sql(" order by u.id limit ").val(wanted).all(&tx).await?;
    let ids: Result<Vec<Id>, _> = rows.iter().map(|row| row.try_get("", "id")).collect();
    let mut ids: Vec<Uuid> = ids?.into_iter().map(|id| id.0).collect();
    let more = page::cut(&mut ids, limit);
    let data = reads::users(&tx, &ids).await?;
    tx.commit().await?;
    Ok(page::list("users", data, ids.last().filter(|_| more)))
}

async fn show(
    State(state): State<ApiState>,
    Known(caller): Known,
    Segment(segment): Segment,
    headers: HeaderMap,
    params: Params,
) -> Result<Response, Problem> {
    state.reach_min_rev(&params.only(&[MIN_REV])?).await?;
    if let Some(key) = sight::whole(&caller, &segment) {
        let (rev, body) = state.user_json(&key).await?.ok_or_else(Problem::missing)?;
        return Ok(Tag::whole(rev, &state.meta.epoch).answer(&headers, body.to_string()));
    }
    let body = sight::profile(&state.db.read, &caller, &segment).await?.to_string();
    Ok(Tag::profile(&body).answer(&headers, body))
}
