//! Which set of keys serves, and when it is asked for anew. Pure: moments are passed in.
//!
//! Invariants:
//! - Asking is one at a time, and what tokens name brings about one request in [`Times::pause`] at most.
//! - A key that was had is given without asking while its set serves.
//! - A set serves until [`Times::keep`] after it was asked for, however often it was tried to ask again.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{Key, KeySet};

/// The longest wait between two attempts while the address does not answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// When a set is asked for, and how long it serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Times {
    /// After this it is asked for anew, so that a key that was withdrawn stops working.
    pub refresh: Duration,
    /// While the address does not answer it serves for this long.
    pub keep: Duration,
    /// A key that is not in it makes us ask anew, but not before this has passed.
    pub pause: Duration,
}

/// The state of the cache.
#[derive(Debug)]
pub(super) struct Held {
    times: Times,
    /// The last set, and when it was asked for.
    set: Option<(Arc<KeySet>, Instant)>,
    /// When one was last asked for.
    asked: Option<Instant>,
    /// Whether it is being asked for.
    asking: bool,
    /// Attempts that failed since the last that did not.
    failed: u32,
    stopped: bool,
}

/// What is known of a key.
#[derive(Debug)]
pub(super) enum Found {
    Key(Arc<Key>),
    /// The set that serves does not have it.
    Unknown,
    /// There is no set that serves.
    Nothing,
    /// A set is being asked for, which may have it.
    Asking,
}

impl Held {
    pub(super) fn new(times: Times) -> Self {
        Self { times, set: None, asked: None, asking: false, failed: 0, stopped: false }
    }

    /// The key of this name, as far as it is known without asking.
    pub(super) fn look(&self, kid: Option<&str>, now: Instant) -> Found {
        match self.serving(now) {
            Some(set) => set.get(kid).map_or(Found::Unknown, |key| Found::Key(key.clone())),
            None => Found::Nothing,
        }
    }

    /// The same; where it is not known and may be asked for, that begins, or has begun.
    pub(super) fn find(&mut self, kid: Option<&str>, now: Instant) -> Found {
        let found = self.look(kid, now);
        let rested = self.asked.is_none_or(|at| now.duration_since(at) >= self.times.pause);
        if matches!(found, Found::Key(_)) || self.stopped || !(self.asking || rested) {
            return found;
        }
        self.asking = true;
        Found::Asking
    }

    /// When a set is to be asked for; at once where somebody waits for it.
    pub(super) fn due(&self, now: Instant) -> Instant {
        let Some(asked) = self.asked.filter(|_| !self.asking) else { return now };
        let wait = match self.failed {
            0 => self.times.refresh,
            n => self.times.pause.saturating_mul(1 << (n - 1).min(8)).min(PATIENCE).min(self.times.refresh),
        };
        asked.checked_add(wait).unwrap_or(now)
    }

    /// It is asked for now.
    pub(super) fn begin(&mut self, now: Instant) {
        (self.asking, self.asked) = (true, Some(now));
    }

    /// What came of it. Answers whether the set is another than before.
    pub(super) fn end(&mut self, answer: Option<KeySet>) -> bool {
        self.asking = false;
        let Some((set, asked)) = answer.zip(self.asked) else {
            self.failed = self.failed.saturating_add(1);
            return false;
        };
        self.failed = 0;
        let news = self.set.as_ref().is_none_or(|(known, _)| **known != set);
        self.set = Some((Arc::new(set), asked));
        news
    }

    /// Nobody asks any more: nobody is to wait.
    pub(super) fn stop(&mut self) {
        (self.stopped, self.asking) = (true, false);
    }

    fn serving(&self, now: Instant) -> Option<&KeySet> {
        let (set, asked) = self.set.as_ref()?;
        (now.duration_since(*asked) < self.times.keep).then_some(&**set)
    }
}

#[cfg(test)]
mod tests {
    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

    use super::*;

    const TIMES: Times =
        Times { refresh: Duration::from_secs(300), keep: Duration::from_secs(86_400), pause: Duration::from_secs(5) };

