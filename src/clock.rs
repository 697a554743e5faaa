//! Time and ids as things that are passed in, so that tests decide what they are.

use std::{fmt, sync::Arc};

use chrono::{DateTime, SubsecRound, Utc};
use uuid::Uuid;

/// A moment, UTC. Stored and shown to the millisecond.
pub type Time = DateTime<Utc>;

/// Where "now" and new ids come from.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> Time + Send + Sync>);

impl Clock {
    /// The machine's clock.
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the machine's clock")]
    pub fn system() -> Self {
        Self(Arc::new(Utc::now))
    }

    /// A clock that tells what `read` tells.
    pub fn from_fn(read: impl Fn() -> Time + Send + Sync + 'static) -> Self {
        Self(Arc::new(read))
    }

    /// The present moment, to the millisecond.
    pub fn now(&self) -> Time {
        (self.0)().trunc_subsecs(3)
    }

    /// A new time-ordered id (UUIDv7) of this clock's moment.
    pub fn new_id(&self) -> Uuid {
        let now = (self.0)();
        let seconds = u64::try_from(now.timestamp()).unwrap_or(0);
        Uuid::new_v7(uuid::Timestamp::from_unix(uuid::NoContext, seconds, now.timestamp_subsec_nanos()))
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock")
    }
}

/// The moment `ms` milliseconds after 1970, if a calendar can hold it.
pub fn from_millis(ms: i64) -> Option<Time> {
    DateTime::from_timestamp_millis(ms)
}

/// `2026-11-21T09:30:00.000Z`: how times leave us.
pub fn rfc3339(time: Time) -> String {
    time.to_rfc3339_opts(chrono::SecondsFormat::Millis, true)
}
