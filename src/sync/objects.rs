//! Objects of Clerk's API on their way into the same plan as deliveries: under the commit lock, a chunk in one
//! transaction. They have no inbox row; one is written only where the plan parks what they say, so that it is woken,
//! listed and decided like any other.

use std::collections::{BTreeSet, HashMap};

use sea_orm::DbErr;

use crate::{
    clerk::decode::{Stored, decode},
    clock::{Clock, shifted},
    db::{Db, is_data_error},
    domain::{Event, Outcome, Plan, Policy, State, event::Refreshed, plan},
    inbox::admission::AdmissionLog,
    json::Object,
    wake::Signals,
};

use super::{load, replay, write};

/// Objects planned and committed together.
const CHUNK: usize = 500;

/// Who asks Clerk, and what comes of what it says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// A first load. Caches and search take it; nobody is mailed for what is no news.
    Backfill,
    /// A difference that was found: a lost delivery, told like one.
    Reconcile,
    /// Somebody needs this person now, or a membership waits for it.
    Ensure,
    /// A user of a clash, read before it is judged.
    Refresh,
}

impl Origin {
    /// The column's word, and the audit's actor.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Backfill => "backfill",
            Self::Reconcile => "reconcile",
            Self::Ensure => "ensure",
            Self::Refresh => "refresh",
        }
    }
}

/// What applies objects. Cheap to clone.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Applier {
    pub db: Db,
    pub policy: Policy,
    pub clock: Clock,
    pub signals: Signals,
    pub admissions: AdmissionLog,
}

/// What became of one object.
#[derive(Debug, Clone)]
pub struct Applied {
    /// Its subject, where it names one.
    pub subject: Option<String>,
    /// Its end.
    pub outcome: Outcome,
    /// A delivery about the same subject is still to be applied: what this one found is no loss.
    pub in_flight: bool,
    /// The same object is parked already: nothing new.
    pub known: bool,
}

/// What became of objects, in their order.
#[derive(Debug, Default)]
pub struct Report {
    /// Each object's end.
    pub applied: Vec<Applied>,
    /// Subject to its changed fields, `[before, after]` each.
    pub changes: HashMap<String, Object>,
}

impl Applier {
    /// Applies them, in chunks; `dry` plans and writes nothing. What the database refuses to write is parked as `dead`.
    ///
    /// # Errors
    /// What the database says, other than about the data. Earlier chunks are committed then.
    pub async fn apply(&self, objects: Vec<Stored>, origin: Origin, dry: bool) -> Result<Report, DbErr> {
        let mut report = Report::default();
        let mut objects = objects.into_iter().peekable();
        while objects.peek().is_some() {
            let chunk: Vec<Stored> = objects.by_ref().take(CHUNK).collect();
            let mut todo = vec![chunk];
            while let Some(mut chunk) = todo.pop() {
                match self.chunk(&chunk, origin, dry, None).await {
                    Ok(done) => {
                        report.applied.extend(done.applied);
                        report.changes.extend(done.changes);
                    }
                    Err(error) if is_data_error(&error) && chunk.len() > 1 => {
                        let second = chunk.split_off(chunk.len() / 2);
                        todo.extend([second, chunk]);
                    }
                    Err(error) if is_data_error(&error) => {
                        tracing::warn!(error = %crate::db::Quiet(&error), origin = origin.as_str(), "an object of Clerk's cannot be written");
                        let dead = Outcome::dead("data: the database refuses what this object would write");
                        report.applied.extend(self.chunk(&chunk, origin, dry, Some(dead)).await?.applied);
                    }
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(report)
    }

    async fn chunk(&self, chunk: &[Stored], origin: Origin, dry: bool, fate: Option<Outcome>) -> Result<Report, DbErr> {
        let numbered = (1..).zip(chunk).map(|(index, row)| Stored { seq: -index, ..row.clone() });
        // An object that clashes is parked and read again with its blocker, once: not one that was just read for that, nor
        // where nothing is written.
        let refreshed = (dry || origin == Origin::Refresh).then(Refreshed::default);
        let event =
            |row| Event { actor: origin.as_str(), from_api: true, refreshed: refreshed.clone(), ..decode(row, None) };
        let events: Vec<Event> = numbered.map(event).collect();
        let subjects: BTreeSet<String> =
            events.iter().filter_map(|event| event.change.subject()).map(str::to_owned).collect();
        let all: Vec<&Event> = events.iter().collect();
        let tx = self.db.begin_commit().await?;
        let now = self.clock.now();
        let planned = match fate {
            Some(fate) => {
                Plan { outcomes: events.iter().map(|event| (event.seq, fate.clone())).collect(), ..Plan::default() }
            }
            None => {
                let world = load::world(&tx, &all, &self.policy, now).await?;
                let mut planned = plan(world, all, &self.policy, now, &mut || self.clock.new_id());
                planned.quiet = origin == Origin::Backfill;
                if planned.quiet {
                    planned.outbox.iter_mut().for_each(|message| message.effects = "state");
                }
                planned
            }
        };
        let in_flight = write::inbox::in_flight(&tx, &subjects).await?;
        let parks = |outcome: &Outcome| !matches!(outcome.state, State::Done | State::Skipped);
        let parked: Vec<(&Stored, &Outcome)> =
            chunk.iter().zip(planned.outcomes.iter().map(|(_, outcome)| outcome)).filter(|(_, o)| parks(o)).collect();
        let known = write::parked::known(&tx, parked.iter().map(|(row, _)| row.svix_id.as_str())).await?;
        let mut report = Report { changes: replay::diffs(&planned).into_iter().collect(), ..Report::default() };
        for (event, (_, outcome)) in events.iter().zip(&planned.outcomes) {
            let subject = event.change.subject().map(str::to_owned);
            let in_flight = subject.as_ref().is_some_and(|subject| in_flight.contains(subject));
            let known = known.contains(&event.correlation_id);
            report.applied.push(Applied { subject, outcome: outcome.clone(), in_flight, known });
        }
        if dry {
            tx.rollback().await?;
            return Ok(report);
        }
        write::plan(&tx, &planned, &self.policy, origin.as_str(), &self.clock, now).await?;
        write::parked::park(&tx, &parked, origin.as_str(), now, shifted(now, self.policy.waiting_deadline)).await?;
        let woken = write::inbox::wake(&tx, &planned.wake, now).await?;
        tx.commit().await?;
        self.admissions.note(planned.outcomes.iter().map(|(_, outcome)| outcome));
        if !planned.outbox.is_empty() || !planned.alerts.is_empty() {
            self.signals.outbox.wake();
        }
        if woken > 0 || parked.iter().any(|(_, outcome)| outcome.state == State::Pending) {
            self.signals.inbox.wake();
        }
        Ok(report)
    }
}
