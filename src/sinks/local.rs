//! The cache of this process alone: fed by the process's own tail of the change feed, not by a shared cursor.

use std::{sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;

use crate::{
    inbox::retry::backoff,
    outbox::{
        feed::Entry,
        relay::{Sink as _, Transient},
        tail::{Follower, Next},
    },
};

use super::cache::CacheSink;

/// Changes written to the cache at a time.
const BATCH: usize = 256;

/// Keeps the cache in step until shutdown. A database that does not answer is waited out: no change is passed over.
pub async fn follow(sink: CacheSink, mut follower: Follower, shutdown: CancellationToken) {
    let work = async {
        while let Some(first) = follower.next().await {
            let mut batch = Vec::new();
            take(&sink, first, &mut batch).await;
            // What is there already; a future that is dropped loses nothing.
            while batch.len() < BATCH
                && let Ok(Some(next)) = tokio::time::timeout(Duration::ZERO, follower.next()).await
            {
                take(&sink, next, &mut batch).await;
            }
            deliver(&sink, batch).await;
        }
    };
    tokio::select! {
        () = work => {}
        () = shutdown.cancelled() => {}
    }
}

/// Who changed in what is lost nobody knows any more: everybody is loaded anew when they are asked for.
async fn take(sink: &CacheSink, next: Next, batch: &mut Vec<Arc<Entry>>) {
    match next {
        Next::Row(entry) => batch.push(entry),
        Next::Lost(_) => {
            batch.clear();
            if let Err(error) = sink.cache.clear().await {
                tracing::warn!(sink = sink.name(), %error, "the cache cannot be emptied; it is right again once its entries expire");
            }
        }
    }
}

async fn deliver(sink: &CacheSink, batch: Vec<Arc<Entry>>) {
    let entries: Vec<Entry> =
        batch.iter().filter(|entry| is_held(sink, entry)).map(|entry| entry.as_ref().clone()).collect();
    let mut attempt = 0;
    while !entries.is_empty()
        && let Err(Transient { why: error, .. }) = sink.deliver(&entries).await
    {
        attempt += 1;
        tracing::warn!(sink = sink.name(), attempt, %error, "the cache is not in step; trying again");
        tokio::time::sleep(backoff(attempt, Duration::from_millis(100), Duration::from_secs(5), fastrand::f64())).await;
    }
}

/// Whether the cache has the person under either of their ids: those whom nobody has read cost nothing.
fn is_held(sink: &CacheSink, entry: &Entry) -> bool {
    let routed = entry.routing.as_array().into_iter().flatten().filter_map(|topic| topic.as_str());
    sink.cache.may_hold(&format!("user:{}", entry.subject))
        || routed.into_iter().any(|topic| sink.cache.may_hold(topic))
}
