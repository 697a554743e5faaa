//! The end of `deletion.erase_after`: whoever was deleted longer ago than that is erased, some at a time, by one replica.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::{
    clock::earlier,
    erasure::{EraseError, Eraser},
    lease,
};

const LEASE: &str = "erasure";

/// Longer than a pass over the stores takes; a second replica that starts one all the same does no harm.
const LENGTH: Duration = Duration::from_secs(300);

/// People erased in one pass: each pass looks through the stored bodies and the feed once.
const MOST: i64 = 200;

/// What the rounds work with.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Erasing {
    pub eraser: Eraser,
    /// `deletion.erase_after`; zero: only operators erase.
    pub after: Duration,
    /// Names this replica in the lease.
    pub owner: String,
}

impl Erasing {
    /// A round every so often, until shutdown.
    pub(super) async fn run(&self, every: Duration, shutdown: &CancellationToken) {
        if self.after.is_zero() {
            return;
        }
        while !shutdown.is_cancelled() {
            tokio::select! {
                round = self.round() => match round {
                    Ok(0) => {}
                    Ok(people) => tracing::info!(people, "people whose time is over were erased"),
                    Err(error) => tracing::warn!(%error, "erasing failed; next round will try again"),
                },
                () = shutdown.cancelled() => break,
            }
            tokio::select! {
                () = tokio::time::sleep(every) => {}
                () = shutdown.cancelled() => break,
            }
        }
        let _ = lease::release(&self.eraser.db, LEASE, &self.owner).await;
    }

    /// One round; answers how many people were erased.
    ///
    /// # Errors
    /// What a store says. Those people are tried again in the next round.
    pub async fn round(&self) -> Result<usize, EraseError> {
        let Eraser { db, clock, .. } = &self.eraser;
        let due = self.eraser.due(earlier(clock.now(), self.after), MOST).await?;
        if due.is_empty() || !lease::take(db, LEASE, &self.owner, clock.now(), LENGTH).await? {
            return Ok(0);
        }
        self.eraser.erase(&due).await?;
        Ok(due.len())
    }
}
