//! The connection to Redis, and what its failures cost.
//!
//! Invariants: a call ends within a second; after a failure nobody asks for two seconds, then one caller tries, over a
//! new connection. So a Redis that is down costs its readers about a second once, and later one reader every two seconds.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use redis::{
    Client, ErrorKind, IntoConnectionInfo, RedisError, RedisResult, ServerErrorKind,
    aio::{ConnectionManager, ConnectionManagerConfig},
    io::tcp::TcpSettings,
};
use tokio::time::Instant;

/// How long a call may take, connecting included.
const PATIENCE: Duration = Duration::from_secs(1);

/// How long nobody asks after a failure.
const PAUSE: Duration = Duration::from_secs(2);

/// Redis cannot answer. The text names no key, value or address; everything but `Address` may pass by itself.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// `redis.url` cannot be used. Only what opens a link says so.
    #[error("redis.url is not the address of a Redis server")]
    Address,
    /// It failed within the last two seconds and was not asked.
    #[error("Redis failed a moment ago and is left alone")]
    Unavailable,
    /// It did not answer within a second.
    #[error("Redis does not answer in time")]
    TimedOut,
    /// It cannot be reached or refuses.
    // No `#[source]`: the driver's errors quote the replies they stumble over, and those are people's rows.
    #[error("Redis failed: {0}")]
    Failed(String),
}

/// One connection, shared by all callers, made on first use.
pub(super) struct Link {
    client: Client,
    state: Mutex<State>,
}

/// A failure replaces the connection as a whole: its manager would keep one that hangs, and the refusal of a server
/// that turned it away (wrong password, still loading), for ever.
struct State {
    manager: ConnectionManager,
    /// Rises with each replacement, so that the late failure of an old connection does not count against the new one.
    age: u64,
    breaker: Breaker,
}

impl Link {
    pub(super) fn new(url: &str) -> Result<Self, LinkError> {
        let info = url.into_connection_info().map_err(|_| LinkError::Address)?;
        let info = info.set_tcp_settings(TcpSettings::default().set_nodelay(true));
        let client = Client::open(info).map_err(|_| LinkError::Address)?;
        let state = State { manager: manager(&client)?, age: 0, breaker: Breaker::default() };
        Ok(Self { client, state: Mutex::new(state) })
    }

    /// Makes a call if the breaker lets us. A call must be one that may be repeated.
    // Not `AsyncFn`: the compiler does not see that the future of one that borrows may move between threads.
    pub(super) async fn ask<T, F>(&self, call: impl Fn(ConnectionManager) -> F) -> Result<T, LinkError>
    where
        F: Future<Output = RedisResult<T>>,
    {
        let (manager, age) = self.admit().ok_or(LinkError::Unavailable)?;
        let attempt = async {
            match call(manager.clone()).await {
                // A server that closes idle connections is no failure; the manager has begun a new one.
                Err(error) if error.is_connection_dropped() => call(manager).await,
                answer => answer,
            }
        };
        let answer = tokio::time::timeout(PATIENCE, attempt).await;
        self.learn(age, matches!(&answer, Ok(Ok(_))) || matches!(&answer, Ok(Err(error)) if is_answer(error)));
        answer.map_err(|_| LinkError::TimedOut)?.map_err(|error| match error.is_timeout() {
            true => LinkError::TimedOut,
            false => LinkError::Failed(error.code().unwrap_or(error.category()).to_owned()),
        })
    }

    fn admit(&self) -> Option<(ConnectionManager, u64)> {
        let mut state = self.state();
        state.breaker.admits(Instant::now()).then(|| (state.manager.clone(), state.age))
    }

    fn learn(&self, age: u64, well: bool) {
        let mut state = self.state();
        if state.age != age {
            return;
        }
        if well {
            state.breaker = Breaker::default();
            return;
        }
        state.age += 1;
        state.breaker = Breaker(Some(Instant::now() + PAUSE));
        if let Ok(manager) = manager(&self.client) {
            state.manager = manager;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// When somebody may ask again after a failure; `None`: all is well.
#[derive(Default)]
struct Breaker(Option<Instant>);

impl Breaker {
    /// Whether this caller may ask. After the pause it is one caller; its failure or disappearance costs another pause.
    fn admits(&mut self, now: Instant) -> bool {
        match self.0 {
            Some(until) if now < until => false,
            Some(_) => {
                self.0 = Some(now + PAUSE);
                true
            }
            None => true,
        }
    }
}

fn manager(client: &Client) -> Result<ConnectionManager, LinkError> {
    // No retries of its own: a caller waits for one attempt, and the breaker decides when the next is due.
    let config = ConnectionManagerConfig::new()
        .set_number_of_retries(0)
        .set_connection_timeout(Some(PATIENCE))
        .set_response_timeout(Some(PATIENCE));
    ConnectionManager::new_lazy_with_config(client.clone(), config).map_err(|_| LinkError::Address)
}

/// Whether the server is well and only refuses this one call.
fn is_answer(error: &RedisError) -> bool {
    use ErrorKind::{Extension, Server, UnexpectedReturnType};
    matches!(error.kind(), Extension | UnexpectedReturnType | Server(ServerErrorKind::ResponseError))
}

#[cfg(test)]
mod tests {
    use super::{Breaker, Instant, PAUSE};

    #[test]
    fn after_a_failure_nobody_asks_then_one_at_a_time() {
        let start = Instant::now();
        let mut breaker = Breaker(Some(start + PAUSE));
        assert!(!breaker.admits(start + PAUSE / 2));
        assert!(breaker.admits(start + PAUSE), "one tries");
        assert!(!breaker.admits(start + PAUSE), "the others wait for it");
        assert!(breaker.admits(start + PAUSE * 2), "it was cancelled and told nothing: another one tries");
        assert!(Breaker::default().admits(start));
    }
}
