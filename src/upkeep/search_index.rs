//! Rebuild of a search index whose documents an older version of the program wrote: by itself, by one replica, aside, so
//! that searches see the old index until the new one is whole.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::{
    clock::Clock,
    lease,
    sinks::{
        reindex::{self, ReindexError},
        search::SearchSink,
    },
};

const LEASE: &str = "search-index";

/// Renewed while the rebuild goes on.
const LENGTH: Duration = Duration::from_secs(60);
const RENEW_EVERY: Duration = Duration::from_secs(15);

/// What the rebuild works with.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "the names say it")]
pub struct SearchIndex {
    pub sink: SearchSink,
    pub clock: Clock,
    /// Names this replica in the lease.
    pub owner: String,
}

impl SearchIndex {
    /// Tries every so often until the index is of this version's documents, or until shutdown.
    pub(super) async fn run(&self, every: Duration, shutdown: &CancellationToken) {
        while !shutdown.is_cancelled() {
            let wait = tokio::select! {
                done = self.round() => match done {
                    Ok(true) => break,
                    Ok(false) => every,
                    Err(error) => {
                        tracing::warn!(%error, "the search index of an older version cannot be rebuilt now; next round will try again");
                        every
                    }
                },
                () = shutdown.cancelled() => break,
            };
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = shutdown.cancelled() => break,
            }
        }
        let _ = lease::release(&self.sink.db, LEASE, &self.owner).await;
    }

    /// Rebuilds the index if it is outdated and no other replica does. Returns whether it is up to date now.
    ///
    /// # Errors
    /// What the database or the index says.
    pub async fn round(&self) -> Result<bool, ReindexError> {
        if !reindex::is_outdated(&self.sink).await? {
            return Ok(true);
        }
        if !lease::take(&self.sink.db, LEASE, &self.owner, self.clock.now(), LENGTH).await? {
            return Ok(false);
        }
        tracing::info!("the search index is of an older version; it is being rebuilt");
        let (people, refused) = tokio::select! {
            rebuilt = reindex::search(&self.sink, &self.clock, |_| {}) => rebuilt?,
            error = self.keep_lease() => return Err(error),
        };
        tracing::info!(people, refused, "the search index is rebuilt");
        Ok(true)
    }

    /// Renews the lease until it is lost.
    async fn keep_lease(&self) -> ReindexError {
        loop {
            tokio::time::sleep(RENEW_EVERY).await;
            match lease::take(&self.sink.db, LEASE, &self.owner, self.clock.now(), LENGTH).await {
                Ok(true) => {}
                Ok(false) => return ReindexError::Search(crate::backends::search::SearchError::Superseded),
                Err(error) => return ReindexError::Database(error),
            }
        }
    }
}
