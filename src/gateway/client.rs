//! A connected client as the hub sees it: a bounded queue, whether its socket takes frames, and the word that ends it.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::hub::{Frame, Hub, Joined};

/// A frame on its way to a client.
#[derive(Debug)]
pub(super) struct Live {
    /// The subscription it was meant for; one that has ended since wants it no more.
    pub(super) subscription: u64,
    pub(super) frame: Arc<Frame>,
}

/// What hub and session share of a client.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) number: u64,
    pub(super) queue: mpsc::Sender<Live>,
    blocked: AtomicBool,
    overflow: CancellationToken,
}

impl Client {
    /// A client with room for `queue` frames.
    pub(super) fn new(number: u64, queue: usize) -> (Arc<Self>, mpsc::Receiver<Live>) {
        let (sender, receiver) = mpsc::channel(queue);
        let (blocked, overflow) = (AtomicBool::new(false), CancellationToken::new());
        (Arc::new(Self { number, queue: sender, blocked, overflow }), receiver)
    }

    /// Notes whether the socket takes nothing at present.
    pub(super) fn block(&self, blocked: bool) {
        self.blocked.store(blocked, Relaxed);
    }

    pub(super) fn is_blocked(&self) -> bool {
        self.blocked.load(Relaxed)
    }

    /// Ends the client: it is too slow.
    pub(super) fn overflow(&self) {
        self.overflow.cancel();
    }

    /// Returns once the client was found too slow.
    pub(super) async fn overflowed(&self) {
        self.overflow.cancelled().await;
    }

    pub(super) fn is_ending(&self) -> bool {
        self.overflow.is_cancelled()
    }
}

/// A client's seats in the hub; given up when this is dropped.
#[derive(Debug)]
pub(super) struct Member {
    hub: Arc<Hub>,
    client: Arc<Client>,
    topics: BTreeSet<Arc<str>>,
}

impl Member {
    pub(super) fn new(hub: Arc<Hub>, client: Arc<Client>) -> Self {
        Self { hub, client, topics: BTreeSet::new() }
    }

    pub(super) fn client(&self) -> &Client {
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
}

impl Drop for Member {
    fn drop(&mut self) {
        for topic in &self.topics {
            self.hub.leave(&self.client, topic);
        }
    }
}
