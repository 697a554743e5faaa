//! Whether deliveries crowd in. Clerk gives up on an answer after 15 s and comes again minutes later; what is stored can
//! wait. So while many deliveries come at a time, applying them gives way to storing them, and while much is being applied,
//! targets that are dear to write give way to that.

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
/// The longest that anybody gives way to it at a time.
const LONGEST: Duration = Duration::from_millis(250);
/// A batch of fewer is applied in no time.
const BULK: usize = 128;
/// Longer than one batch and the pause after it take.
const APPLIED: Duration = Duration::from_millis(750);

/// Shared by the one who stores, those who apply and those who hand on, in one process. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Crowd {
    since: Instant,
    /// When many were last stored together, in milliseconds since then; 0: never.
    stored: Arc<AtomicU64>,
    /// When many were last being applied together.
    applied: Arc<AtomicU64>,
}

impl Crowd {
    pub(super) fn new() -> Self {
        Self { since: Instant::now(), stored: Arc::default(), applied: Arc::default() }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX).max(1)
    }

    /// So many were stored together.
    pub fn stored(&self, rows: usize) {
        if rows >= MANY {
            self.stored.store(self.now(), Ordering::Relaxed);
        }
    }

    /// So many are being applied together, or have just been.
    pub fn applied(&self, rows: usize) {
        if rows >= BULK {
            self.applied.store(self.now(), Ordering::Relaxed);
        }
    }

    fn is_recent(&self, last: &AtomicU64, within: Duration) -> bool {
        let last = last.load(Ordering::Relaxed);
        last > 0 && Duration::from_millis(self.now().saturating_sub(last)) < within
    }

    fn is_there(&self) -> bool {
        self.is_recent(&self.stored, OVER)
    }

    /// Returns once nothing is applied in bulk, at the latest after this.
    pub async fn applied_all(&self, most: Duration) {
        let started = Instant::now();
        while started.elapsed() < most && self.is_recent(&self.applied, APPLIED) {
            tokio::time::sleep(LOOK * 10).await;
        }
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

    #[tokio::test]
    async fn what_is_dear_waits_for_a_bulk_to_be_applied_but_not_for_ever() {
        let crowd = Crowd::new();
        let waited = async |most: u64| {
            let started = Instant::now();
            crowd.applied_all(Duration::from_millis(most)).await;
            started.elapsed().as_millis()
        };
        crowd.applied(BULK - 1);
        assert!(waited(5_000).await < 20, "a few are no bulk");
        crowd.applied(BULK);
        assert!((90..600).contains(&waited(100).await), "at most so long");
        crowd.applied(BULK);
        assert!((600..4_000).contains(&waited(5_000).await), "until nothing was heard of it for a while");
        assert!(waited(5_000).await < 20);
    }
}
