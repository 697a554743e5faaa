//! A client that comes and goes until it has everything.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use fastrand::Rng;
use tokio::sync::watch;

use super::{
    oracle::{Expected, Oracle, Verdict},
    topic::Topic,
};

/// What happened to all of them.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) cuts: AtomicUsize,
    pub(super) torn: AtomicUsize,
    pub(super) elsewhere: AtomicUsize,
    pub(super) naps: AtomicUsize,
    pub(super) too_slow: AtomicUsize,
    pub(super) revoked: AtomicUsize,
    pub(super) refused: AtomicUsize,
    pub(super) rewound: AtomicUsize,
    pub(super) locked_out: AtomicUsize,
    pub(super) put_off: AtomicUsize,
}

pub(super) fn count(counter: &AtomicUsize) {
    counter.fetch_add(1, Relaxed);
}

pub(super) struct Follower {
    pub(super) name: String,
    /// Clerk's id, of a person.
    pub(super) person: Option<String>,
    pub(super) token: String,
    pub(super) doors: Arc<[SocketAddr]>,
    pub(super) last_door: Option<usize>,
    pub(super) rng: Rng,
    pub(super) topics: BTreeMap<String, Topic>,
    /// What was told of each row.
    pub(super) facts: BTreeMap<i64, (String, String)>,
    /// What there is to be seen, once that is known.
    expected: BTreeMap<String, Expected>,
}

impl Follower {
    pub(super) fn new(
        name: String,
        person: Option<String>,
        token: String,
        words: Vec<String>,
        doors: &Arc<[SocketAddr]>,
        rng: Rng,
    ) -> Self {
        let topics = words.into_iter().map(|word| (word, Topic::default())).collect();
        let (facts, expected) = (BTreeMap::new(), BTreeMap::new());
        Self { name, person, token, doors: doors.clone(), last_door: None, rng, topics, facts, expected }
    }

    /// Comes and goes until no more changes are made, and then until it has everything.
    pub(super) async fn follow(mut self, ending: watch::Receiver<Option<Arc<Oracle>>>, tally: Arc<Tally>) -> Self {
        let mut since = None;
        while !self.visit(&ending, &tally, &mut since).await {}
        self
    }

    /// How many rows it has seen, each topic for itself.
    pub(super) fn count(&self) -> usize {
        self.topics.values().map(|topic| topic.seen.len()).sum()
    }

    pub(super) fn ended(&self, oracle: &Oracle) -> usize {
        self.topics.keys().map(|word| oracle.expected(word, self.person.as_deref()).ended()).sum()
    }

    /// That it has seen what it may, once and in order, and what was told of it is what the feed says.
    pub(super) fn verify(&self, oracle: &Oracle) -> Result<(), String> {
        for (word, topic) in &self.topics {
            match oracle.expected(word, self.person.as_deref()).compare(&topic.seen) {
                Verdict::Complete => {}
                Verdict::Lacking => return Err(format!("{word}: something is lacking")),
                Verdict::Wrong(wrong) => return Err(format!("{word}: {wrong}")),
            }
        }
        for (seq, (event, subject)) in &self.facts {
            let row = oracle.row(*seq).ok_or(format!("there is no row {seq}"))?;
            if (&row.event, &row.subject) != (event, subject) {
                return Err(format!("{seq} was told as {event} of {subject}"));
            }
        }
        Ok(())
    }

    pub(super) fn fail(&self, wrong: &str) -> ! {
        panic!("{}: {wrong}", self.name)
    }

    pub(super) fn is_complete(&mut self, oracle: &Oracle) -> bool {
        if self.expected.is_empty() {
            let person = self.person.as_deref();
            self.expected = self.topics.keys().map(|word| (word.clone(), oracle.expected(word, person))).collect();
        }
        let mut complete = true;
        let mut wrong = None;
        for (word, topic) in &mut self.topics {
            match topic.is_complete(&self.expected[word]) {
                Ok(one) => complete &= one,
                Err(what) => wrong = Some(format!("{word}: {what}")),
            }
        }
        if let Some(wrong) = wrong {
            self.fail(&wrong);
        }
        complete
    }
}
