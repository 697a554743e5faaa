//! What waits for one client: the hub puts it in, the session takes it out.
//!
//! Invariants: never more than there is room for. Who puts something in wakes nobody until told to, so that many rows in
//! a row cost one waking and one write. Nothing is kept for a session that has ended.

use std::{
    collections::VecDeque,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
};

use futures_util::task::AtomicWaker;

/// An empty queue keeps no more than this.
const KEPT: usize = 8;

#[derive(Debug)]
pub(super) struct Queue<T> {
    inner: Mutex<Inner<T>>,
    room: usize,
    /// Something else than the queue wants to be looked at.
    calling: AtomicBool,
    waker: AtomicWaker,
}

#[derive(Debug)]
struct Inner<T> {
    waiting: VecDeque<T>,
    closed: bool,
}

impl<T> Queue<T> {
    pub(super) fn new(room: usize) -> Self {
        let inner = Mutex::new(Inner { waiting: VecDeque::new(), closed: false });
        Self { inner, room: room.max(1), calling: AtomicBool::new(false), waker: AtomicWaker::new() }
    }

    /// Puts something in; answers whether it is the first, of which the session is to be woken. What there is no room for
    /// comes back. Where nobody takes any more, it is dropped.
    pub(super) fn put(&self, item: T) -> Result<bool, T> {
        let mut inner = self.lock();
        if inner.closed {
            return Ok(false);
        }
        if inner.waiting.len() >= self.room {
            return Err(item);
        }
        inner.waiting.push_back(item);
        Ok(inner.waiting.len() == 1)
    }

    /// Lets the session see what was put in.
    pub(super) fn wake(&self) {
        self.waker.wake();
    }

    /// Has the session look around, also while it takes nothing from here.
    pub(super) fn call(&self) {
        self.calling.store(true, Ordering::Release);
        self.waker.wake();
    }

    /// Up to `most` of what waits; answers whether there was anything.
    pub(super) fn take(&self, batch: &mut Vec<T>, most: usize) -> bool {
        let mut inner = self.lock();
        let many = inner.waiting.len().min(most);
        batch.extend(inner.waiting.drain(..many));
        if inner.waiting.is_empty() && inner.waiting.capacity() > KEPT {
            inner.waiting = VecDeque::new();
        }
        many > 0
    }

    /// Ready when something waits (and `taking`), or when called.
    pub(super) fn poll(&self, taking: bool, context: &mut Context<'_>) -> Poll<()> {
        // First: what comes after the look wakes.
        self.waker.register(context.waker());
        let called = self.calling.swap(false, Ordering::AcqRel);
        if called || (taking && !self.lock().waiting.is_empty()) { Poll::Ready(()) } else { Poll::Pending }
    }

    /// Nobody takes anything any more.
    pub(super) fn close(&self) {
        let mut inner = self.lock();
        inner.closed = true;
        inner.waiting = VecDeque::new();
    }

    fn lock(&self) -> MutexGuard<'_, Inner<T>> {
        // Nothing that can panic leaves it half changed.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, time::Duration};

    use tokio::time::timeout;

    use super::*;

    async fn called(queue: &Queue<i32>) {
        poll_fn(|context| queue.poll(false, context)).await;
    }

    #[test]
    fn holds_what_there_is_room_for_in_order_and_nothing_once_closed() {
        let (queue, mut batch) = (Queue::new(3), Vec::new());
        assert_eq!([1, 2, 3, 4].map(|n| queue.put(n)), [Ok(true), Ok(false), Ok(false), Err(4)]);
        assert!(queue.take(&mut batch, 2) && queue.take(&mut batch, 2) && !queue.take(&mut batch, 2));
        assert_eq!(batch, [1, 2, 3]);
        queue.put(5).unwrap();
        queue.close();
        assert_eq!([queue.put(6), queue.put(7)], [Ok(false); 2]);
        assert!(!queue.take(&mut batch, 9));
    }

    #[test]
    fn a_burst_leaves_no_memory_behind() {
        let (queue, mut batch) = (Queue::new(1_000), Vec::new());
        (0..1_000).for_each(|n| assert_eq!(queue.put(n), Ok(n == 0)));
        while queue.take(&mut batch, 64) {}
        assert_eq!((batch.len(), queue.lock().waiting.capacity()), (1_000, 0));
    }

    #[tokio::test]
    async fn a_call_is_heard_once_whether_it_comes_before_or_after() {
        let (queue, long) = (Queue::new(1), Duration::from_secs(20));
        queue.call();
        timeout(long, called(&queue)).await.unwrap();
        queue.put(1).unwrap();
        queue.wake();
        assert!(timeout(Duration::from_millis(20), called(&queue)).await.is_err(), "what waits is not a call");
        let (heard, ()) = tokio::join!(timeout(long, called(&queue)), async {
            tokio::task::yield_now().await;
            queue.call();
        });
        heard.unwrap();
    }

    #[tokio::test]
    async fn what_waits_is_seen_by_whoever_takes() {
        let queue = Queue::new(1);
        let taking = async { timeout(Duration::from_secs(20), poll_fn(|context| queue.poll(true, context))).await };
        let (seen, ()) = tokio::join!(taking, async {
            tokio::task::yield_now().await;
            queue.put(1).unwrap();
            queue.wake();
        });
        seen.unwrap();
    }
}
