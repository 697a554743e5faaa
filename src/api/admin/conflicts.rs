//! Verified addresses that two persons claim, newest first.

use axum::{Json, extract::State};
use entity::conflicts::Model;
use sea_orm::DbErr;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    api::{ApiState, auth::Admin, page, params::Params, problem::Problem},
    clock::rfc3339,
    db::{Db, Stmt},
};

pub(super) async fn list(State(state): State<ApiState>, _: Admin, params: Params) -> Result<Json<Value>, Problem> {
    let params = params.only(&["state", "limit", "cursor"])?;
    let limit = params.limit(200, 50)?;
    let before = params.cursor("conflicts", |key| Uuid::try_parse(key).ok())?;
    let word = match params.filter("state") {
        None => None,
        Some("open") => Some("open"),
        Some("resolved") => Some("resolved"),
        Some(_) => return Err(Problem::invalid("state must be open or resolved.")),
    };
    let mut rows = read(&state.db, word, before.unwrap_or(Uuid::max()), limit).await?;
    let more = page::cut(&mut rows, limit);
    let next = rows.last().filter(|_| more).map(|row| row.id.0);
    Ok(page::list("conflicts", rows.iter().map(object).collect(), next))
}

/// Ids are ordered by time: the newest conflict has the highest. One more than `limit`.
async fn read(db: &Db, state: Option<&'static str>, before: Uuid, limit: usize) -> Result<Vec<Model>, DbErr> {
    let mut select = Stmt::new(&db.read, "select * from conflicts where id < ").val(before);
    if let Some(state) = state {
        // A word of ours, and part of the text: the partial index of the open ones is found by it.
        select = select.sql(" and state = '").sql(state).sql("'");
    }
    let wanted = i64::try_from(limit).unwrap_or(i64::MAX).saturating_add(1);
    select.sql(" order by id desc limit ").val(wanted).all_as(&db.read).await
}

fn object(row: &Model) -> Value {
    json!({
        "id": row.id, "clerk_id": row.clerk_id, "address": row.address, "other_clerk_id": row.other_clerk_id,
        "svix_id": row.svix_id, "state": row.state, "opened_at": rfc3339(row.opened_at),
        "resolved_at": row.resolved_at.map(rfc3339),
    })
}
