//! How the service stands, in one answer. Nothing in it is counted without a bound: the queues up to
//! [`service::CAP`] rows a state, states and types over the newest receipts only.

use std::collections::BTreeMap;

use axum::{Json, extract::State};
use sea_orm::DbErr;
use serde_json::{Map, Value, json};

use crate::{
    api::{ApiState, auth::Admin, params::Params, problem::Problem},
    clock::rfc3339,
    db::{Db, Stmt},
    domain,
    telemetry::service::{self, Queues},
};

/// How many of the newest receipts are counted by state and type.
const RECENT: i64 = 20_000;

pub(super) async fn show(State(state): State<ApiState>, _: Admin, params: Params) -> Result<Json<Value>, Problem> {
    params.only(&[])?;
    let now = state.clock.now();
    let queues = Queues::read(&state.db, now).await?;
    let recent = recent(&state.db).await?;
    let mut rows: BTreeMap<&str, Map<String, Value>> = BTreeMap::new();
    for (queue, state, n) in &queues.rows {
        rows.entry(queue).or_default().insert((*state).to_owned(), json!(n));
    }
    let sinks = queues.sinks.iter().map(|sink| {
        let lag = (queues.head - sink.seq).max(0);
        (sink.sink.clone(), json!({"seq": sink.seq, "lag": lag}))
    });
    Ok(Json(json!({
        "at": rfc3339(now),
        "epoch": state.meta.epoch,
        "events": recent,
        "queues": rows,
        "queues_counted_to": service::CAP,
        "oldest_pending_seconds": queues.oldest_seconds,
        "outbox": {"head": queues.head},
        "sinks": sinks.collect::<Map<String, Value>>(),
    })))
}

/// The newest receipts by state and by type; `newest` says how many they are.
async fn recent(db: &Db) -> Result<Value, DbErr> {
    let select = Stmt::new(
        &db.read,
        "select state, event_type, count(*) as n from (select state, event_type from clerk_sync.inbox order by seq desc limit ",
    );
    let rows = select.val(RECENT).sql(") recent group by state, event_type").all(&db.read).await?;
    let mut by_state: BTreeMap<String, i64> =
        domain::State::ALL.into_iter().map(|state| (state.as_str().to_owned(), 0)).collect();
    let mut by_type: BTreeMap<String, i64> = BTreeMap::new();
    let mut newest = 0;
    for row in &rows {
        let (state, event_type, n): (String, String, i64) =
            (row.try_get("", "state")?, row.try_get("", "event_type")?, row.try_get("", "n")?);
        *by_state.entry(state).or_default() += n;
        *by_type.entry(event_type).or_default() += n;
        newest += n;
    }
    Ok(json!({"newest": newest, "by_state": by_state, "by_type": by_type}))
}
