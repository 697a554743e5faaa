//! Our share of the rate limit: a token bucket that everybody who asks Clerk draws from.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// A bucket that fills at a steady rate and holds a second's worth.
pub(super) struct Limit {
    per_second: f64,
    state: Mutex<State>,
}

struct State {
    /// Below zero, that many are promised to those who wait already.
    tokens: f64,
    at: Instant,
}

impl Limit {
    pub(super) fn new(per_second: f64) -> Self {
        let per_second = per_second.max(0.1);
        Self { per_second, state: Mutex::new(State { tokens: per_second.max(1.0), at: Instant::now() }) }
    }

    pub(super) fn per_second(&self) -> f64 {
        self.per_second
    }

    /// Returns when it is the caller's turn: in the order of asking. Whoever would wait longer than `patience` takes
    /// nothing and is told how long it would have been.
    pub(super) async fn acquire(&self, patience: Duration) -> Result<(), Duration> {
        let wait = self.reserve(Instant::now(), patience)?;
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
        Ok(())
    }

    /// How long until it is the turn of whoever asks at `now`.
    fn reserve(&self, now: Instant, patience: Duration) -> Result<Duration, Duration> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        // `at` lies ahead while Clerk has asked for a rest.
        let grown = now.saturating_duration_since(state.at).as_secs_f64() * self.per_second;
        state.tokens = (state.tokens + grown).min(self.per_second.max(1.0));
        state.at = state.at.max(now);
        let rest = state.at.saturating_duration_since(now);
        let missing = (1.0 - state.tokens).max(0.0) / self.per_second;
        let wait = rest + Duration::from_secs_f64(missing);
        if wait > patience {
            return Err(wait);
        }
        state.tokens -= 1.0;
        Ok(wait)
    }

    /// Nobody's turn comes before `wait` is over; then slowly.
    pub(super) fn pause(&self, now: Instant, wait: Duration) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.at = state.at.max(now + wait);
        state.tokens = state.tokens.min(0.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(600);

    /// When the last of `turns` who ask at once gets its turn, in seconds.
    fn last(limit: &Limit, now: Instant, turns: usize) -> f64 {
        (0..turns).map(|_| limit.reserve(now, LONG).unwrap()).max().unwrap().as_secs_f64()
    }

    #[test]
    fn a_second_at_once_then_the_rate() {
        let (limit, start) = (Limit::new(10.0), Instant::now());
        let start = start + Duration::from_secs(1);
        assert!(last(&limit, start, 10) < 0.001);
        let took = last(&limit, start, 50);
        assert!((4.9..5.1).contains(&took), "{took}");
        // Rest does not save up more than a second's worth.
        let took = last(&limit, start + LONG, 20);
        assert!((0.9..1.1).contains(&took), "{took}");
    }

    #[test]
    fn the_impatient_take_nothing_and_a_pause_holds_everybody() {
        let (limit, now) = (Limit::new(1.0), Instant::now() + Duration::from_secs(1));
        limit.reserve(now, Duration::ZERO).unwrap();
        let wait = limit.reserve(now, Duration::from_millis(10)).unwrap_err();
        assert!(wait > Duration::from_millis(900), "{wait:?}");
        // Had it taken a token, this one would wait two seconds.
        assert!(limit.reserve(now, LONG).unwrap() <= Duration::from_millis(1_010));
        limit.pause(now, Duration::from_secs(30));
        assert!(limit.reserve(now, LONG).unwrap() >= Duration::from_secs(30));
        let later = now + Duration::from_secs(60);
        assert!(limit.reserve(later, LONG).unwrap() < Duration::from_secs(2), "it goes on after that");
    }
}
