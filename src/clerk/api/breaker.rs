//! The circuit breaker: after failures in a row Clerk is left in peace, each time longer; then one request tries.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Failures in a row that open it.
const FAILURES: u32 = 5;
/// How long it stays open at first, and at most.
const REST: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// How long the one that tries has, before another may.
const PROBE: Duration = Duration::from_secs(5);

#[derive(Default)]
pub(super) struct Breaker(Mutex<State>);

#[derive(Default)]
struct State {
    failures: u32,
    opened: u32,
    until: Option<Instant>,
}

impl Breaker {
    /// Whether to ask at all.
    ///
    /// # Errors
    /// How long not to.
    pub(super) fn check(&self, now: Instant) -> Result<(), Duration> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match state.until {
            Some(until) if until > now => Err(until - now),
            // This one tries; the others wait for what it finds.
            Some(_) => {
                state.until = Some(now + PROBE);
                Ok(())
            }
            None => Ok(()),
        }
    }

    pub(super) fn succeeded(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = State::default();
    }

    pub(super) fn failed(&self, now: Instant) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.failures = state.failures.saturating_add(1);
        if state.failures >= FAILURES {
            let rest = REST.0.saturating_mul(1 << state.opened.min(6)).min(REST.1);
            state.opened = state.opened.saturating_add(1);
            state.until = Some(now + rest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opens_after_failures_in_a_row_and_lets_one_try() {
        let (breaker, now) = (Breaker::default(), Instant::now());
        for _ in 1..FAILURES {
            breaker.failed(now);
        }
        breaker.succeeded();
        for _ in 0..FAILURES {
            assert!(breaker.check(now).is_ok());
            breaker.failed(now);
        }
        assert_eq!(breaker.check(now), Err(Duration::from_secs(1)));
        let now = now + Duration::from_secs(1);
        assert!(breaker.check(now).is_ok(), "one tries");
        assert!(breaker.check(now).is_err(), "the others wait for it");
        breaker.failed(now);
        assert_eq!(breaker.check(now), Err(Duration::from_secs(2)), "longer each time");
        let now = now + Duration::from_secs(2);
        assert!(breaker.check(now).is_ok());
        breaker.succeeded();
        assert!(breaker.check(now).is_ok() && breaker.check(now).is_ok());
    }
}
