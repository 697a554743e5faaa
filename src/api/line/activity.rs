//! What a connection is doing: waiting for a request, receiving the head of one, or answering. It decides when the
//! connection has waited too long.

use std::{
    sync::atomic::{
        AtomicBool, AtomicU64, AtomicUsize,
        Ordering::{AcqRel, Acquire, Relaxed, Release},
    },
    time::Duration,
};

use tokio::time::Instant;

/// How long a connection may wait.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// For the head of a request, from its first byte on; on a new connection from its beginning.
    pub header: Duration,
    /// For the next request.
    pub idle: Duration,
}

/// Shared by a connection, which sees bytes, and its requests, which see beginnings and ends.
#[derive(Debug)]
pub(super) struct Activity {
    begun: Instant,
    limits: Limits,
    /// Requests under way.
    requests: AtomicUsize,
    /// Milliseconds from `begun` to the end of the last request.
    quiet: AtomicU64,
    /// Milliseconds, plus one, from `begun` to the first byte of the head under way; 0: none is.
    head: AtomicU64,
    /// HTTP/2: bytes without a request are its own housekeeping.
    is_h2: AtomicBool,
    /// An upgraded connection, whose new protocol has limits of its own.
    is_upgraded: AtomicBool,
}

impl Activity {
    pub(super) fn new(limits: Limits, now: Instant) -> Self {
        Self {
            begun: now,
            limits,
            requests: AtomicUsize::new(0),
            quiet: AtomicU64::new(0),
            // The first head is awaited from the beginning on.
            head: AtomicU64::new(1),
            is_h2: AtomicBool::new(false),
            is_upgraded: AtomicBool::new(false),
        }
    }

    /// Bytes came.
    pub(super) fn received(&self, bytes: &[u8], now: impl FnOnce() -> Instant) {
        if self.head.load(Relaxed) == 1 && bytes.starts_with(b"PRI ") {
            self.is_h2.store(true, Relaxed);
        }
        if self.requests.load(Acquire) == 0 && !self.is_h2.load(Relaxed) && self.head.load(Relaxed) == 0 {
            self.head.store(self.since(now()) + 1, Relaxed);
        }
    }

    /// A head is complete.
    pub(super) fn begin(&self) {
        self.requests.fetch_add(1, AcqRel);
        self.head.store(0, Relaxed);
    }

    /// A response has been handed over whole, or given up.
    pub(super) fn end(&self, now: Instant) {
        self.quiet.store(self.since(now), Release);
        self.requests.fetch_sub(1, AcqRel);
    }

    pub(super) fn upgrade(&self) {
        self.is_upgraded.store(true, Relaxed);
    }

    pub(super) fn is_upgraded(&self) -> bool {
        self.is_upgraded.load(Relaxed)
    }

    /// Whether no request is under way.
    pub(super) fn is_quiet(&self) -> bool {
        self.requests.load(Acquire) == 0
    }

    /// When it has waited too long; `None`: it is at work.
    pub(super) fn deadline(&self) -> Option<Instant> {
        if !self.is_quiet() {
            return None;
        }
        let after = |ms: u64, limit: Duration| self.begun + Duration::from_millis(ms) + limit;
        let idle = after(self.quiet.load(Acquire), self.limits.idle);
        Some(match self.head.load(Relaxed) {
            0 => idle,
            at => idle.min(after(at - 1, self.limits.header)),
        })
    }

    /// When to look again at one that is at work.
    pub(super) fn later(&self, now: Instant) -> Instant {
        now + self.limits.idle
    }

    /// Milliseconds from its beginning.
    fn since(&self, now: Instant) -> u64 {
        u64::try_from(now.duration_since(self.begun).as_millis()).unwrap_or(u64::MAX / 2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { header: Duration::from_secs(10), idle: Duration::from_secs(60) };

    #[test]
    fn heads_and_rests_have_their_own_limits() {
        let begun = Instant::now();
        let at = |seconds: u64| begun + Duration::from_secs(seconds);
        let limit = |activity: &Activity| activity.deadline().map(|at| at.duration_since(begun).as_secs());
        let activity = Activity::new(LIMITS, begun);
        activity.received(b"GE", || at(4));
        assert_eq!(limit(&activity), Some(10), "from the beginning on");
        activity.begin();
        assert_eq!(limit(&activity), None);
        activity.received(b"a body", || at(5));
        activity.end(at(20));
        assert_eq!(limit(&activity), Some(80));
        activity.received(b"G", || at(50));
        activity.received(b"E", || at(51));
        assert_eq!(limit(&activity), Some(60), "from the first byte on");
        let activity = Activity::new(LIMITS, begun);
        activity.received(b"PRI * HTTP/2.0", || at(0));
        activity.begin();
        activity.end(at(1));
        activity.received(b"a ping", || at(30));
        assert_eq!(limit(&activity), Some(61), "pings begin no request");
    }
}
