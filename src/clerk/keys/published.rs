//! The cache of the keys that an instance publishes, one a process: bound to the one address that is configured, beside
//! the one issuer whose tokens are judged with it. Who looks for a key waits for a request at most; requests are made by
//! [`Published::run`] alone, one after the other, whatever becomes of those who wait.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::{
    sync::{Notify, watch},
    time::{Instant, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{
    Asker, Key, Times,
    fetch::WITHIN,
    held::{Found, Held},
};

/// There is no set of keys, or none that is young enough: nothing can be said of any token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the keys of session tokens are not known at present")]
pub struct NoKeys;

/// The cache. Cheap to clone; clones share it.
#[derive(Clone)]
pub struct Published(Arc<Inner>);

struct Inner {
    asker: Asker,
    held: Mutex<Held>,
    /// Somebody waits for a set.
    wanted: Notify,
    /// How many requests have ended.
    ended: watch::Sender<u64>,
}

impl fmt::Debug for Published {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Published")
    }
}

impl Published {
    /// With nothing in it; [`Self::run`] fills it.
    pub fn new(asker: Asker, times: Times) -> Self {
        let (held, ended) = (Mutex::new(Held::new(times)), watch::Sender::new(0));
        Self(Arc::new(Inner { asker, held, wanted: Notify::new(), ended }))
    }

    /// The key of this name; `None` if it is not published.
    ///
    /// # Errors
    /// Where there is no set, and none could be had.
    pub async fn key(&self, kid: Option<&str>) -> Result<Option<Arc<Key>>, NoKeys> {
        // From before the look: a request that ends right after it is not missed.
        let mut ended = self.0.ended.subscribe();
        let found = self.held().find(kid, Instant::now());
        let found = match found {
            Found::Asking => {
                self.0.wanted.notify_one();
                // However that ends, the set that is there then is the answer.
                let _ = timeout(WITHIN.saturating_mul(2), ended.changed()).await;
                self.held().look(kid, Instant::now())
            }
            found => found,
        };
        match found {
            Found::Key(key) => Ok(Some(key)),
            Found::Unknown => Ok(None),
            Found::Nothing | Found::Asking => Err(NoKeys),
        }
    }

    /// Asks for the set at the start, whenever it is old, and whenever somebody waits for it, until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        loop {
            let due = self.held().due(Instant::now());
            tokio::select! {
                () = stop.cancelled() => break,
                () = sleep_until(due) => {}
                // Who waits is not told apart from who has been served meanwhile: that shows in what is due.
                () = self.0.wanted.notified() => continue,
            }
            self.held().begin(Instant::now());
            let answer = tokio::select! {
                () = stop.cancelled() => break,
                answer = self.0.asker.ask() => answer,
            };
            if let Err(error) = &answer {
                tracing::warn!(%error, "the keys of session tokens cannot be had; those that are known serve on");
            }
            let (keys, news) = (answer.as_ref().map_or(0, super::KeySet::len), self.held().end(answer.ok()));
            match (news, keys) {
                (true, 0) => tracing::warn!("no key is published that session tokens can be verified with"),
                (true, keys) => tracing::info!(keys, "session tokens are verified with other keys from now on"),
                (false, _) => {}
            }
            self.0.ended.send_modify(|ended| *ended += 1);
        }
        self.held().stop();
        self.0.ended.send_modify(|ended| *ended += 1);
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        // Nothing that can panic leaves it half changed.
        self.0.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
