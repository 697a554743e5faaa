//! `GET /v1/changes`: the change feed for backends that follow it by asking.
//!
//! - Asked without `after`, it begins at the oldest change that is kept.
//! - `next` is what to ask after next; it also passes over changes that the caller may not see. While `data` is not
//!   empty there may be more; when it is empty, everything up to `next` is read.
//! - With `wait`, an answer that would be empty is held back until there is something, at most that long.
//! - An `after` that cannot be gone on from (beyond the newest change, as after a restored backup; or so old that what
//!   follows it is no longer kept) is refused. The refusal's own `next` is the newest change at that moment: reload
//!   what is kept of people, then go on from there, and nothing is missed.

use std::time::Duration;

use axum::{Json, Router, extract::State, routing::get};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::{
    access::Caller,
    outbox::feed::{self, Entry},
};

use super::{ApiState, auth::Reader, params::Params, problem::Problem};

/// The longest a caller may ask an answer to be held back, in seconds.
pub(super) const WAIT_MAX: i64 = 30;

/// A wake-up may be lost: so often it is looked all the same.
const POLL: Duration = Duration::from_secs(1);

/// The routes of this resource.
pub(super) fn routes() -> Router<ApiState> {
    Router::new().route("/v1/changes", get(list))
}

async fn list(State(state): State<ApiState>, Reader(caller): Reader, params: Params) -> Result<Json<Value>, Problem> {
    let params = params.only(&["after", "limit", "wait"])?;
    let mut after = params.whole("after", 0..=i64::MAX)?;
    let limit = params.limit(1000, 100)?;
    let wait = params.whole("wait", 0..=WAIT_MAX)?.unwrap_or(0);
    let deadline = Instant::now() + Duration::from_secs(wait.unsigned_abs());
    // Before the first look: what is committed from here on wakes it.
    let mut waiter = state.signals.outbox.waiter();
    loop {
        let (entries, next) = read(&state, &caller, after, limit).await?;
        let left = deadline.saturating_duration_since(Instant::now());
        if !entries.is_empty() || left.is_zero() || state.shutdown.is_cancelled() {
            let fields = &state.config.gateway.list_fields;
            let data: Vec<_> = entries.iter().map(|entry| entry.frame(&entry.topic, fields)).collect();
            return Ok(Json(json!({"data": data, "next": next, "epoch": state.meta.epoch})));
        }
        after = Some(next);
        // Also ends the wait of whoever is waiting when the service ends, in time to ask another replica.
        waiter.wait(left.min(POLL)).await;
    }
}

/// What the caller may see, and where to go on; of one state of the database, so that nothing is trimmed in between.
async fn read(
    state: &ApiState,
    caller: &Caller,
    after: Option<i64>,
    limit: usize,
) -> Result<(Vec<Entry>, i64), Problem> {
    let tx = state.db.begin_read().await?;
    let (oldest, head) = feed::bounds(&tx).await?;
    let begin = (oldest - 1).max(0);
    let after = after.unwrap_or(begin);
    let refused = |why: &str| {
        let detail = format!("{why} Reload what you keep, then go on after `next` of this answer.");
        Problem::invalid(detail).with("next", head).with("epoch", state.meta.epoch.as_str())
    };
    if after > head {
        return Err(refused(
            "after lies beyond the newest change: it is of another database, or of one that was restored.",
        ));
    }
    if after < begin {
        return Err(refused("What follows after is no longer kept."));
    }
    let entries = feed::read_topics(&tx, after, topics(caller), u32::try_from(limit).unwrap_or(u32::MAX)).await?;
    tx.commit().await?;
    let next = match entries.last() {
        Some(last) if entries.len() == limit => last.seq,
        _ => head,
    };
    Ok((entries, next))
}

/// `internal` is for nobody.
fn topics(caller: &Caller) -> [&'static str; 3] {
    let third = if caller.is_admin() { "admin" } else { "organizations" };
    ["users", "organizations", third]
}
