//! How many frames a client may send: a bucket that fills steadily and holds a burst.

use tokio::time::Instant;

/// Frames a second, over time.
const STEADY: f64 = 50.0;

/// Frames at once.
const BURST: f64 = 100.0;

/// One client's bucket.
#[derive(Debug)]
pub(super) struct Rate {
    left: f64,
    at: Instant,
}

impl Rate {
    /// A full bucket.
    pub(super) fn new(now: Instant) -> Self {
        Self { left: BURST, at: now }
    }

    /// Whether one more frame is allowed; if so it is counted.
    pub(super) fn allows(&mut self, now: Instant) -> bool {
        self.left = BURST.min(self.left + STEADY * now.duration_since(self.at).as_secs_f64());
        self.at = now;
        let allowed = self.left >= 1.0;
        if allowed {
            self.left -= 1.0;
        }
        allowed
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_burst_then_a_steady_rate() {
        let start = Instant::now();
        let mut rate = Rate::new(start);
        assert_eq!((0..150).filter(|_| rate.allows(start)).count(), 100);
        assert_eq!((0..150).filter(|_| rate.allows(start + Duration::from_secs(1))).count(), 50);
    }
}
