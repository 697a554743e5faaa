//! The cache seam: JSON texts of users under string keys, each with the `rev` of the row it shows.
//!
//! The promise: **a key never answers an older row than was already answered for it.** Under a key stands a row, a
//! deletion marker (5 minutes) or a lease (30 seconds), and whatever stands there may vanish at any time.
//! - A miss leaves a lease, or gets the one that stands; it ends 30 seconds after it was first given. A row that was
//!   loaded after a miss is taken while that lease stands: nothing was answered since the lease was given, so it is at
//!   least as new as all that was. The first row that is taken ends the lease; the other holders' then go by rev.
//! - What is offered and not stored (there is no row; or the lease that stands is another) raises the floor of the lease
//!   that stands, and a row below its floor is refused. So nothing older comes after an absence that was answered, nor
//!   after a row that was offered and answered by somebody who was not told of the refusal.
//! - Everything else goes by rev. At the same rev a deletion wins.
//!
//! And **nothing is answered that is older than what this process has seen of the change feed** ([`Watermarks`]). Beside
//! its rev an entry has the seq as of which it is known to be current; where that is below the key's watermark, the entry
//! counts as a miss until it is loaded again. So an entry of an unchanged row is loaded once, and is current
//! from then on. A row lives for a minute at most, because quiet fields change without a row in the feed.
//!
//! The contract for readers: **offer, then answer; whose offer is refused, asks again.** An answer after a hit, or after
//! an offer that was taken, is never older than one already given. [`Cache::read_through`] does all that.
//!
//! What the seam cannot see, its callers owe: rows are loaded from one database, after the miss; a [`Lookup::Gone`] is an
//! answer, not a reason to load; the sink loads and writes without dwelling between the two (its write needs no lease, so
//! a row that it held while a newer one was filled, answered and evicted would come back until its next message).

mod local;
mod probe;
mod redis;
mod through;
mod watermarks;

use std::{fmt, ops::Deref, sync::Arc, time::Duration};

use uuid::Uuid;

use crate::{
    clock::{Clock, Time},
    config,
};

pub use self::{local::Local, probe::Server, redis::Redis, through::Loaded, watermarks::Watermarks};

/// How long a reader may take from its miss to its offer.
const LEASE: Duration = Duration::from_secs(30);

/// How long a row is served after it was read from the database, whatever `cache.ttl` says. Quiet fields
/// (`last_sign_in_at`) may be 60 s old; the rest is for the time that a sink's write takes.
const ROW_MAX: Duration = Duration::from_secs(55);

/// How long a deletion keeps older rows out.
const MARKER: Duration = Duration::from_secs(300);

/// The cache. Cheap to clone.
#[derive(Debug, Clone)]
pub enum Cache {
    /// In this process.
    Local(Local),
    /// In Redis, shared by all replicas.
    Redis(Redis),
}

/// The cache cannot answer. The text names no key, value or address; everything but `Address` may pass by itself.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CacheError {
    /// `redis.url` cannot be used. Only [`Cache::new`] says so.
    #[error("redis.url is not the address of a Redis server")]
    Address,
    /// It failed within the last two seconds and was not asked. Not worth a log line: the failure itself was told.
    #[error("the cache failed a moment ago and is left alone")]
    Unavailable,
    /// It did not answer within a second.
    #[error("the cache does not answer in time")]
    TimedOut,
    /// It cannot be reached or refuses.
    // No `#[source]`: the driver's errors quote the replies they stumble over, and those are people's rows.
    #[error("the cache failed: {0}")]
    Failed(String),
}

/// The JSON text of a user. `Debug` tells only how long it is.
#[derive(Clone, PartialEq, Eq)]
pub struct Json(Arc<str>);

/// What stands under a key.
#[derive(Debug, PartialEq, Eq)]
pub enum Lookup {
    /// A row.
    Hit {
        /// The outbox seq that last wrote it.
        rev: i64,
        /// The row.
        json: Json,
    },
    /// The row was deleted a short while ago.
    Gone {
        /// The rev that the deletion was told with.
        rev: i64,
    },
    /// Nothing. Load the row, offer it with [`Cache::fill`], then answer it, or ask again if it was refused.
    Miss(Lease),
    /// A row that may be older than what this process has seen of the feed. As a [`Lookup::Miss`] for readers.
    Stale(Lease),
}

/// The right to offer a row after a miss. Readers that miss together have the same token; of a stale entry there is none,
/// and the offer goes by rev.
#[derive(Debug)]
pub struct Lease {
    key: String,
    token: Uuid,
    /// When it was given. What is offered for it was read from the database later.
    since: Time,
    /// What is offered for it is current as of this seq.
    as_of: i64,
}

impl PartialEq for Lease {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key && self.token == other.token
    }
}

impl Eq for Lease {}

impl Lease {
    fn new(key: &str, token: Uuid, clock: &Clock, watermarks: &Watermarks) -> Self {
        Self { key: key.to_owned(), token, since: clock.now(), as_of: watermarks.horizon(key) }
    }

    /// How much longer a row that was read since then may be served, of `ttl`.
    fn left(&self, ttl: Duration, now: Time) -> Duration {
        ttl.saturating_sub((now - self.since).to_std().unwrap_or_default())
    }
}

/// How long a row is served.
fn row_life(config: &config::Cache) -> Duration {
    config.ttl.min(ROW_MAX)
}

/// The key under which a user stands, by our id or Clerk's.
pub fn user_key(id: &impl fmt::Display) -> String {
    format!("user:{id}")
}

