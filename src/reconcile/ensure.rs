//! Ensure: one person, now. Whoever has just signed up may be needed here before their delivery comes: Clerk is asked
//! once, however many ask at a time, and what it says goes through the same plan as everything else.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use futures_util::{
    FutureExt as _,
    future::{BoxFuture, Shared},
};
use sea_orm::DbErr;

use crate::{
    clerk::{
        api::{Api, ApiError},
        object::{Kind, stored},
    },
    db::{Db, Quiet, Stmt},
    domain::State,
    instance::{Instance, InstanceError},
    sync::objects::{Applier, Origin},
};

/// How long Clerk may take for one answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// How often it is looked for again while somebody waits: by their delivery, and at Clerk.
const LOOK: Duration = Duration::from_millis(200);
const ASK: Duration = Duration::from_secs(1);

/// The longest that one answer serves all who ask about the user, so that nobody's token spends what Clerk allows us.
const ASK_MOST: Duration = Duration::from_secs(5);
/// Users whose answers are remembered, and for how long without a question.
const REMEMBERED_MOST: u64 = 10_000;
const REMEMBERED_FOR: Duration = Duration::from_secs(30);

/// A clash that is being refreshed settles by itself, at once where nothing is in the way: so long it is waited for,
/// whatever the caller's own patience, and so often asked about.
const REFRESHED_WITHIN: Duration = Duration::from_secs(5);
const ASK_REFRESHED: Duration = Duration::from_millis(400);

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ensured {
    /// A live row is there.
    Live,
    /// They were deleted; nothing brings them back.
    Deleted,
    /// Clerk has no such person.
    Unknown,
    /// Clerk has them, and a rule keeps them out: why.
    Refused(String),
    /// Clerk cannot be asked: why.
    Unanswered(String),
}

/// Why nothing can be said.
#[derive(Debug, Clone, thiserror::Error)]
pub enum EnsureError {
    /// The database says no.
    #[error("the database: {}", Quiet(.0))]
    Database(Arc<DbErr>),
}

impl From<DbErr> for EnsureError {
    fn from(error: DbErr) -> Self {
        Self::Database(Arc::new(error))
    }
}

/// What one question to Clerk came to.
#[derive(Debug, Clone)]
enum Asked {
    Answered(Ensured),
    /// The user's clash is being brought up to date first: the reason of the event.
    Refreshing(String),
}

type Flight = Shared<BoxFuture<'static, Result<Asked, EnsureError>>>;

/// A request under way, and how many wait for it.
struct Shelf {
    flight: Flight,
    waiters: usize,
}

type Flights = Arc<Mutex<HashMap<String, Shelf>>>;

/// One who waits for a request. Dropped, whether it was answered or the caller has gone: the last one takes the request
/// out, and with it what is left of it.
struct Waiter<'a> {
    flights: &'a Flights,
    clerk_id: &'a str,
    flight: Flight,
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        let mut flights = self.flights.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(shelf) = flights.get_mut(self.clerk_id).filter(|shelf| shelf.flight.ptr_eq(&self.flight)) else {
            return;
        };
        shelf.waiters -= 1;
        if shelf.waiters == 0 || self.flight.peek().is_some() {
            flights.remove(self.clerk_id);
        }
    }
}

/// An answer of Clerk's, when it was given, and the how manyth in a row it is.
#[derive(Debug, Clone)]
struct Remembered {
    asked: Asked,
    at: Instant,
    times: u32,
}

impl Remembered {
    /// How long nobody asks again: longer each time.
    fn lasts(&self) -> Duration {
        match self.asked {
            Asked::Refreshing(_) => ASK_REFRESHED,
            Asked::Answered(_) => ASK.saturating_mul(self.times).min(ASK_MOST),
        }
    }
}

/// Brings people in. Cheap to clone; clones share the requests that are under way.
#[derive(Clone)]
pub struct Ensurer {
    db: Db,
    /// Clerk's API, where it can be asked.
    api: Option<Api>,
    instance: Instance,
    applier: Applier,
    flights: Flights,
    answers: moka::sync::Cache<String, Remembered>,
}

impl std::fmt::Debug for Ensurer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Ensurer")
    }
}

impl Ensurer {
    /// One a process.
    pub fn new(api: Option<Api>, instance: Instance, applier: Applier) -> Self {
        let answers = moka::sync::Cache::builder().max_capacity(REMEMBERED_MOST).time_to_idle(REMEMBERED_FOR).build();
        Self { db: applier.db.clone(), api, instance, applier, flights: Arc::default(), answers }
    }

