//! A batch to its end, by the disposition of what fails: split on errors about data, until the offending event is alone
//! and ends `dead`; tried again whole, with backoff, on transient errors, which counts as no event's failure.
//!
//! A batch that fails again and again with the same transient error, while a write of ours succeeds, is split as well. An
//! event that is alone then is deferred and never ends `dead` for it.

use std::{
    panic::AssertUnwindSafe,
    time::{Duration, Instant},
};

use futures_util::FutureExt as _;
use sea_orm::DbErr;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::{
    clerk::decode::Stored,
    clock::{Clock, later},
    config,
    db::{Db, Disposition, Quiet, Stmt},
    domain::{Event, Outcome, Policy, State, plan::Alert},
    inbox::retry::{Attempt, Deferred, backoff, defer},
};

use super::{
    commit::{CommitError, Committed, commit},
    load,
    raise::raise,
    write,
};

/// What the loop works with.
#[derive(Debug, Clone, Copy)]
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

/// After so many equal transient failures of a batch the database is asked for a canary write.
const SAME_FAILURES: u32 = 3;

/// Delays between tries of a whole batch. Whatever lasted, the next try comes within seconds after it ceased.
const RETRY_FIRST: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_secs(5);

/// The longest time for which an event that is alone with a transient error is deferred.
const DEFER_MAX: Duration = Duration::from_secs(8);

/// A part of a batch.
struct Part {
    events: Vec<Tried>,
    /// The transient error for which the batch was split.
    suspected: Option<String>,
}

/// Commits a batch of pending events; returns what was done. On shutdown the rest is left as it is.
pub async fn process(context: &Context<'_>, batch: Vec<Tried>) -> Committed {
    let mut total = Committed::default();
    let mut todo = vec![Part { events: batch, suspected: None }];
    let (mut same, mut last) = (0_u32, String::new());
    while let Some(part) = todo.pop() {
        let started = Instant::now();
        let error = match try_commit(context, &part.events).await {
            Ok(done) => {
                total.add(done);
                last.clear();
                continue;
            }
            Err(error) => error,
        };
        let code = error.code();
        if error.disposition() == Disposition::Dead {
            match split(part, None) {
                Ok(halves) => todo.extend(halves),
                Err(tried) => total.add(failed(context, tried, &error, &code).await),
            }
            continue;
        }
        same = if code == last { same + 1 } else { 1 };
        last.clone_from(&code);
        let is_suspected = part.suspected.as_ref() == Some(&code);
        if (is_suspected || same >= SAME_FAILURES) && canary(context).await {
            match split(part, Some(&code)) {
                Ok(halves) => todo.extend(halves),
                Err(tried) => total.add(put_off(context, tried, &error, &code, started.elapsed()).await),
            }
            last.clear();
            continue;
        }
        let delay = backoff(same, RETRY_FIRST, RETRY_MAX, fastrand::f64());
        tracing::warn!(%error, delay_ms = delay.as_millis() as u64, events = part.events.len(), "a batch could not be committed; trying again");
        todo.push(part);
        tokio::select! {
            () = tokio::time::sleep(delay) => {}
            () = context.shutdown.cancelled() => {}
        }
        if context.shutdown.is_cancelled() {
            return total;
        }
    }
    total
}

async fn try_commit(context: &Context<'_>, events: &[Tried]) -> Result<Committed, CommitError> {
    let events: Vec<&Event> = events.iter().map(|(event, _)| event).collect();
    // A panic of one event's is an error of the batch: the transaction is rolled back as it is dropped.
    AssertUnwindSafe(commit(context.db, State::Pending, &events, context.policy, context.clock))
        .catch_unwind()
        .await
        .unwrap_or(Err(CommitError::Panic))
}

/// Halves a part, the first half on top; fails with the event that is alone.
fn split(part: Part, suspected: Option<&String>) -> Result<[Part; 2], Vec<Tried>> {
    let Part { events: mut first, suspected: before } = part;
    if first.len() < 2 {
        return Err(first);
    }
    let second = first.split_off(first.len() / 2);
    let suspected = suspected.cloned().or(before);
    Ok([Part { events: second, suspected: suspected.clone() }, Part { events: first, suspected }])
}

/// Whether the database takes a write under the commit lock: then what fails is about the events after all.
async fn canary(context: &Context<'_>) -> bool {
    let write = async {
        let tx = context.db.begin_commit().await?;
        Stmt::new(&tx, "insert into clerk_sync.meta (key, value) values ('applier.canary', ")
            .val(context.clock.now().to_rfc3339())
            .sql(") on conflict (key) do update set value = excluded.value")
            .exec(&tx)
            .await?;
        tx.commit().await
    };
    let written: Result<(), DbErr> = write.await;
    written.is_ok()
}