/// What a sink writes under a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The key.
    pub key: String,
    /// As in [`Cache::put`] and [`Cache::remove`]. Never negative.
    pub rev: i64,
    /// The row; `None` removes it.
    pub json: Option<Json>,
}

impl Cache {
    /// Redis where `redis.url` is set, else memory of this process. Connects on first use; call it within a Tokio runtime.
    ///
    /// # Errors
    /// [`CacheError::Address`].
    pub fn new(cache: &config::Cache, redis: &config::Redis, clock: Clock) -> Result<Self, CacheError> {
        if redis.url.is_empty() {
            return Ok(Self::Local(Local::new(cache, clock)));
        }
        Redis::new(cache, redis, clock).map(Self::Redis)
    }

    /// The marks below which entries of this process's cache are stale. Its tail raises them.
    pub fn watermarks(&self) -> &Watermarks {
        match self {
            Self::Local(local) => &local.watermarks,
            Self::Redis(redis) => redis.watermarks(),
        }
    }

    /// What stands under `key`. A miss leaves a lease there, or gets that of a reader who missed before.
    ///
    /// # Errors
    /// When the cache cannot answer; then answer from the database and offer nothing.
    pub async fn get(&self, key: &str) -> Result<Lookup, CacheError> {
        match self {
            Self::Local(local) => Ok(local.get(key)),
            Self::Redis(redis) => redis.get(key).await,
        }
    }

    /// Offers the row that was loaded after a miss, before it is answered. `Ok(false)`: refused, because neither the lease
    /// nor a row of the same or a lower `rev` stands under the key, or something newer is known. Then ask again.
    ///
    /// `None` says that there is no row: nothing is stored, a lease stays with `rev` as its floor, a row up to `rev` goes,
    /// and a deletion marker stays as that of the higher rev. `rev` is then that of the emptied row, or, where no row is
    /// left, the outbox head of the snapshot that was read.
    ///
    /// # Errors
    /// When the cache cannot answer. The row can be answered all the same.
    pub async fn fill(&self, lease: Lease, rev: i64, json: Option<Json>) -> Result<bool, CacheError> {
        match self {
            Self::Local(local) => Ok(local.fill(&lease, rev, json)),
            Self::Redis(redis) => redis.fill(&lease, rev, json).await,
        }
    }

    /// Writes a row with its `rev`. `Ok(false)`: refused, because a higher rev is known, or a deletion of the same.
    ///
    /// # Errors
    /// When the cache cannot answer; it may have been written.
    pub async fn put(&self, key: &str, rev: i64, json: impl Into<Json>) -> Result<bool, CacheError> {
        self.put_one(Entry { key: key.to_owned(), rev, json: Some(json.into()) }).await
    }

    /// Leaves a deletion marker. `rev` is that of the emptied row, or, where no row is left, the outbox head of the
    /// snapshot that was read. `Ok(false)`: refused, because a higher rev is known.
    ///
    /// # Errors
    /// When the cache cannot answer; it may have been removed.
    pub async fn remove(&self, key: &str, rev: i64) -> Result<bool, CacheError> {
        self.put_one(Entry { key: key.to_owned(), rev, json: None }).await
    }

    async fn put_one(&self, entry: Entry) -> Result<bool, CacheError> {
        Ok(self.put_many(&[entry]).await?.first() == Some(&true))
    }

    /// Puts and removes, in order, in one round trip; how many is the caller's to bound. Tells of each whether it was taken.
    ///
    /// # Errors
    /// When the cache cannot answer; then any of them may have been written.
    pub async fn put_many(&self, entries: &[Entry]) -> Result<Vec<bool>, CacheError> {
        match self {
            Self::Local(local) => Ok(entries.iter().map(|entry| local.write(entry)).collect()),
            Self::Redis(_) if entries.is_empty() => Ok(Vec::new()),
            Self::Redis(redis) => redis.write(entries).await,
        }
    }

    /// Whether anything may stand under `key`, a lease included. Where nothing does, nothing need be written: whoever asks
    /// next loads the row from the database, and that is no older than the change that was not written. Redis is not
    /// asked, and may hold anything.
    pub fn may_hold(&self, key: &str) -> bool {
        match self {
            Self::Local(local) => local.holds(key),
            Self::Redis(_) => true,
        }
    }

    /// Drops whatever stands under `key`, as want of memory might at any time.
    ///
    /// # Errors
    /// When the cache cannot answer.
    pub async fn evict(&self, key: &str) -> Result<(), CacheError> {
        match self {
            Self::Local(local) => local.evict(key),
            Self::Redis(redis) => redis.evict(key).await?,
        }
        Ok(())
    }

    /// Drops everything of ours. What others write meanwhile may stay.
    ///
    /// # Errors
    /// When the cache stops answering on the way; part of it is then dropped.
    pub async fn clear(&self) -> Result<(), CacheError> {
        match self {
            Self::Local(local) => local.clear(),
            Self::Redis(redis) => redis.clear().await?,
        }
        Ok(())
    }

    /// Whether it answers.
    ///
    /// # Errors
    /// When it does not.
    pub async fn ping(&self) -> Result<(), CacheError> {
        match self {
            Self::Local(_) => Ok(()),
            Self::Redis(redis) => redis.ping().await,
        }
    }
}

impl<T: Into<Arc<str>>> From<T> for Json {
    fn from(text: T) -> Self {
        Self(text.into())
    }
}

impl Deref for Json {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Json({} bytes)", self.0.len())
    }
}
