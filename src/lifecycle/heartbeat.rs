//! Heartbeats of long-lived loops. A loop calls [`beat`] when a turn begins and [`rest`] when it waits for work; a turn
//! that lasts longer than the loop's limit means that the loop is stalled. A loop that rests is never stalled.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::time::Instant;

tokio::task_local! {
    static CURRENT: Heartbeat;
}

/// What a stalled loop means for the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Need {
    /// The process works, but something lags behind.
    Degrades,
    /// The process cannot do its work.
    Required,
}

/// A loop as it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Turn {
    /// The loop's name, such as `applier` or `relay:cache:redis`.
    pub name: Arc<str>,
    /// What a stall means.
    pub need: Need,
    /// Whether the present turn lasts longer than the limit.
    pub stalled: bool,
    /// How long ago the last turn began; `None` before the first.
    pub since: Option<Duration>,
}

/// The loops of a process. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Heartbeats {
    beats: Arc<Mutex<Vec<Heartbeat>>>,
    start: Instant,
}

/// One loop's heartbeat. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Heartbeat(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    name: Arc<str>,
    limit: Duration,
    need: Need,
    start: Instant,
    /// Milliseconds from `start` to the beginning of the last turn, plus one; 0 before the first.
    last: AtomicU64,
    /// The same while a turn is under way, else 0.
    working: AtomicU64,
}

impl Default for Heartbeats {
    fn default() -> Self {
        Self { beats: Arc::default(), start: Instant::now() }
    }
}

impl Heartbeats {
    /// Registers a loop, one of whose turns may last `limit`. Several heartbeats may share a name.
    pub fn register(&self, name: &str, limit: Duration, need: Need) -> Heartbeat {
        let heartbeat = Heartbeat(Arc::new(Inner {
            name: name.into(),
            limit,
            need,
            start: self.start,
            last: AtomicU64::new(0),
            working: AtomicU64::new(0),
        }));
        self.beats.lock().unwrap_or_else(PoisonError::into_inner).push(heartbeat.clone());
        heartbeat
    }

    /// Returns every loop by name. Of heartbeats with one name, the stalled one counts.
    pub fn turns(&self) -> Vec<Turn> {
        self.turns_at(Instant::now())
    }

    fn turns_at(&self, now: Instant) -> Vec<Turn> {
        let beats = self.beats.lock().unwrap_or_else(PoisonError::into_inner);
        let mut turns: BTreeMap<Arc<str>, Turn> = BTreeMap::new();
        for turn in beats.iter().map(|beat| beat.turn(now)) {
            turns
                .entry(turn.name.clone())
                .and_modify(|known| {
                    known.need = known.need.max(turn.need);
                    known.stalled |= turn.stalled;
                    known.since = known.since.into_iter().chain(turn.since).min();
                })
                .or_insert(turn);
        }
        turns.into_values().collect()
    }
}

impl Heartbeat {
    /// A turn begins.
    pub fn beat(&self) {
        self.beat_at(Instant::now());
    }

    fn beat_at(&self, now: Instant) {
        let at = self.since_start(now);
        self.0.last.store(at, Relaxed);
        self.0.working.store(at, Relaxed);
    }

    /// The loop waits for work.
    pub fn rest(&self) {
        self.0.working.store(0, Relaxed);
    }

    /// Runs a loop whose [`beat`] and [`rest`] are this heartbeat's.
    pub async fn scope<T>(self, work: impl Future<Output = T>) -> T {
        CURRENT.scope(self, work).await
    }

    /// Milliseconds from the start, plus one.
    fn since_start(&self, now: Instant) -> u64 {
        u64::try_from(now.duration_since(self.0.start).as_millis()).unwrap_or(u64::MAX - 1) + 1
    }

    fn turn(&self, now: Instant) -> Turn {
        let (now, last, working) = (self.since_start(now), self.0.last.load(Relaxed), self.0.working.load(Relaxed));
        let ago = |at: u64| (at > 0).then(|| Duration::from_millis(now.saturating_sub(at)));
        Turn {
            name: self.0.name.clone(),
            need: self.0.need,
            stalled: ago(working).is_some_and(|age| age > self.0.limit),
            since: ago(last),
        }
    }
}

/// A turn of the present task's loop begins. Does nothing outside [`Heartbeat::scope`], as in commands and tests.
pub fn beat() {
    let _ = CURRENT.try_with(Heartbeat::beat);
}

/// The present task's loop waits for work.
pub fn rest() {
    let _ = CURRENT.try_with(Heartbeat::rest);
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(30);

    #[tokio::test]
    async fn a_turn_that_lasts_too_long_is_a_stall_and_rest_is_none() {
        let heartbeats = Heartbeats::default();
        let applier = heartbeats.register("applier", LIMIT, Need::Degrades);
        let progress = heartbeats.register("applier", LIMIT, Need::Required);
        heartbeats.register("tail", LIMIT, Need::Degrades);
        let now = heartbeats.start;
        let stalled = |after: Duration| {
            heartbeats.turns_at(now + after).into_iter().filter(|turn| turn.stalled).collect::<Vec<_>>()
        };
        assert_eq!((heartbeats.turns().len(), stalled(LIMIT * 9).len()), (2, 0), "nothing has begun");
        applier.beat_at(now);
        assert_eq!(stalled(LIMIT), []);
        let found = stalled(LIMIT + Duration::from_millis(2));
        assert_eq!(
            found.iter().map(|turn| (&*turn.name, turn.need)).collect::<Vec<_>>(),
            [("applier", Need::Required)]
        );
        applier.clone().scope(async { rest() }).await;
        assert_eq!(stalled(LIMIT * 9), [], "it rests");
        progress.beat_at(now + LIMIT);
        assert_eq!((stalled(LIMIT * 2).len(), stalled(LIMIT * 3).len()), (0, 1), "either may stall");
        progress.rest();
        applier.scope(async { beat() }).await;
        assert_eq!(stalled(LIMIT * 9).len(), 1, "a beat of the task is the loop's");
        // Outside a loop nothing is counted.
        beat();
        rest();
    }
}
