//! Confirm: people who have not entered yet are asked for at Clerk before they do, so that neither a leaked signing
//! secret nor a late delivery about somebody long gone makes a person.
//!
//! Only their existence is used, never what the answer says of them. Absence deletes nothing: whoever cannot be read yet
//! is asked for again for ten minutes, then the event ends `rejected: gone at Clerk` and raises no facts. Runs between
//! claim and commit, outside of any transaction, a hundred ids a request.

use std::{
    collections::{BTreeSet, HashSet},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use sea_orm::DbErr;

use crate::{
    clerk::{
        api::{Api, IDS_MAX},
        object::outline,
    },
    clock::{self, Clock, Time},
    db::{Db, Rows, Stmt},
    domain::{Change, Event, entry::GONE},
    instance::Instance,
};

/// What is said of an event that waits for Clerk to know its person.
pub const NOT_YET: &str = "confirm: Clerk does not know this person yet";
/// What is said of an event that waits for Clerk to answer.
pub const NO_ANSWER: &str = "confirm: Clerk cannot be asked now";

/// Fresh people may not be readable at once; after this they are gone.
const READABLE_WITHIN: Duration = Duration::from_secs(600);
/// How long somebody who was found is not asked for again.
const REMEMBERED: Duration = Duration::from_secs(600);
/// How many of them.
const REMEMBERED_MOST: u64 = 100_000;
/// How long a request may keep a batch waiting, where we would go on without an answer, and where not.
const PATIENCE: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(10));
/// A failure that goes on is logged this often.
const WARN_EVERY: Duration = Duration::from_secs(60);

/// Asks Clerk. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Confirm {
    api: Api,
    instance: Instance,
    required: bool,
    db: Db,
    clock: Clock,
    known: moka::sync::Cache<String, ()>,
    warned: Arc<Mutex<Option<Instant>>>,
}

/// What is to be looked at again, when, and why.
pub type Later = Vec<(i64, Time, &'static str)>;

impl Confirm {
    /// `required`: where Clerk cannot be asked nobody enters; else they do.
    pub fn new(api: Api, instance: Instance, required: bool, db: Db, clock: Clock) -> Self {
        let known = moka::sync::Cache::builder().max_capacity(REMEMBERED_MOST).time_to_live(REMEMBERED).build();
        Self { api, instance, required, db, clock, known, warned: Arc::default() }
    }

    /// Judges the events (each with the time of its receipt): some become refused; those to be looked at later are
    /// answered and must be left out.
    ///
    /// # Errors
    /// What the database says.
    pub async fn judge(&self, events: &mut [(&mut Event, Time)]) -> Result<Later, DbErr> {
        let person = |event: &Event| match &event.change {
            Change::User(snapshot) => Some(snapshot.user.clerk_id.clone()),
            _ => None,
        };
        let mut asked: BTreeSet<String> = events.iter().filter_map(|(event, _)| person(event)).collect();
        asked.retain(|id| !self.known.contains_key(id));
        if asked.is_empty() {
            return Ok(Vec::new());
        }
        for settled in self.settled(&asked).await? {
            asked.remove(&settled);
        }
        let Answers { absent, unanswered } = self.ask(&asked).await;
        let now = self.clock.now();
        let mut later = Vec::new();
        for (event, received_at) in events {
            let Some(id) = person(event) else { continue };
            if absent.contains(&id) {
                let age = (now - *received_at).to_std().unwrap_or_default();
                if age >= READABLE_WITHIN {
                    event.change = Change::Refused { reason: GONE.into() };
                } else {
                    let wait = (age / 2).clamp(Duration::from_secs(2), Duration::from_secs(120));
                    later.push((event.seq, clock::later(now, wait), NOT_YET));
                }
            } else if let Some(wait) = unanswered.get(&id).filter(|_| self.required) {
                later.push((event.seq, clock::later(now, *wait), NO_ANSWER));
            }
        }
        Ok(later)
    }

    /// Those of them who have entered or were deleted: nothing to ask.
    async fn settled(&self, ids: &BTreeSet<String>) -> Result<Vec<String>, DbErr> {
        let rows = Stmt::new(&self.db.read, "select s.key from ")
            .rows(Rows::keys(ids))
            .sql(" join clerk_sync.subjects s on s.kind = 'user' and s.key = r.k where s.entered or s.deleted")
            .all(&self.db.read)
            .await?;
        rows.iter().map(|row| row.try_get("", "key")).collect()
    }

    async fn ask(&self, ids: &BTreeSet<String>) -> Answers {
        // Signs and blanks mean something in Clerk's filter; no id has them, so nobody is there.
        let (plain, odd): (Vec<&String>, Vec<&String>) = ids.iter().partition(|id| is_plain(id));
        let mut answers = Answers::default();
        answers.absent.extend(odd.into_iter().cloned());
        if plain.is_empty() {
            return answers;
        }
        let patience = if self.required { PATIENCE.1 } else { PATIENCE.0 };
        // What another instance does not know says nothing about anybody's existence here.
        if let Err(error) = self.instance.check(patience).await {
            self.warn(&error);
            let wait = Duration::from_secs(5).mul_f64(1.0 + 0.5 * fastrand::f64());
            answers.unanswered.extend(plain.into_iter().map(|id| (id.clone(), wait)));
            return answers;
        }
        let requests = plain.chunks(IDS_MAX).map(|chunk| async move {
            let ids: Vec<&str> = chunk.iter().map(|id| id.as_str()).collect();
            (chunk, self.api.users(&ids, patience).await)
        });
        for (chunk, answer) in join_all(requests).await {
            match answer {
                Ok(objects) => {
                    let found: HashSet<String> = objects.iter().filter_map(|object| outline(object).id).collect();
                    for id in chunk {
                        if found.contains(*id) {
                            self.known.insert((*id).clone(), ());
                        } else {
                            answers.absent.insert((*id).clone());
                        }
                    }
                }
                Err(error) => {
                    self.warn(&error);
                    let wait = error.wait().unwrap_or(Duration::from_secs(5)).max(Duration::from_secs(1));
                    let wait = wait.mul_f64(1.0 + 0.5 * fastrand::f64());
                    answers.unanswered.extend(chunk.iter().map(|id| ((*id).clone(), wait)));
                }
            }
        }
        answers
    }

    fn warn(&self, error: &dyn std::fmt::Display) {
        let mut warned = self.warned.lock().unwrap_or_else(PoisonError::into_inner);
        if warned.is_none_or(|at| at.elapsed() >= WARN_EVERY) {
            *warned = Some(Instant::now());
            let then = if self.required {
                "new people wait (clerk.confirm = required)"
            } else {
                "new people enter unconfirmed"
            };
            tracing::warn!(%error, then, "Clerk cannot be asked about new people");
        }
    }
}

#[derive(Debug, Default)]
struct Answers {
    absent: BTreeSet<String>,
    /// Whom an error left open, and when to ask again.
    unanswered: std::collections::HashMap<String, Duration>,
}

/// Whether an id can stand in one of Clerk's filters as itself.
pub(crate) fn is_plain(id: &str) -> bool {
    id.len() <= 255
        && id.starts_with(|c: char| c.is_ascii_alphanumeric())
        && id.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}
