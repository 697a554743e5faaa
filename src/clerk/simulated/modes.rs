//! How a simulated API behaves, set while it runs, and what was asked of it. Cloning gives another handle to the same.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use super::{endpoints::Endpoint, failures::Failure, world::World};

/// What requests are counted over, ms; also the window of the rate limit.
pub(super) const WINDOW: i64 = 10_000;

type Hook = Box<dyn FnMut(&World) + Send>;

/// A handle.
#[derive(Clone, Default)]
pub struct Modes(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    latency: (Duration, Duration),
    script: VecDeque<(Option<Endpoint>, Failure)>,
    /// The probability that a request fails, and in what ways.
    chance: (f64, Vec<Failure>),
    rate: Option<u32>,
    /// When the window began (ms), and how many requests it has let through.
    window: Option<(i64, u32)>,
    freshness: Duration,
    key: Option<String>,
    refuse_limits: bool,
    deleted_cursors: bool,
    /// Answers still to be given before it runs, and whether it then begins anew.
    hooks: Vec<(u64, Option<u64>, Hook)>,
    counts: Counts,
    recent: VecDeque<i64>,
    random: Random,
}

struct Random(fastrand::Rng);

impl Default for Random {
    /// The same numbers each time, so that a failing test fails again.
    fn default() -> Self {
        Self(fastrand::Rng::with_seed(0x0c1e_4f00))
    }
}

/// What was asked so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    /// Requests by endpoint, whatever became of them.
    pub requests: BTreeMap<Endpoint, u64>,
    /// Answers by status. What ended without an answer counts as 0.
    pub statuses: BTreeMap<u16, u64>,
    /// The most ids that one request asked for.
    pub most_ids: usize,
    /// The most requests within any ten seconds.
    pub peak: usize,
}

impl Counts {
    /// All requests.
    pub fn total(&self) -> u64 {
        self.requests.values().sum()
    }

    /// Those to one endpoint.
    pub fn of(&self, endpoint: Endpoint) -> u64 {
        self.requests.get(&endpoint).copied().unwrap_or(0)
    }

    /// Answers with one status.
    pub fn answered(&self, status: u16) -> u64 {
        self.statuses.get(&status).copied().unwrap_or(0)
    }
}

/// What the endpoints have to know.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rules {
    /// People created after this (ms) are not there yet.
    pub(super) readable: i64,
    pub(super) refuse_limits: bool,
    pub(super) deleted_cursors: bool,
}

impl Modes {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Every answer comes after `least`, and up to `jitter` later.
    pub fn set_latency(&self, least: Duration, jitter: Duration) {
        self.inner().latency = (least, jitter);
    }

    /// The next requests fail so, one after the other.
    pub fn fail_next(&self, failures: impl IntoIterator<Item = Failure>) {
        self.inner().script.extend(failures.into_iter().map(|failure| (None, failure)));
    }

    /// The next requests to one endpoint fail so.
    pub fn fail_next_of(&self, endpoint: Endpoint, failures: impl IntoIterator<Item = Failure>) {
        self.inner().script.extend(failures.into_iter().map(|failure| (Some(endpoint), failure)));
    }

    /// From now on this share of all requests (0 to 1) fails in one of these ways. 1 is an outage, 0 its end.
    pub fn fail_share(&self, share: f64, failures: impl IntoIterator<Item = Failure>) {
        self.inner().chance = (share, failures.into_iter().collect());
    }

    /// At most so many requests in ten seconds; `None` for no limit. Clerk has 1000 in production and 100 in development;
    /// `/jwks` is never limited.
    pub fn set_rate_limit(&self, requests: Option<u32>) {
        let mut inner = self.inner();
        inner.rate = requests;
        inner.window = None;
    }

    /// People created less than this ago are not found and not listed.
    pub fn set_freshness(&self, age: Duration) {
        self.inner().freshness = age;
    }

    /// The secret key that requests have to bring; `None` takes any.
    pub fn set_key(&self, key: Option<&str>) {
        self.inner().key = key.map(str::to_owned);
    }

    /// Whether a `limit` out of bounds is refused instead of taken for 10.
    pub fn refuse_limits(&self, refuse: bool) {
        self.inner().refuse_limits = refuse;
    }

    /// Whether `starting_after` may name somebody who was deleted by name. Clerk's way is not known; refusing is what a
    /// client has to be ready for.
    pub fn deleted_cursors(&self, known: bool) {
        self.inner().deleted_cursors = known;
    }

    /// Once `requests` more requests are answered, runs `change`: before the next one sees the world.
    pub fn after_requests(&self, requests: u64, mut change: impl FnMut(&World) + Send + 'static) {
        self.inner().hooks.push((requests.max(1), None, Box::new(move |world| change(world))));
    }

    /// Runs `change` after every `requests` answers, from now on.
    pub fn every_requests(&self, requests: u64, change: impl FnMut(&World) + Send + 'static) {
        self.inner().hooks.push((requests.max(1), Some(requests.max(1)), Box::new(change)));
    }

    /// What was asked so far.
    pub fn counts(&self) -> Counts {
        self.inner().counts.clone()
    }

    /// Forgets what was asked so far.
    pub fn reset_counts(&self) {
        let mut inner = self.inner();
        inner.counts = Counts::default();
        inner.recent.clear();
    }

