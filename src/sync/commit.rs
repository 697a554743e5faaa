//! One transaction a batch: the commit lock, the rows that are still due, the loaded state, the plan, its rows, the
//! events' end. All of it or nothing (P2).
//!
//! Rows are looked up again under the lock and those that have ended meanwhile are left out. Two appliers at once are
//! therefore safe and merely wasteful.

use std::collections::HashSet;

use sea_orm::DbErr;

use crate::{
    clock::{Clock, shifted},
    db::{Db, Disposition, Quiet, disposition, error_code},
    domain::{Event, Outcome, Plan, Policy, State, plan},
    failpoint::{Failpoint, reach},
};

use super::{load, write};

/// What a transaction did.
#[derive(Debug, Default)]
pub struct Committed {
    /// Each event's end, by inbox seq. Events that had ended before, or that are due again, are not among them.
    pub outcomes: Vec<(i64, Outcome)>,
    /// Whether the change feed grew.
    pub told: bool,
    /// Parked rows that became due, and clashes that are to be refreshed.
    pub woken: u64,
    /// Events that failed alone and are due again later.
    pub deferred: u64,
}

impl Committed {
    /// Adds what another transaction did.
    pub(super) fn add(&mut self, other: Self) {
        self.outcomes.extend(other.outcomes);
        self.told |= other.told;
        self.woken += other.woken;
        self.deferred += other.deferred;
    }
}

/// Why a batch was not committed; carries its disposition.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// The database cannot do it now.
    #[error("the database: {}", Quiet(.0))]
    Transient(DbErr),
    /// The database refuses the data of an event.
    #[error("the database: {}", Quiet(.0))]
    Data(DbErr),
    /// Planning panicked.
    #[error("planning panicked")]
    Panic,
    /// A row changed its state between the look-up and the end.
    #[error("a row was changed during the commit")]
    Changed,
}

impl From<DbErr> for CommitError {
    fn from(error: DbErr) -> Self {
        match disposition(&error) {
            Disposition::Retry => Self::Transient(error),
            Disposition::Dead => Self::Data(error),
        }
    }
}

impl CommitError {
    /// Returns what the applier does with it.
    pub fn disposition(&self) -> Disposition {
        match self {
            Self::Transient(_) | Self::Changed => Disposition::Retry,
            Self::Data(_) | Self::Panic => Disposition::Dead,
        }
    }

    /// Returns a short name for comparison and for alerts, without values of the event.
    pub fn code(&self) -> String {
        match self {
            Self::Transient(error) | Self::Data(error) => error_code(error),
            Self::Panic => "panic".to_owned(),
            Self::Changed => "changed".to_owned(),
        }
    }
}

/// Plans and commits those of the events whose rows are still in the state `from`.
///
/// # Errors
/// [`CommitError`]; nothing was written then.
pub async fn commit(
    db: &Db,
    from: State,
    events: &[&Event],
    policy: &Policy,
    clock: &Clock,
) -> Result<Committed, CommitError> {
    let tx = db.begin_commit().await?;
    let started = std::time::Instant::now();
    let seqs: Vec<i64> = events.iter().map(|event| event.seq).collect();
    let due: HashSet<i64> = write::inbox::still_in(&tx, from, &seqs).await?.into_iter().collect();
    let events: Vec<&Event> = events.iter().copied().filter(|event| due.contains(&event.seq)).collect();
    if events.is_empty() {
        tx.rollback().await?;
        return Ok(Committed::default());
    }
    let now = clock.now();
    let world = load::world(&tx, &events, policy, now).await?;
    reach(Failpoint::BatchLoaded).await?;
    let mut planned: Plan = plan(world, events.iter().copied(), policy, now, &mut || clock.new_id());
    write::plan(&tx, &planned, policy, "clerk", clock, now).await?;
    reach(Failpoint::PlanWritten).await?;
    let duration = i64::try_from(started.elapsed().as_micros()).unwrap_or(i64::MAX)
        / i64::try_from(events.len()).unwrap_or(1).max(1);
    let finished =
        write::inbox::finish(&tx, from, &planned.outcomes, now, shifted(now, policy.waiting_deadline), duration)
            .await?;
    if finished != planned.outcomes.len() as u64 {
        tx.rollback().await?;
        return Err(CommitError::Changed);
    }
    write::inbox::forget(&tx, &planned.forget).await?;
    let again = planned.outcomes.extract_if(.., |(_, outcome)| outcome.state == State::Pending).count() as u64;
    let woken = write::inbox::wake(&tx, &planned.wake, now).await? + again;
    reach(Failpoint::BatchWritten).await?;
    tx.commit().await?;
    reach(Failpoint::BatchCommitted).await?;
    let told = !planned.outbox.is_empty() || !planned.alerts.is_empty();
    Ok(Committed { told, outcomes: planned.outcomes, woken, deferred: 0 })
}
