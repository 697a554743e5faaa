//! Who follows what in this process, and the hand-over of each row to them.
//!
//! Invariants:
//! - Joining and the hand-over of a row exclude each other: who joins at N gets every row above N and none up to N.
//! - A row is written as text once a topic, however many follow it.
//! - What a row takes from somebody is noted before any newer row is handed over.
//! - Rows that come while the last are being written go out together ([`Round`]); each keeps its place in the order.
//! - The hub never waits for a client for long: a queue that stays full ends its client, who can resume.
//! - What the process itself has missed, its clients are told to load anew (`reset`).

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use axum::extract::ws::Utf8Bytes;
use futures_util::FutureExt as _;
use tokio_util::sync::CancellationToken;

use crate::{
    clock::Time,
    outbox::{
        feed::Entry,
        tail::{Follower, Next},
    },
};

use super::{
    client::{Client, Live, What},
    notices::notice,
    patience::{Patience, make_room},
    protocol::Told,
    rights::{Loss, loss},
    round::Round,
    topics::reached,
    watch::Watch,
};

/// The longest rest after a round. (One of ten thousand clients takes about as long.)
const REST: Duration = Duration::from_millis(100);

/// Rows that are handed over at a time.
const ROWS: usize = 64;

/// The index. One a process.
#[derive(Debug)]
pub(super) struct Hub {
    inner: Mutex<Inner>,
    list_fields: Vec<String>,
    round: Arc<Round>,
}

#[derive(Debug)]
struct Inner {
    /// The last row that was handed over.
    at: i64,
    /// Topic to client number to seat.
    topics: HashMap<Arc<str>, HashMap<u64, Seat>>,
    /// Word to client number to whose rights hang on it.
    watches: HashMap<Arc<str>, HashMap<u64, Arc<Watch>>>,
}

#[derive(Debug)]
struct Seat {
    subscription: u64,
    client: Arc<Client>,
}

/// A row as the followers of one topic get it.
#[derive(Debug)]
pub(super) struct Frame {
    pub(super) seq: i64,
    pub(super) created_at: Time,
    pub(super) event: Utf8Bytes,
    pub(super) notice: Option<Utf8Bytes>,
}

impl Frame {
    pub(super) fn new(entry: &Entry, topic: &str, list_fields: &[String]) -> Self {
        Self {
            seq: entry.seq,
            created_at: entry.created_at,
            event: Told::event(entry, topic, list_fields).text(),
            notice: notice(topic, entry).map(|notice| Told::Notice(notice).text()),
        }
    }
}

impl Hub {
    /// A hub that stands at `at`; `list_fields` are what lists carry of a person.
    pub(super) fn new(at: i64, list_fields: Vec<String>) -> Self {
        let inner = Mutex::new(Inner { at, topics: HashMap::new(), watches: HashMap::new() });
        Self { inner, list_fields, round: Arc::default() }
    }

    /// What its clients' writing counts in.
    pub(super) fn round(&self) -> &Arc<Round> {
        &self.round
    }

    /// The last row that was handed over.
    pub(super) fn at(&self) -> i64 {
        self.lock().at
    }

    /// What lists carry of a person.
    pub(super) fn list_fields(&self) -> &[String] {
        &self.list_fields
    }

    /// Gives `client` every row of these topics above the number that this answers. A seat that the client had is
    /// replaced. With `near`, which is (a seq, a distance), nobody joins unless that seq is so near.
    pub(super) fn join(&self, client: &Arc<Client>, seats: &[(Arc<str>, u64)], near: Option<(i64, i64)>) -> Joined {
        let mut inner = self.lock();
        if let Some((seq, distance)) = near
            && inner.at - seq > distance
        {
            return Joined::Far(inner.at);
        }
        for (topic, subscription) in seats {
            let seat = Seat { subscription: *subscription, client: client.clone() };
            inner.topics.entry(topic.clone()).or_default().insert(client.number, seat);
        }
        Joined::At(inner.at)
    }

    /// Takes the client's seat away.
    pub(super) fn leave(&self, client: &Client, topic: &str) {
        let mut inner = self.lock();
        if let Some(seats) = inner.topics.get_mut(topic) {
            seats.remove(&client.number);
            if seats.is_empty() {
                inner.topics.remove(topic);
            }
        }
    }

    /// Notes for this client what rows take from those who are watched under the word.
    pub(super) fn watch(&self, word: Arc<str>, number: u64, watch: &Arc<Watch>) {
        self.lock().watches.entry(word).or_default().insert(number, watch.clone());
    }

    /// Notes it no more.
    pub(super) fn unwatch(&self, word: &str, number: u64) {
        let mut inner = self.lock();
        if let Some(watches) = inner.watches.get_mut(word) {
            watches.remove(&number);
            if watches.is_empty() {
                inner.watches.remove(word);
            }
        }
    }