/// An event that is alone with an error about data: another try soon, or `dead`.
async fn failed(context: &Context<'_>, tried: Vec<Tried>, error: &CommitError, code: &str) -> Committed {
    let mut total = Committed::default();
    for (event, attempts) in tried {
        let attempt = attempt(attempts);
        tracing::warn!(svix.id = %event.correlation_id, event.r#type = %event.event_type, attempt, %error, "an event cannot be written");
        let reason = match error {
            CommitError::Panic => "data: planning this event panics",
            _ => "data: the database refuses what this event would write",
        };
        if attempt >= context.config.max_attempts {
            total.add(bury(context, &Offender::of(&event), reason, code).await);
            continue;
        }
        let delay = backoff(attempt, context.config.backoff, context.config.backoff_max, fastrand::f64());
        total.deferred += defer_one(context, event.seq, delay, reason).await;
    }
    total
}

/// An event that is alone with a transient error, while others can be written.
async fn put_off(
    context: &Context<'_>,
    tried: Vec<Tried>,
    error: &CommitError,
    code: &str,
    took: Duration,
) -> Committed {
    let mut total = Committed::default();
    for (event, attempts) in tried {
        let attempt = attempt(attempts);
        tracing::warn!(svix.id = %event.correlation_id, event.r#type = %event.event_type, attempt, %error, "an event is deferred");
        // It takes at most a third of the time from the others.
        let delay = backoff(attempt, context.config.backoff, context.config.backoff_max, fastrand::f64());
        let delay = delay.max(took * 2).min(DEFER_MAX);
        total.deferred += defer_one(context, event.seq, delay, DEFERRED).await;
        let text = format!(
            "an event cannot be written and is tried again and again: the database answers code {code} for it while \
             others are written (57014: a statement_timeout of the server, the database or the role)"
        );
        let alert = Alert { kind: "event.deferred", level: "warning", subject: code.to_owned(), text };
        let now = context.clock.now();
        let tell = async {
            let tx = context.db.begin_commit().await?;
            let told = raise(&tx, &[alert], context.policy.alerts_repeat, context.clock, now).await?;
            tx.commit().await?;
            Ok::<bool, DbErr>(told > 0)
        };
        match tell.await {
            Ok(told) => total.told |= told,
            Err(error) => tracing::warn!(error = %Quiet(&error), "an alert could not be raised"),
        }
    }
    total
}

/// The reason of an event that is deferred for a transient error.
pub const DEFERRED: &str = "transient: the database cannot write this event now, while it writes others";

fn attempt(attempts: i64) -> u32 {
    u32::try_from(attempts.saturating_add(1)).unwrap_or(u32::MAX)
}

async fn defer_one(context: &Context<'_>, seq: i64, delay: Duration, reason: &'static str) -> u64 {
    let now = context.clock.now();
    let at = later(now, delay);
    let due: [Deferred; 1] = [(seq, at, reason)];
    if let Err(error) = defer(&context.db.write, &due, Attempt::Counted).await {
        tracing::warn!(error = %Quiet(&error), "an event could not be deferred; it is due at once");
    }
    1
}

/// An event that ends `dead`: all that is read of it.
#[derive(Debug)]
pub(super) struct Offender {
    seq: i64,
    svix_id: String,
    event_type: String,
    subject: Option<String>,
}

impl Offender {
    pub(super) fn of(event: &Event) -> Self {
        let subject = event.change.subject().map(str::to_owned);
        Self { seq: event.seq, svix_id: event.correlation_id.clone(), event_type: event.event_type.clone(), subject }
    }

    /// Of a row that is not decoded, because decoding it may be what fails.
    pub(super) fn stored(row: &Stored) -> Self {
        Self {
            seq: row.seq,
            svix_id: row.svix_id.clone(),
            event_type: row.event_type.clone(),
            subject: row.subject.clone(),
        }
    }
}

/// Ends an event as `dead` and tells the operators.
pub(super) async fn bury(context: &Context<'_>, offender: &Offender, reason: &'static str, code: &str) -> Committed {
    let outcome = Outcome::dead(reason);
    let text = format!(
        "an event ended `dead` and has no effect (code {code}): `clerk-sync inbox list --state dead` says which; remove \
         the cause, then `clerk-sync inbox retry ID`, or `clerk-sync replay --state dead` for all"
    );
    let alert = Alert { kind: "event.dead", level: "warning", subject: code.to_owned(), text };
    let write = async {
        let tx = context.db.begin_commit().await?;
        let now = context.clock.now();
        let outcomes = [(offender.seq, outcome.clone())];
        let ended = write::inbox::finish(&tx, State::Pending, &outcomes, now, now, 0).await?;
        if ended == 1 {
            let seq = load::head(&tx).await? + 1;
            let subject = offender.subject.as_deref().unwrap_or(&offender.svix_id);
            let payload = json!({"svix_id": offender.svix_id, "event_type": offender.event_type, "reason": reason});
            let message = write::admin_message(seq, "event.dead", subject, payload, &offender.svix_id);
            crate::outbox::append::append(&tx, [&message].into_iter(), context.clock, now).await?;
            raise(&tx, &[alert], context.policy.alerts_repeat, context.clock, now).await?;
        }
        tx.commit().await?;
        Ok::<bool, DbErr>(ended == 1)
    };
    match write.await {
        Ok(true) => Committed { outcomes: vec![(offender.seq, outcome)], told: true, ..Committed::default() },
        Ok(false) => Committed::default(),
        Err(error) => {
            tracing::warn!(error = %Quiet(&error), "a dead event could not be written down; it is tried again");
            let again = context.config.backoff;
            let deferred = defer_one(context, offender.seq, again, reason).await;
            Committed { deferred, ..Committed::default() }
        }
    }
}
