//! What operators should know, the latest first. An alert that is raised again moves to the front with its count.

use axum::extract::State;
use entity::alerts::Model;
use sea_orm::DbErr;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    api::{ApiState, auth::Admin, body::JsonBody, page, params::Params, problem::Problem},
    clock::{Time, from_millis, rfc3339},
    db::{Db, Stmt},
};

pub(super) async fn list(State(state): State<ApiState>, _: Admin, params: Params) -> Result<JsonBody, Problem> {
    let params = params.only(&["limit", "cursor"])?;
    let limit = params.limit(200, 50)?;
    let before = params.cursor("alerts", |key| {
        let (ms, id) = key.split_once(' ')?;
        Some((from_millis(ms.parse().ok()?)?, Uuid::try_parse(id).ok()?))
    })?;
    let mut rows = read(&state.db, before, limit).await?;
    let more = page::cut(&mut rows, limit);
    let next = rows.last().filter(|_| more).map(|row| format!("{} {}", row.last_at.timestamp_millis(), row.id.0));
    Ok(page::list("alerts", rows.iter().map(object).collect(), next))
}

/// One more than `limit`.
async fn read(db: &Db, before: Option<(Time, Uuid)>, limit: usize) -> Result<Vec<Model>, DbErr> {
    let mut select = Stmt::new(&db.read, "select * from clerk_sync.alerts");
    if let Some((at, id)) = before {
        select = select.sql(" where (last_at, id) < (").val(at).sql(", ").val(id).sql(")");
    }
    let wanted = i64::try_from(limit).unwrap_or(i64::MAX).saturating_add(1);
    select.sql(" order by last_at desc, id desc limit ").val(wanted).all_as(&db.read).await
}

fn object(row: &Model) -> Value {
    json!({
        "id": row.id, "key": row.key, "kind": row.kind, "level": row.level, "subject": row.subject, "text": row.text,
        "count": row.count, "first_at": rfc3339(row.first_at), "last_at": rfc3339(row.last_at),
        "told_at": row.told_at.map(rfc3339),
    })
}