    /// Hands over what the follower brings, until shutdown.
    pub(super) async fn run(&self, mut follower: Follower, shutdown: CancellationToken) {
        let mut patience = Patience::new();
        loop {
            let next = tokio::select! {
                next = follower.next() => next,
                () = shutdown.cancelled() => return,
            };
            let Some(next) = next else { return };
            let handed = self.hand_over(next, &mut follower);
            let started = Instant::now();
            handed.woken.iter().for_each(|client| client.wake());
            if !handed.full.is_empty() {
                make_room(handed.full, &mut patience).await;
            }
            let round = async {
                self.round.over(handed.woken.len()).await;
                // As long again for others: receiving and applying go on, and what they bring goes out in one write.
                tokio::time::sleep(started.elapsed().min(REST)).await;
            };
            tokio::select! {
                () = round => {}
                () = shutdown.cancelled() => return,
            }
        }
    }

    /// Hands over what comes next, and what is there after it.
    fn hand_over(&self, next: Next, follower: &mut Follower) -> Handed {
        let mut handed = Handed::default();
        let mut next = Some(next);
        for _ in 0..ROWS {
            match next.take().or_else(|| follower.next().now_or_never().flatten()) {
                Some(Next::Row(entry)) => self.deliver(&entry, &mut handed),
                Some(Next::Lost(upto)) => self.lose(upto, &mut handed),
                None => break,
            }
            if !handed.full.is_empty() {
                break;
            }
        }
        handed
    }

    /// Hands a row to everybody who follows one of its topics.
    fn deliver(&self, entry: &Entry, handed: &mut Handed) {
        let mut inner = self.lock();
        inner.at = entry.seq;
        let loss = loss(entry);
        // A topic is lost before the row is handed over, a place here after it: the row says why.
        inner.note(entry.seq, loss.as_ref().filter(|loss| !loss.of.is_place()));
        for topic in reached(entry) {
            let Some(seats) = inner.topics.get(&*topic) else { continue };
            let frame = What::Frame(Arc::new(Frame::new(entry, &topic, &self.list_fields)));
            seats.values().for_each(|seat| seat.hand(&frame, handed));
        }
        inner.note(entry.seq, loss.as_ref().filter(|loss| loss.of.is_place()));
    }

    /// Tells everybody that rows up to `upto` were trimmed unread.
    fn lose(&self, upto: i64, handed: &mut Handed) {
        let mut inner = self.lock();
        inner.at = upto;
        let lost = What::Lost(upto);
        inner.topics.values().flat_map(HashMap::values).for_each(|seat| seat.hand(&lost, handed));
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nothing that can panic leaves the index half changed.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Tells those whom a loss may concern.
    fn note(&self, seq: i64, loss: Option<&Loss<'_>>) {
        let Some(Loss { words, of }) = loss else { return };
        for (word, watches) in words.iter().filter_map(|word| self.watches.get_key_value(&**word)) {
            watches.values().for_each(|watch| watch.note(seq, *of, word));
        }
    }
}

/// What became of rows that were handed over.
#[derive(Debug, Default)]
struct Handed {
    /// Those who have something to write, and do not know it yet.
    woken: Vec<Arc<Client>>,
    /// Those whose queues are full, and what they have not got.
    full: Vec<(Arc<Client>, Live)>,
}

impl Seat {
    fn hand(&self, what: &What, handed: &mut Handed) {
        let live = Live { subscription: self.subscription, what: what.clone() };
        match self.client.queue.put(live) {
            Ok(true) => handed.woken.push(self.client.clone()),
            Ok(false) => {}
            Err(live) => handed.full.push((self.client.clone(), live)),
        }
    }
}

/// What became of an attempt to join.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Joined {
    /// Everything above this comes.
    At(i64),
    /// Too far behind the hub, which stands here.
    Far(i64),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_joins_from_far_away_and_a_new_seat_replaces_the_old_one() {
        let hub = Hub::new(100, Vec::new());
        let client = Client::new(1, 4, hub.round().clone());
        let users: Arc<str> = "users".into();
        assert_eq!(hub.join(&client, &[(users.clone(), 1)], Some((89, 10))), Joined::Far(100));
        assert!(hub.lock().topics.is_empty());
        assert_eq!(hub.join(&client, &[(users.clone(), 2)], Some((90, 10))), Joined::At(100));
        // A client may know more than this replica.
        assert_eq!(hub.join(&client, &[(users.clone(), 3)], Some((120, 10))), Joined::At(100));
        assert_eq!(hub.lock().topics["users"].len(), 1);
        assert_eq!(hub.lock().topics["users"][&1].subscription, 3);
        hub.leave(&client, &users);
        assert!(hub.lock().topics.is_empty());
    }
}
