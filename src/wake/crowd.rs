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

    /// However busy the machine is, that is for ever.
    const FOR_EVER: Duration = Duration::from_secs(20);

    #[test]
    fn a_few_are_neither_a_crowd_nor_a_bulk() {
        let crowd = Crowd::new();
        crowd.stored(MANY - 1);
        crowd.applied(BULK - 1);
        assert!(!crowd.is_there() && !crowd.is_recent(&crowd.applied, FOR_EVER));
        crowd.stored(MANY);
        crowd.applied(BULK);
        assert!(crowd.is_recent(&crowd.stored, FOR_EVER) && crowd.is_recent(&crowd.applied, FOR_EVER));
        std::thread::sleep(OVER * 2);
        assert!(!crowd.is_there(), "it is over");
    }

    #[tokio::test]
    async fn nobody_waits_for_ever_for_a_crowd_that_does_not_end() {
        let (crowd, stop) = (Crowd::new(), tokio_util::sync::CancellationToken::new());
        let (storing, stopped) = (crowd.clone(), stop.clone());
        // On a thread of its own: a busy machine may hold up a task for longer than a crowd's silence.
        let thread = std::thread::spawn(move || {
            while !stopped.is_cancelled() {
                storing.stored(MANY);
                storing.applied(BULK);
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        tokio::time::sleep(Duration::from_millis(20)).await;
        let started = Instant::now();
        crowd.give_way(Duration::from_secs(3_600)).await;
        crowd.applied_all(Duration::from_millis(100)).await;
        let waited = started.elapsed();
        assert!(waited >= Duration::from_millis(90) && waited < FOR_EVER, "{waited:?}");
        stop.cancel();
        thread.join().unwrap();
    }

    #[tokio::test]
    async fn what_is_dear_goes_on_once_the_bulk_is_applied() {
        let (crowd, started) = (Crowd::new(), Instant::now());
        crowd.applied(BULK);
        crowd.applied_all(FOR_EVER * 2).await;
        let waited = started.elapsed();
        assert!(waited >= APPLIED - Duration::from_millis(50) && waited < FOR_EVER, "{waited:?}");
    }
}
