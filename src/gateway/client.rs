//! A connected client as the hub sees it: a bounded queue, whether its socket takes frames, and the word that ends it.

use std::{
    collections::BTreeSet,
    sync::{
        Arc, OnceLock,
        atomic::{
            AtomicBool,
            Ordering::{AcqRel, Relaxed},
        },
    },
};

use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;

use super::{
    crowd::Presence,
    hub::{Frame, Hub, Joined},
    protocol::End,
    queue::Queue,
    round::Round,
    watch::Watch,
};

/// What is on its way to a client.
#[derive(Debug)]
pub(super) struct Live {
    /// The subscription it was meant for; one that has ended since wants it no more.
    pub(super) subscription: u64,
    pub(super) what: What,
}

#[derive(Debug, Clone)]
pub(super) enum What {
    Frame(Arc<Frame>),
    /// Rows up to this one were trimmed before this process had read them.
    Lost(i64),
}

/// What hub and session share of a client.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) number: u64,
    pub(super) queue: Queue<Live>,
    /// Whether the session takes from the queue now.
    taking: AtomicBool,
    /// Whether what it was handed is still to be written, in the hub's present round.
    owes: AtomicBool,
    round: Arc<Round>,
    blocked: AtomicBool,
    end: OnceLock<End>,
    ending: CancellationToken,
    /// When its token ends, if it has one that does.
    expiry: watch::Sender<Option<Instant>>,
}

impl Client {
    /// A client with room for `room` frames, whose writing counts in these rounds.
    pub(super) fn new(number: u64, room: usize, round: Arc<Round>) -> Arc<Self> {
        Arc::new(Self {
            number,
            queue: Queue::new(room),
            taking: AtomicBool::new(false),
            owes: AtomicBool::new(false),
            round,
            blocked: AtomicBool::new(false),
            end: OnceLock::new(),
            ending: CancellationToken::new(),
            expiry: watch::Sender::new(None),
        })
    }

    /// Something is in the queue. It is in the round unless it writes nothing now anyway.
    pub(super) fn wake(&self) {
        if self.taking.load(Relaxed) && !self.is_blocked() && !self.owes.swap(true, AcqRel) {
            self.round.owes();
        }
        self.queue.wake();
    }

    /// What it was handed is written, or will not be soon.
    pub(super) fn paid(&self) {
        if self.owes.swap(false, AcqRel) {
            self.round.paid();
        }
    }

    /// Notes whether the session takes from the queue.
    pub(super) fn takes(&self, taking: bool) {
        self.taking.store(taking, Relaxed);
        if !taking {
            self.paid();
        }
    }

    /// Notes whether the socket takes nothing at present.
    pub(super) fn block(&self, blocked: bool) {
        self.blocked.store(blocked, Relaxed);
        if blocked {
            self.paid();
        }
    }

    pub(super) fn is_blocked(&self) -> bool {
        self.blocked.load(Relaxed)
    }

    /// Ends the client, wherever its session stands: nothing that has to be written is waited for any more.
    pub(super) fn end(&self, end: End) {
        // The first reason stays.
        let _ = self.end.set(end);
        self.ending.cancel();
    }

    /// Ends the client at this moment, unless another is named before then.
    pub(super) fn expire(&self, at: Option<Instant>) {
        self.expiry.send_replace(at);
    }

    /// Returns once the client was ended, or its token has.
    pub(super) async fn ended(&self) -> End {
        let mut expiry = self.expiry.subscribe();
        loop {
            let at = *expiry.borrow_and_update();
            let expired = async {
                match at {
                    Some(at) => sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = self.ending.cancelled() => return self.end.get().copied().unwrap_or(End::Slow),
                () = expired => return End::Unauthenticated,
                _ = expiry.changed() => {}
            }
        }
    }

    pub(super) fn is_ending(&self) -> bool {
        self.ending.is_cancelled()
    }

    /// Whether [`Client::ended`] returns now.
    pub(super) fn is_over(&self) -> bool {
        self.is_ending() || self.expiry.borrow().is_some_and(|at| at <= Instant::now())
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // Woken after its session had ended.
        self.paid();
    }
}

/// A client's seats in the hub, and what is watched for it; given up when this is dropped.
#[derive(Debug)]
pub(super) struct Member {
    hub: Arc<Hub>,
    client: Arc<Client>,
    topics: BTreeSet<Arc<str>>,
    watch: Option<Arc<Watch>>,
    watched: BTreeSet<Arc<str>>,
    presence: Option<Presence>,
}

impl Member {
    pub(super) fn new(hub: Arc<Hub>, client: Arc<Client>) -> Self {
        Self { hub, client, topics: BTreeSet::new(), watch: None, watched: BTreeSet::new(), presence: None }
    }

    /// From here on it is one of its person's connections.
    pub(super) fn is_present(&mut self, presence: Presence) {
        self.presence = Some(presence);
    }

    pub(super) fn client(&self) -> &Arc<Client> {
        &self.client
    }

    /// See [`Hub::join`].
    pub(super) fn join(&mut self, seats: &[(Arc<str>, u64)], near: Option<(i64, i64)>) -> Joined {
        let joined = self.hub.join(&self.client, seats, near);
        if matches!(joined, Joined::At(_)) {
            self.topics.extend(seats.iter().map(|(topic, _)| topic.clone()));
        }
        joined
    }

    /// See [`Hub::leave`].
    pub(super) fn leave(&mut self, topic: &str) {
        if self.topics.remove(topic) {
            self.hub.leave(&self.client, topic);
        }
    }

    /// From here on what the change feed takes from this person is noted; `word` is the one for their place here.
    pub(super) fn watch_person(&mut self, clerk_id: &str, session_id: &str, word: Arc<str>) -> Arc<Watch> {
        let watch = Arc::new(Watch::new(self.client.clone(), clerk_id, session_id));
        self.watch = Some(watch.clone());
        self.watch(word);
        watch
    }

    /// What is watched; none for those whose rights nothing takes.
    pub(super) fn watched(&self) -> Option<&Arc<Watch>> {
        self.watch.as_ref()
    }

    /// Watches this word too, where a person is watched.
    pub(super) fn watch(&mut self, word: Arc<str>) {
        if let Some(watch) = &self.watch
            && self.watched.insert(word.clone())
        {
            self.hub.watch(word, self.client.number, watch);
        }
    }

    /// Of the words of this kind, watches these and no others.
    pub(super) fn watch_only(&mut self, words: &BTreeSet<Arc<str>>, is_kind: impl Fn(&str) -> bool) {
        // The new ones first: a topic may be watched under one name and go on under another.
        words.iter().for_each(|word| self.watch(word.clone()));
        let (hub, number) = (&self.hub, self.client.number);
        self.watched.retain(|word| {
            let keep = words.contains(word) || !is_kind(word);
            if !keep {
                hub.unwatch(word, number);
            }
            keep
        });
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        for topic in &self.topics {
            self.hub.leave(&self.client, topic);
        }
        for word in &self.watched {
            self.hub.unwatch(word, self.client.number);
        }
        self.client.queue.close();
        self.client.takes(false);
    }
}
