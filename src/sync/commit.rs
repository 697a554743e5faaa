//! One transaction a batch: the commit lock, the rows that are still ours, the loaded state, the plan, its rows, the
//! events' end. All of it or nothing (P2).

use std::collections::HashSet;

use sea_orm::DbErr;

use crate::{
    clock::Clock,
    db::{Db, Quiet},
    domain::{Event, Outcome, Plan, Policy, State, plan},
};

use super::{load, write};

/// What a transaction did.
#[derive(Debug, Default)]
pub struct Committed {
    /// Each event's end, by inbox seq. Events that were no longer ours, or that are due again, are not among them.
    pub outcomes: Vec<(i64, Outcome)>,
    /// Whether the change feed grew.
    pub told: bool,
    /// Parked rows that became due, and clashes that are to be refreshed.
    pub woken: u64,
}

/// Why a batch was not committed.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// The database refused; [`crate::db::is_data_error`] tells whether trying again can help.
    #[error("the database: {}", Quiet(.0))]
    Database(#[from] DbErr),
    /// A lease ran out between the check and the end. The batch is claimed by somebody else or will be.
    #[error("a lease ran out during the commit")]
    LeaseLost,
}

/// Plans and commits the events that `claim` still holds.
///
/// # Errors
/// [`CommitError`]; nothing was written then.
pub async fn commit(
    db: &Db,
    claim: &str,
    events: &[&Event],
    policy: &Policy,
    clock: &Clock,
) -> Result<Committed, CommitError> {
    let tx = db.begin_commit().await?;
    let started = std::time::Instant::now();
    let seqs: Vec<i64> = events.iter().map(|event| event.seq).collect();
    let mine = write::inbox::still_mine(&tx, claim, &seqs).await?;
    let mine: HashSet<i64> = mine.into_iter().collect();
    let events: Vec<&Event> = events.iter().copied().filter(|event| mine.contains(&event.seq)).collect();
    if events.is_empty() {
        tx.rollback().await?;
        return Ok(Committed::default());
    }
    let now = clock.now();
    let world = load::world(&tx, &events, policy, now).await?;
    let mut planned: Plan = plan(world, events.iter().copied(), policy, now, &mut || clock.new_id());
    write::plan(&tx, &planned, policy, "clerk", clock, now).await?;
    let duration = i64::try_from(started.elapsed().as_micros()).unwrap_or(i64::MAX)
        / i64::try_from(events.len()).unwrap_or(1).max(1);
    let finished =
        write::inbox::finish(&tx, claim, &planned.outcomes, now, now + policy.waiting_deadline, duration).await?;
    if finished != planned.outcomes.len() as u64 {
        tx.rollback().await?;
        return Err(CommitError::LeaseLost);
    }
    write::inbox::forget(&tx, &planned.forget).await?;
    let again = planned.outcomes.extract_if(.., |(_, outcome)| outcome.state == State::Pending).count() as u64;
    let woken = write::inbox::wake(&tx, &planned.wake, now).await? + again;
    tx.commit().await?;
    Ok(Committed { told: !planned.outbox.is_empty() || !planned.alerts.is_empty(), outcomes: planned.outcomes, woken })
}