    /// Notes a request at `now` (ms).
    pub(super) fn asked(&self, endpoint: Endpoint, now: i64) {
        let mut inner = self.inner();
        *inner.counts.requests.entry(endpoint).or_default() += 1;
        inner.recent.push_back(now);
        while inner.recent.front().is_some_and(|at| *at <= now - WINDOW) {
            inner.recent.pop_front();
        }
        inner.counts.peak = inner.counts.peak.max(inner.recent.len());
    }

    pub(super) fn asked_ids(&self, ids: usize) {
        let mut inner = self.inner();
        inner.counts.most_ids = inner.counts.most_ids.max(ids);
    }

    /// Notes an answer, and changes the world if its turn has come. The hooks run unlocked: they may set modes.
    pub(super) fn answered(&self, status: u16, world: &World) {
        let mut hooks = {
            let mut inner = self.inner();
            *inner.counts.statuses.entry(status).or_default() += 1;
            std::mem::take(&mut inner.hooks)
        };
        hooks.retain_mut(|(left, again, hook)| {
            *left -= 1;
            if *left > 0 {
                return true;
            }
            hook(world);
            *left = again.unwrap_or(0);
            again.is_some()
        });
        let mut inner = self.inner();
        hooks.append(&mut inner.hooks);
        inner.hooks = hooks;
    }

    pub(super) fn wait(&self) -> Duration {
        let mut inner = self.inner();
        let (least, jitter) = inner.latency;
        least + jitter.mul_f64(inner.random.0.f64())
    }

    /// Whether a request has the right key: `Err` says whether it brought any.
    pub(super) fn admits(&self, authorization: Option<&str>) -> Result<(), bool> {
        let brought = authorization.and_then(|text| text.strip_prefix("Bearer "));
        match (&self.inner().key, brought) {
            (None, _) => Ok(()),
            (Some(key), Some(brought)) if key == brought => Ok(()),
            (Some(_), brought) => Err(brought.is_some()),
        }
    }

    /// Seconds to wait, if the limit is reached. A window begins with the first request after the last one ended.
    pub(super) fn limited(&self, now: i64) -> Option<u64> {
        let mut inner = self.inner();
        let rate = inner.rate?;
        let (start, used) =
            inner.window.filter(|(start, _)| (*start..start + WINDOW).contains(&now)).unwrap_or((now, 0));
        let let_through = used < rate;
        inner.window = Some((start, used + u32::from(let_through)));
        (!let_through).then(|| (start + WINDOW - now).unsigned_abs().div_ceil(1000).max(1))
    }

    /// How the next request to this endpoint fails, if it does.
    pub(super) fn failure(&self, endpoint: Endpoint) -> Option<Failure> {
        let mut inner = self.inner();
        let next = inner.script.iter().position(|(of, _)| of.is_none_or(|of| of == endpoint));
        if let Some(next) = next {
            return inner.script.remove(next).map(|(_, failure)| failure);
        }
        let (share, ways) = inner.chance.clone();
        let fails = !ways.is_empty() && inner.random.0.f64() < share;
        fails.then(|| inner.random.0.choice(&ways).cloned()).flatten()
    }

    pub(super) fn rules(&self, now: i64) -> Rules {
        let inner = self.inner();
        let age = i64::try_from(inner.freshness.as_millis()).unwrap_or(i64::MAX);
        Rules {
            readable: if age == 0 { i64::MAX } else { now.saturating_sub(age) },
            refuse_limits: inner.refuse_limits,
            deleted_cursors: inner.deleted_cursors,
        }
    }

    pub(super) fn trace(&self) -> String {
        format!("{:032x}", self.inner().random.0.u128(..))
    }
}

impl fmt::Debug for Modes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Modes")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_for_ten_seconds() {
        let modes = Modes::default();
        modes.set_rate_limit(Some(3));
        let answers: Vec<Option<u64>> =
            [1_000, 1_500, 2_000, 2_100, 10_999, 11_000, 11_001].map(|now| modes.limited(now)).to_vec();
        assert_eq!(answers, [None, None, None, Some(9), Some(1), None, None]);
    }

    #[test]
    fn the_peak_is_of_any_ten_seconds() {
        let modes = Modes::default();
        for now in [0, 5_000, 9_000, 9_999, 10_000, 14_000, 30_000] {
            modes.asked(Endpoint::Users, now);
        }
        assert_eq!(modes.counts().peak, 5, "5000 to 14000; 10000 is no longer within ten seconds of 0");
        assert_eq!((modes.counts().total(), modes.counts().of(Endpoint::Users)), (7, 7));
    }

    #[test]
    fn scripted_failures_wait_for_their_endpoint() {
        let modes = Modes::default();
        modes.fail_next_of(Endpoint::Users, [Failure::Internal]);
        modes.fail_next([Failure::Unavailable]);
        assert_eq!(modes.failure(Endpoint::Jwks), Some(Failure::Unavailable));
        assert_eq!(modes.failure(Endpoint::Jwks), None);
        assert_eq!(modes.failure(Endpoint::Users), Some(Failure::Internal));
        assert_eq!(modes.failure(Endpoint::Users), None);
        modes.fail_share(0.25, [Failure::BadGateway]);
        let failed = (0..4000).filter(|_| modes.failure(Endpoint::Users).is_some()).count();
        assert!((850..1150).contains(&failed), "{failed}");
    }
}
