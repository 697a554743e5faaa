//! Reading through the cache: the contract for readers, once for all of them.
//!
//! Invariants:
//! - A reader takes over another's load only if it joined before that was offered. What was answered before it joined is
//!   then no newer than the load, or the offer is refused.
//! - And only if that load began after this process had read every row of the feed about the key that it has read when
//!   the reader begins. So an absence, of which nothing is stored, is not answered by one that was found earlier.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::watch;

use super::{Cache, Json, Lookup};

/// How many offers a reader makes before it answers one that was refused.
const OFFERS: u32 = 4;

/// What a load found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Loaded {
    /// A row.
    Row {
        /// The outbox seq that last wrote it.
        rev: i64,
        /// The row.
        json: Json,
    },
    /// No row, or an emptied one.
    Absent {
        /// The rev of the emptied row, or, where no row is left, the outbox head of the snapshot that was read.
        head: i64,
    },
}

/// A row with its rev, or that there is none.
type Answer = Option<(i64, Json)>;

impl Loaded {
    fn answer(self) -> (i64, Answer) {
        match self {
            Self::Row { rev, json } => (rev, Some((rev, json))),
            Self::Absent { head } => (head, None),
        }
    }
}

impl Cache {
    /// The row under `key` with its rev, from the cache or else from `load`; `None`: there is none. `load` begins its read
    /// of the database when it is called, and may be called more than once. Readers in one process share a load.
    ///
    /// It is no older than what was answered before this was called, nor than what this process had seen of the change
    /// feed about the key by then ([`Watermarks`](super::Watermarks)). A reader whose offers are all refused answers the last
    /// one: that is its newest load, and, because it was offered, nothing older is stored after it. An answer that could
    /// not be offered because the cache fails has nothing to hold the key to it.
    ///
    /// # Errors
    /// Those of `load`. The cache's own are not told: they only mean that the answer is from `load`.
    // Not `AsyncFn`: the compiler does not see that the future of one that borrows may move between threads.
    pub async fn read_through<E, F>(&self, key: &str, load: impl Fn() -> F) -> Result<Option<(i64, Json)>, E>
    where
        F: Future<Output = Result<Loaded, E>>,
    {
        let (mut alone, mut offers) = (false, 0);
        let required = self.watermarks().required(key);
        loop {
            let lease = match self.get(key).await {
                Ok(Lookup::Hit { rev, json }) => return Ok(Some((rev, json))),
                Ok(Lookup::Gone { .. }) => return Ok(None),
                Ok(Lookup::Miss(lease) | Lookup::Stale(lease)) => lease,
                Err(_) => return Ok(load().await?.answer().1),
            };
            let flight = match self.flights().join(key, required, lease.as_of) {
                Joined::Leads(flight) => Some(flight),
                Joined::Follows(_) if alone => None,
                Joined::Follows(mut flight) => {
                    if let Ok(answer) = flight.wait_for(Option::is_some).await {
                        return Ok(answer.clone().flatten());
                    }
                    // Their load failed. We wait for nobody else's: a database that is down costs each of us one wait.
                    alone = true;
                    continue;
                }
            };
            let (rev, answer) = load().await?.answer();
            let followers = flight.map(Flight::close);
            offers += 1;
            match self.fill(lease, rev, answer.as_ref().map(|(_, json)| json.clone())).await {
                // Something newer may have been answered, and what comes next is at least as new.
                Ok(false) if offers < OFFERS => {}
                Ok(true) => {
                    if let Some(followers) = followers {
                        followers.send_replace(Some(answer.clone()));
                    }
                    return Ok(answer);
                }
                Ok(false) | Err(_) => return Ok(answer),
            }
        }
    }

    fn flights(&self) -> &Flights {
        match self {
            Self::Local(local) => &local.flights,
            Self::Redis(redis) => redis.flights(),
        }
    }
}

/// The loads under way in this process, at most one a key that others may join.
#[derive(Clone, Default)]
pub(super) struct Flights(Arc<Mutex<HashMap<String, Open>>>);

/// A load that can be joined.
struct Open {
    /// What it finds is current as of this seq.
    as_of: i64,
    answer: watch::Receiver<Option<Answer>>,
}

enum Joined {
    /// This reader loads.
    Leads(Flight),
    /// Somebody else does. The channel closes without an answer if theirs was not taken.
    Follows(watch::Receiver<Option<Answer>>),
}

/// A load that others may join until it is closed or dropped. Dropped, it sends those who did on their own way.
struct Flight {
    followers: watch::Sender<Option<Answer>>,
    gate: Gate,
}

/// Where others find a load. Shut when dropped.
struct Gate {
    flights: Flights,
    key: String,
    answer: watch::Receiver<Option<Answer>>,
}

impl Flights {
    /// Joins the load of `key` that is under way, if what it finds is current as of `required`; else leads one that is
    /// current as of `as_of`, and takes an older one's place.
    fn join(&self, key: &str, required: i64, as_of: i64) -> Joined {
        let mut open = self.open();
        if let Some(flight) = open.get(key).filter(|flight| flight.as_of >= required) {
            return Joined::Follows(flight.answer.clone());
        }
        let (followers, answer) = watch::channel(None);
        open.insert(key.to_owned(), Open { as_of, answer: answer.clone() });
        Joined::Leads(Flight { followers, gate: Gate { flights: self.clone(), key: key.to_owned(), answer } })
    }

    fn open(&self) -> MutexGuard<'_, HashMap<String, Open>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Flight {
    /// Nobody joins any more. Those who did are told through what this returns.
    fn close(self) -> watch::Sender<Option<Answer>> {
        drop(self.gate);
        self.followers
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        let mut open = self.flights.open();
        // A later load may have taken its place.
        if open.get(&self.key).is_some_and(|flight| flight.answer.same_channel(&self.answer)) {
            open.remove(&self.key);
        }
    }
}
