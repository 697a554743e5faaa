//! Silence: an endpoint that Clerk no longer delivers to says nothing, and neither do we. Where no delivery came for
//! `silence.after` while Clerk has people that are not known here, operators are told. A quiet night is no alarm.

use std::time::Duration;

use sea_orm::DbErr;

use crate::{
    clerk::object::outline,
    clock::{Time, rfc3339, span},
    db::Stmt,
    domain::plan::Alert,
    reconcile::{Reconciler, RunError},
    sync::raise::raise,
};

/// How long Clerk may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Somebody created this shortly before may still be on their way.
const UNDER_WAY: chrono::Duration = chrono::Duration::minutes(5);

/// Looks, and asks Clerk only where it has been silent for too long. `started`: from when on this process listens.
/// Answers how many rows the change feed got.
///
/// # Errors
/// What Clerk or the database says.
pub async fn listen(with: &Reconciler, after: Duration, started: Time) -> Result<usize, RunError> {
    let now = with.clock.now();
    let after = span(after);
    let last = last_delivery(with).await?;
    if now - last.unwrap_or(started) < after {
        return Ok(0);
    }
    let Some(newest) = with.api.newest_user(PATIENCE).await? else { return Ok(0) };
    let newest = outline(&newest);
    let (Some(id), Some(created_at)) = (newest.id, newest.created_at) else { return Ok(0) };
    let unheard_of = last.is_none_or(|last| created_at > last);
    if !unheard_of || now - created_at < UNDER_WAY || is_known(with, &id).await? {
        return Ok(0);
    }
    let since = last.map_or_else(|| "ever".to_owned(), |last| format!("since {}", rfc3339(last)));
    let text = format!(
        "no delivery {since}, and Clerk has people who are not known here: see in Clerk's dashboard (Webhooks) whether the \
         endpoint is enabled and its deliveries succeed, then run `clerk-sync doctor` and `clerk-sync reconcile`"
    );
    let alert = Alert { kind: "deliveries.silent", level: "critical", subject: "deliveries".into(), text };
    let tx = with.db.begin_commit().await?;
    let told = raise(&tx, &[alert], span(with.repeat), &with.clock, now).await?;
    tx.commit().await?;
    Ok(told)
}

/// When the last delivery was stored: those of the API are none.
async fn last_delivery(with: &Reconciler) -> Result<Option<Time>, DbErr> {
    let newest = Stmt::new(
        &with.db.read,
        "select received_at from clerk_sync.inbox where origin = 'webhook' order by seq desc limit 1",
    );
    newest.all(&with.db.read).await?.first().map(|row| row.try_get("", "received_at")).transpose()
}

async fn is_known(with: &Reconciler, clerk_id: &str) -> Result<bool, DbErr> {
    let found = Stmt::new(&with.db.read, "select 1 as one from clerk_sync.subjects where kind = 'user' and key = ")
        .val(clerk_id);
    Ok(!found.all(&with.db.read).await?.is_empty())
}
