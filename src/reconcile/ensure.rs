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
    sync::objects::{Applier, Origin},
};

/// How long Clerk may take for one answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// How often it is looked for again while somebody waits: by their delivery, and at Clerk.
const LOOK: Duration = Duration::from_millis(200);
const ASK: Duration = Duration::from_secs(1);

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

/// Brings people in. Cheap to clone; clones share the requests that are under way.
#[derive(Clone)]
pub struct Ensurer {
    db: Db,
    /// Clerk's API, where it can be asked.
    api: Option<Api>,
    applier: Applier,
    flights: Arc<Mutex<HashMap<String, Flight>>>,
}

impl std::fmt::Debug for Ensurer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Ensurer")
    }
}

impl Ensurer {
    /// One a process.
    pub fn new(api: Option<Api>, applier: Applier) -> Self {
        Self { db: applier.db.clone(), api, applier, flights: Arc::default() }
    }

    /// Looks, asks, and looks again until somebody is there, it is certain that nobody will be, or `wait` is over.
    ///
    /// # Errors
    /// What the database says.
    pub async fn ensure(&self, clerk_id: &str, wait: Duration) -> Result<Ensured, EnsureError> {
        let started = Instant::now();
        let mut last = None::<(Instant, Asked)>;
        loop {
            if let Some(settled) = self.look(clerk_id).await? {
                return Ok(settled);
            }
            let pause = if let Some((_, Asked::Refreshing(_))) = &last { ASK_REFRESHED } else { ASK };
            if last.as_ref().is_none_or(|(at, _)| at.elapsed() >= pause) {
                match self.fly(clerk_id).await? {
                    Asked::Answered(answer @ (Ensured::Live | Ensured::Deleted | Ensured::Refused(_))) => {
                        return Ok(answer);
                    }
                    asked => last = Some((Instant::now(), asked)),
                }
            }
            let (wait, answer) = match &last {
                None => (wait, Ensured::Unknown),
                Some((_, Asked::Answered(answer))) => (wait, answer.clone()),
                Some((_, Asked::Refreshing(why))) => (wait.max(REFRESHED_WITHIN), Ensured::Unanswered(why.clone())),
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

    /// Asks Clerk, together with whoever is asking for the same person.
    async fn fly(&self, clerk_id: &str) -> Result<Asked, EnsureError> {
        let flight = {
            let mut flights = self.flights.lock().unwrap_or_else(PoisonError::into_inner);
            match flights.get(clerk_id) {
                Some(flight) => flight.clone(),
                None => {
                    let (this, id) = (self.clone(), clerk_id.to_owned());
                    let flight = async move { this.fetch(&id).await }.boxed().shared();
                    flights.insert(clerk_id.to_owned(), flight.clone());
                    flight
                }
            }
        };
        let answer = flight.clone().await;
        let mut flights = self.flights.lock().unwrap_or_else(PoisonError::into_inner);
        if flights.get(clerk_id).is_some_and(|known| known.ptr_eq(&flight)) {
            flights.remove(clerk_id);
        }
        answer
    }

    async fn fetch(&self, clerk_id: &str) -> Result<Asked, EnsureError> {
        let answered = |answer| Ok(Asked::Answered(answer));
        let Some(api) = &self.api else {
            let why = "Clerk cannot be asked: set clerk.secret_key (CLERK_SECRET_KEY)";
            return answered(Ensured::Unanswered(why.into()));
        };
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