    /// How many requests are under way.
    pub fn under_way(&self) -> usize {
        self.flights.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Looks, asks, and looks again until somebody is there, it is certain that nobody will be, or `wait` is over.
    ///
    /// # Errors
    /// What the database says.
    pub async fn ensure(&self, clerk_id: &str, wait: Duration) -> Result<Ensured, EnsureError> {
        let started = Instant::now();
        loop {
            if let Some(settled) = self.look(clerk_id).await? {
                return Ok(settled);
            }
            let (wait, answer) = match self.answer(clerk_id).await? {
                Asked::Answered(answer @ (Ensured::Live | Ensured::Deleted | Ensured::Refused(_))) => {
                    return Ok(answer);
                }
                Asked::Answered(answer) => (wait, answer),
                Asked::Refreshing(why) => (wait.max(REFRESHED_WITHIN), Ensured::Unanswered(why)),
            };
            if started.elapsed() >= wait {
                return Ok(answer);
            }
            tokio::time::sleep(LOOK.min(wait)).await;
        }
    }

    /// What our rows say, if they say anything for certain.
    async fn look(&self, clerk_id: &str) -> Result<Option<Ensured>, DbErr> {
        let rows = Stmt::new(
            &self.db.read,
            "select coalesce(s.deleted, false) as deleted, u.id is not null as live from (select ",
        )
        .val(clerk_id)
        .dialect("::text as k) r", " as k) r")
        .sql(
            " left join clerk_sync.subjects s on s.kind = 'user' and s.key = r.k
                left join clerk_sync.users u on u.clerk_id = r.k and u.status <> 'deleted'",
        )
        .all(&self.db.read)
        .await?;
        let Some(row) = rows.first() else { return Ok(None) };
        Ok(match (row.try_get::<bool>("", "live")?, row.try_get::<bool>("", "deleted")?) {
            (true, _) => Some(Ensured::Live),
            (false, true) => Some(Ensured::Deleted),
            (false, false) => None,
        })
    }

    /// What Clerk said a moment ago, else what it says now.
    async fn answer(&self, clerk_id: &str) -> Result<Asked, EnsureError> {
        let before = self.answers.get(clerk_id);
        if let Some(known) = before.as_ref().filter(|known| known.at.elapsed() < known.lasts()) {
            return Ok(known.asked.clone());
        }
        self.fly(clerk_id).await
    }

    /// Asks Clerk, together with whoever is asking for the same person.
    async fn fly(&self, clerk_id: &str) -> Result<Asked, EnsureError> {
        let waiter = {
            let mut flights = self.flights.lock().unwrap_or_else(PoisonError::into_inner);
            let shelf = flights.entry(clerk_id.to_owned()).or_insert_with(|| {
                let (this, id) = (self.clone(), clerk_id.to_owned());
                Shelf { flight: async move { this.ask(&id).await }.boxed().shared(), waiters: 0 }
            });
            shelf.waiters += 1;
            Waiter { flights: &self.flights, clerk_id, flight: shelf.flight.clone() }
        };
        waiter.flight.clone().await
    }

    /// Asks Clerk and remembers the answer.
    async fn ask(&self, clerk_id: &str) -> Result<Asked, EnsureError> {
        let asked = self.fetch(clerk_id).await?;
        let times = self.answers.get(clerk_id).map_or(1, |before| before.times.saturating_add(1));
        self.answers.insert(clerk_id.to_owned(), Remembered { asked: asked.clone(), at: Instant::now(), times });
        Ok(asked)
    }

    async fn fetch(&self, clerk_id: &str) -> Result<Asked, EnsureError> {
        let answered = |answer| Ok(Asked::Answered(answer));
        let Some(api) = &self.api else {
            let why = "Clerk cannot be asked: set clerk.secret_key (CLERK_SECRET_KEY)";
            return answered(Ensured::Unanswered(why.into()));
        };
        if let Err(error) = self.instance.check(PATIENCE).await {
            return match error {
                InstanceError::Unanswered(error) => answered(Ensured::Unanswered(error.to_string())),
                error => {
                    tracing::error!(%error, "nobody is ensured");
                    answered(Ensured::Unanswered("the secret key is of another instance of Clerk".into()))
                }
            };
        }
        let object = match api.user(clerk_id, PATIENCE).await {
            Ok(Some(object)) => object,
            Ok(None) => return answered(Ensured::Unknown),
            Err(error @ ApiError::Refused { .. }) => {
                tracing::debug!(%error, "Clerk refuses to look for somebody");
                return answered(Ensured::Unknown);
            }
            Err(error) => return answered(Ensured::Unanswered(error.to_string())),
        };
        let report = self.applier.apply(vec![stored(Kind::User, &object)], Origin::Ensure, false).await?;
        let Some(applied) = report.applied.first() else { return answered(Ensured::Unknown) };
        let reason = || applied.outcome.reason.clone().unwrap_or_else(|| applied.outcome.outcome.to_owned());
        answered(match applied.outcome.state {
            // Stale: somebody newer is known, and their row is there, or is being refused.
            State::Done | State::Skipped => self.look(clerk_id).await?.unwrap_or_else(|| Ensured::Refused(reason())),
            State::Pending => return Ok(Asked::Refreshing(reason())),
            _ => Ensured::Refused(reason()),
        })
    }
}
