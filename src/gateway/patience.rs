//! What becomes of clients whose queues are full.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    client::{Client, Live},
    protocol::End,
};

/// How long a client that could take frames, but has not been given the processor, may keep everybody waiting.
const SCHEDULING: Duration = Duration::from_secs(2);

/// Waits a little for queues to drain, then ends those that did not. All of them at once, and before the next row,
/// so that each client's frames keep their order.
pub(super) async fn make_room(mut full: Vec<(Arc<Client>, Live)>, patience: &mut Patience) {
    let started = Instant::now();
    loop {
        let pause = Instant::now();
        tokio::time::sleep(Duration::from_millis(1)).await;
        if full.iter().any(|(client, _)| client.is_blocked()) {
            patience.spend(pause.elapsed());
        }
        let (exhausted, late) = (patience.is_exhausted(), started.elapsed() > SCHEDULING);
        let mut still = Vec::new();
        for (client, live) in full {
            match client.queue.put(live) {
                Ok(_) => client.wake(),
                Err(_) if late || (exhausted && client.is_blocked()) => client.end(End::Slow),
                Err(live) if !client.is_ending() => still.push((client, live)),
                Err(_) => {}
            }
        }
        if still.is_empty() {
            return;
        }
        full = still;
    }
}

/// The time for which clients whose sockets take nothing may keep the others waiting: a burst that fills a queue
/// faster than any socket takes it must not end healthy clients, and slow ones must not set everybody's pace.
/// At most [`Patience::MOST`] at a time and a tenth of all time.
pub(super) struct Patience {
    left: Duration,
    since: Instant,
}

impl Patience {
    const MOST: Duration = Duration::from_millis(200);

    pub(super) fn new() -> Self {
        Self { left: Self::MOST, since: Instant::now() }
    }

    fn is_exhausted(&mut self) -> bool {
        let now = Instant::now();
        self.left = Self::MOST.min(self.left + now.duration_since(self.since) / 10);
        self.since = now;
        self.left.is_zero()
    }

    fn spend(&mut self, time: Duration) {
        self.left = self.left.saturating_sub(time);
    }
}
