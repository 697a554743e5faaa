//! Asking until there is an answer: a run over everybody outlasts rate limits and short failures, without a busy loop
//! and without waiting for ever.

use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use crate::{clerk::api::ApiError, inbox::retry::backoff};

use super::RunError;

/// How long one request of a run may wait for its turn.
pub(super) const TURN: Duration = Duration::from_secs(60);

/// After how long without an answer a run gives up.
const GIVE_UP: Duration = Duration::from_secs(15 * 60);

/// Asks again after transient failures, later each time or when Clerk says so.
pub(super) async fn patiently<T, F>(shutdown: &CancellationToken, ask: impl Fn() -> F) -> Result<T, RunError>
where
    F: Future<Output = Result<T, ApiError>>,
{
    let (started, mut tries, mut said) = (Instant::now(), 0, None::<Instant>);
    loop {
        let error = tokio::select! {
            answer = ask() => match answer {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            },
            () = shutdown.cancelled() => return Err(RunError::Interrupted),
        };
        if !error.is_transient() || started.elapsed() >= GIVE_UP {
            return Err(error.into());
        }
        tries += 1;
        let delay = backoff(tries, Duration::from_millis(250), Duration::from_secs(30), fastrand::f64());
        let delay = error.wait().unwrap_or_default().max(delay);
        if said.is_none_or(|at| at.elapsed() >= Duration::from_secs(30)) {
            said = Some(Instant::now());
            tracing::warn!(%error, delay_ms = delay.as_millis() as u64, "Clerk's API does not answer as asked; trying again");
        }
        tokio::select! {
            () = tokio::time::sleep(delay) => {}
            () = shutdown.cancelled() => return Err(RunError::Interrupted),
        }
    }
}
