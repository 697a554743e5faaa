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

/// The longest that settings are taken for in calculations: 1,000 years. No sum with the present leaves the calendar.
const LONGEST: std::time::Duration = std::time::Duration::from_secs(1_000 * 365 * 24 * 60 * 60);

/// Returns a duration for calculations with [`Time`], 1,000 years at most. The only conversion there is: a test fails for
/// another one, since a sum that leaves the calendar panics.
pub fn span(duration: std::time::Duration) -> chrono::Duration {
    chrono::Duration::from_std(duration.min(LONGEST)).unwrap_or_default()
}

/// Returns the moment `by` after `time`; the last moment there is, where the calendar ends before.
pub fn later(time: Time, by: std::time::Duration) -> Time {
    shifted(time, span(by))
}

/// Returns the moment `by` before `time`; the first moment there is, where the calendar begins after.
pub fn earlier(time: Time, by: std::time::Duration) -> Time {
    shifted(time, -span(by))
}

/// Returns the moment `by` after `time`, before it for a negative `by`. Where the calendar ends, the end: times that come
/// with an event may lie anywhere in it.
pub fn shifted(time: Time, by: chrono::Duration) -> Time {
    let end = if by < chrono::Duration::zero() { Time::MIN_UTC } else { Time::MAX_UTC };
    time.checked_add_signed(by).unwrap_or(end)
}

/// `2026-11-21T09:30:00.000Z`: how times leave us.
pub fn rfc3339(time: Time) -> String {
    time.to_rfc3339_opts(chrono::SecondsFormat::Millis, true)
}