    fn set(kid: &str) -> KeySet {
        let n = URL_SAFE_NO_PAD.encode([0xA5; 256]);
        let body = format!(r#"{{"keys":[{{"kty":"RSA","kid":"{kid}","n":"{n}","e":"AQAB"}}]}}"#);
        let set = KeySet::parse(body.as_bytes()).unwrap();
        assert_eq!(set.len(), 1);
        set
    }

    fn after(start: Instant, seconds: u64) -> Instant {
        start + Duration::from_secs(seconds)
    }

    /// One that was given this set at `now`.
    fn having(kid: &str, now: Instant) -> Held {
        let mut held = Held::new(TIMES);
        held.begin(now);
        assert!(held.end(Some(set(kid))));
        held
    }

    #[test]
    fn before_there_is_a_set_it_is_asked_for_once_and_waited_for() {
        let (mut held, now) = (Held::new(TIMES), Instant::now());
        assert_eq!(held.due(now), now, "at the start");
        for _ in 0..100 {
            assert!(matches!(held.find(Some("a"), now), Found::Asking));
        }
        held.begin(now);
        held.end(None);
        assert!(matches!(held.find(Some("a"), after(now, 4)), Found::Nothing), "in peace for a while");
        assert!(matches!(held.find(Some("a"), after(now, 5)), Found::Asking));
        held.begin(after(now, 5));
        held.end(Some(set("a")));
        assert!(matches!(held.find(Some("a"), after(now, 6)), Found::Key(_)));
    }

    #[test]
    fn a_known_key_asks_nobody_and_an_unknown_one_once_in_a_while() {
        let now = Instant::now();
        let mut held = having("a", now);
        for seconds in 0..300 {
            assert!(matches!(held.find(Some("a"), after(now, seconds)), Found::Key(_)));
        }
        let mut asked = 0;
        for ms in (0..60_000).step_by(10) {
            let at = now + Duration::from_millis(ms);
            match held.find(Some("made up"), at) {
                Found::Asking => {
                    asked += 1;
                    held.begin(at);
                    held.end(Some(set("a")));
                }
                Found::Unknown => {}
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(asked, 11, "every five seconds");
        // None is a name like any other.
        assert!(matches!(held.find(None, after(now, 70)), Found::Asking));
        // While it is asked for, what is known is known.
        assert!(matches!(held.find(Some("a"), after(now, 70)), Found::Key(_)));
    }

    #[test]
    fn a_set_that_is_old_is_asked_for_while_it_serves() {
        let now = Instant::now();
        let mut held = having("a", now);
        assert_eq!(held.due(after(now, 1)), after(now, 300));
        held.begin(after(now, 300));
        assert!(matches!(held.look(Some("a"), after(now, 301)), Found::Key(_)));
        assert!(held.end(Some(set("b"))), "another set");
        assert!(matches!(held.look(Some("a"), after(now, 301)), Found::Unknown), "withdrawn");
        assert!(matches!(held.look(Some("b"), after(now, 301)), Found::Key(_)));
        held.begin(after(now, 600));
        assert!(!held.end(Some(set("b"))), "the same set");
    }

    #[test]
    fn while_the_address_does_not_answer_the_last_set_serves_for_a_day() {
        let now = Instant::now();
        let mut held = having("a", now);
        let (mut at, mut attempts) = (now, 0);
        while at < after(now, 86_400) {
            assert!(matches!(held.look(Some("a"), at), Found::Key(_)));
            at = held.due(at);
            held.begin(at);
            held.end(None);
            attempts += 1;
        }
        assert!((1_400..1_500).contains(&attempts), "once a minute at most: {attempts}");
        assert!(matches!(held.look(Some("a"), after(now, 86_399)), Found::Key(_)));
        assert!(matches!(held.look(Some("a"), after(now, 86_400)), Found::Nothing));
        // Once it answers again all is well.
        held.begin(at);
        held.end(Some(set("a")));
        assert!(matches!(held.look(Some("a"), at), Found::Key(_)));
        assert_eq!(held.due(at), at + TIMES.refresh);
    }

    #[test]
    fn once_nobody_asks_nobody_waits() {
        let (mut held, now) = (Held::new(TIMES), Instant::now());
        assert!(matches!(held.find(None, now), Found::Asking));
        held.stop();
        assert!(matches!(held.find(None, now), Found::Nothing));
    }
}
