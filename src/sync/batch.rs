//! A claimed batch to its end: committed whole; split only on errors of the data, until the guilty event is alone;
//! tried again whole on anything else, which counts as nobody's failure.

use std::time::Duration;

use sea_orm::DbErr;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::{
    clock::Clock,
    config,
    db::{Db, is_data_error},
    domain::{Event, Outcome, Policy},
    inbox::retry::{backoff, put_back},
};

use super::{
    commit::{CommitError, Committed, commit},
    load, write,
};

/// What the loop works with.
#[derive(Debug)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Context<'a> {
    pub db: &'a Db,
    pub policy: &'a Policy,
    pub clock: &'a Clock,
    pub config: &'a config::Sync,
    pub shutdown: &'a CancellationToken,
}

/// An event with the failures it has behind it.
pub type Tried = (Event, i64);

/// Commits a batch claimed by `claim`; answers what was done. On shutdown the rest is left to the leases.
pub async fn process(context: &Context<'_>, claim: &str, batch: Vec<Tried>) -> Committed {
    let mut total = Committed::default();
    let mut todo = vec![batch];
    let mut tries = 0;
    while let Some(batch) = todo.pop() {
        let events: Vec<&Event> = batch.iter().map(|(event, _)| event).collect();
        match commit(context.db, claim, &events, context.policy, context.clock).await {
            Ok(done) => {
                tries = 0;
                total.outcomes.extend(done.outcomes);
                total.told |= done.told;
                total.woken += done.woken;
            }
            Err(CommitError::Database(error)) if is_data_error(&error) && batch.len() > 1 => {
                let mut first = batch;
                let second = first.split_off(first.len() / 2);
                todo.extend([second, first]);
            }
            Err(CommitError::Database(error)) if is_data_error(&error) => {
                for tried in batch {
                    total.told |= failed(context, claim, tried, &error, &mut total.outcomes).await;
                }
            }
            Err(error) => {
                tries += 1;
                if context.shutdown.is_cancelled() {
                    return total;
                }
                let delay = backoff(tries, Duration::from_millis(100), Duration::from_secs(5), fastrand::f64());
                tracing::warn!(%error, delay_ms = delay.as_millis() as u64, events = batch.len(), "a batch could not be committed; trying again");
                tokio::select! {
                    () = tokio::time::sleep(delay) => todo.push(batch),
                    () = context.shutdown.cancelled() => return total,
                }
            }
        }
    }
    total
}

/// One event that the database refuses: another try later, or `dead`. Answers whether the change feed grew.
async fn failed(
    context: &Context<'_>,
    claim: &str,
    (event, attempts): Tried,
    error: &DbErr,
    outcomes: &mut Vec<(i64, Outcome)>,
) -> bool {
    let attempt = u32::try_from(attempts + 1).unwrap_or(u32::MAX);
    tracing::warn!(svix.id = %event.correlation_id, event.r#type = %event.event_type, attempt, error = %crate::db::Quiet(error), "an event cannot be written");
    let reason = "data: the database refuses what this event would write";
    if attempt >= context.config.max_attempts {
        return bury(context, claim, &event, reason, outcomes).await;
    }
    let delay = backoff(attempt, context.config.backoff, context.config.backoff_max, fastrand::f64());
    let at = context.clock.now() + chrono::Duration::from_std(delay).unwrap_or(chrono::Duration::minutes(5));
    if let Err(error) = put_back(&context.db.write, claim, &[(event.seq, at, reason)], true).await {
        tracing::warn!(error = %crate::db::Quiet(&error), "a failed event could not be put back; its lease will run out");
    }
    false
}

/// Ends an event as `dead` and tells the operators. Answers whether that could be written.
pub(super) async fn bury(
    context: &Context<'_>,
    claim: &str,
    event: &Event,
    reason: &str,
    outcomes: &mut Vec<(i64, Outcome)>,
) -> bool {
    let outcome = Outcome::dead(reason);
    let write = async {
        let tx = context.db.begin_commit().await?;
        let now = context.clock.now();
        let ended = write::inbox::finish(&tx, claim, &[(event.seq, outcome.clone())], now, now, 0).await?;
        if ended == 1 {
            let seq = load::head(&tx).await? + 1;
            let subject = event.change.subject().unwrap_or(&event.correlation_id);
            let payload = json!({"svix_id": event.correlation_id, "event_type": event.event_type, "reason": reason});
            let message = write::admin_message(seq, "event.dead", subject, payload, &event.correlation_id);
            crate::outbox::append::append(&tx, [&message].into_iter(), context.clock, now).await?;
        }
        tx.commit().await
    };
    match write.await {
        Ok(()) => {
            outcomes.push((event.seq, outcome));
            true
        }
        Err(error) => {
            let error: DbErr = error;
            tracing::warn!(error = %crate::db::Quiet(&error), "a dead event could not be written down; its lease will run out");
            false
        }
    }
}
