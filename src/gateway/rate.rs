//! How many frames a client may send: a bucket that fills steadily and holds a burst.

use tokio::time::Instant;

/// One client's bucket.
#[derive(Debug)]
pub(super) struct Rate {
    /// Frames a second, over time.
    steady: f64,
    /// Frames at once.
    burst: f64,
    left: f64,
    at: Instant,
}

impl Rate {
    /// A full bucket.
    pub(super) fn new(steady: u32, burst: u32, now: Instant) -> Self {
        let (steady, burst) = (f64::from(steady), f64::from(burst));
        Self { steady, burst, left: burst, at: now }
    }

    /// Whether one more frame is allowed; if so it is counted.
    pub(super) fn allows(&mut self, now: Instant) -> bool {
        self.left = self.burst.min(self.left + self.steady * now.duration_since(self.at).as_secs_f64());
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
        let mut rate = Rate::new(50, 100, start);
        assert_eq!((0..150).filter(|_| rate.allows(start)).count(), 100);
        assert_eq!((0..150).filter(|_| rate.allows(start + Duration::from_secs(1))).count(), 50);
        assert_eq!((0..500).filter(|_| rate.allows(start + Duration::from_secs(3600))).count(), 100);
        // Little by little is as much as at once.
        let mut rate = Rate::new(50, 100, start);
        let asked = (0..10_000_u32).filter(|n| rate.allows(start + Duration::from_millis(1) * *n)).count();
        assert_eq!(asked, 100 + 499);
    }
}
