//! Whether deliveries crowd in. Clerk gives up on an answer after 15 s and comes again minutes later; what is stored can
//! wait. So while many deliveries come at a time, applying them gives way to storing them.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

/// A group of fewer is no crowd: one sender after the other.
const MANY: usize = 8;
/// A crowd of which nothing was heard for this long is over.
const OVER: Duration = Duration::from_millis(10);
/// How often it is looked whether it is.
const LOOK: Duration = Duration::from_millis(2);
/// The longest that anybody gives way at a time.
const LONGEST: Duration = Duration::from_millis(250);

/// Shared by the one who stores and those who apply, in one process. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Crowd {
    since: Instant,
    /// When many were last stored together, in milliseconds since then; 0: never.
    last: Arc<AtomicU64>,
}

impl Crowd {
    pub(super) fn new() -> Self {
        Self { since: Instant::now(), last: Arc::default() }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX).max(1)
    }

    /// So many were stored together.
    pub fn stored(&self, rows: usize) {
        if rows >= MANY {
            self.last.store(self.now(), Ordering::Relaxed);
        }
    }

    fn is_there(&self) -> bool {
        let last = self.last.load(Ordering::Relaxed);
        last > 0 && Duration::from_millis(self.now().saturating_sub(last)) < OVER
    }

    /// Returns when the crowd is over; at the latest after half the time that the caller has just worked for, so that two
    /// thirds of the time are theirs however long the crowd lasts.
    pub async fn give_way(&self, worked: Duration) {
        let (started, most) = (Instant::now(), (worked / 2).min(LONGEST));
        while started.elapsed() < most && self.is_there() {
            tokio::time::sleep(LOOK).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn waited(crowd: &Crowd, worked: u64) -> Duration {
        let started = Instant::now();
        crowd.give_way(Duration::from_millis(worked)).await;
        started.elapsed()
    }

    #[tokio::test]
    async fn nobody_waits_without_a_crowd_and_nobody_for_ever_with_one() {
        let crowd = Crowd::new();
        let at_once = Duration::from_millis(20);
        assert!(waited(&crowd, 1_000).await < at_once);
        crowd.stored(MANY - 1);
        assert!(waited(&crowd, 1_000).await < at_once, "a few are no crowd");
        let (storing, stop) = (crowd.clone(), tokio_util::sync::CancellationToken::new());
        let stopped = stop.clone();
        tokio::spawn(async move {
            while !stopped.is_cancelled() {
                storing.stored(MANY);
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        });
        tokio::time::sleep(Duration::from_millis(10)).await;
        let waits = waited(&crowd, 200).await;
        assert!((90..230).contains(&waits.as_millis()), "half as long as the work: {waits:?}");
        let waits = waited(&crowd, 10_000).await;
        assert!((240..800).contains(&waits.as_millis()), "and never long: {waits:?}");
        stop.cancel();
        tokio::time::sleep(OVER * 3).await;
        assert!(waited(&crowd, 1_000).await < at_once, "it is over");
    }
}
