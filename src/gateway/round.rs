//! Rounds: rows that come while the last ones are still being written to everybody wait for that, and then go out
//! together. So a burst costs each client few writes instead of one a row, and the last client is not far behind the
//! first.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use tokio::sync::Notify;

/// What writing to one client may take at most on an idle machine. Whoever takes longer is not waited for.
const A_CLIENT: Duration = Duration::from_micros(25);
const LONGEST: Duration = Duration::from_millis(300);

/// How many clients have still to write what they were handed.
#[derive(Debug, Default)]
pub(super) struct Round {
    open: AtomicUsize,
    over: Notify,
}

impl Round {
    /// One more has something to write.
    pub(super) fn owes(&self) {
        self.open.fetch_add(1, Ordering::AcqRel);
    }

    /// One of them has written it, or cannot.
    pub(super) fn paid(&self) {
        if self.open.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.over.notify_one();
        }
    }

    /// Returns once all have written, or so many could have.
    pub(super) async fn over(&self, clients: usize) {
        let most = A_CLIENT.saturating_mul(u32::try_from(clients).unwrap_or(u32::MAX)).min(LONGEST);
        let all = async {
            while self.open.load(Ordering::Acquire) > 0 {
                self.over.notified().await;
            }
        };
        let _ = tokio::time::timeout(most, all).await;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[tokio::test]
    async fn ends_when_the_last_has_written_and_waits_for_nobody_for_ever() {
        let (round, long) = (Round::default(), 1_000_000);
        round.over(long).await;
        round.owes();
        round.owes();
        let started = Instant::now();
        round.paid();
        round.over(long).await;
        assert!(started.elapsed() >= LONGEST, "one owes");
        let (started, ()) = tokio::join!(
            async {
                let started = Instant::now();
                round.over(long).await;
                started.elapsed()
            },
            async {
                tokio::task::yield_now().await;
                round.paid();
            }
        );
        assert!(started < LONGEST, "{started:?}");
    }
}
