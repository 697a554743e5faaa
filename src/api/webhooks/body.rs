//! Bodies of deliveries, which nobody has verified yet: within a byte budget for all that are under way, and at a least
//! speed. Bytes count when they are received, not when they are announced.

use std::{sync::Arc, time::Duration};

use axum::{body::Body, http::StatusCode};
use http_body_util::BodyExt as _;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout_at},
};

use crate::api::problem::Problem;

/// The beginning of each body, which has a half of the budget for itself: large bodies take no room from small ones.
const BEGINNING: usize = 16 << 10;

/// The parts in which a body is kept while it is being received. Most deliveries fit into the first one. Parts instead of
/// one buffer that grows: what was outgrown would cost as much again.
const FIRST_PART: usize = 4 << 10;
const PART: usize = 32 << 10;

/// A body must bring this many bytes within this time, again and again.
const PACE: Pace = Pace { bytes: 5_000, within: Duration::from_secs(5) };

#[derive(Debug, Clone, Copy)]
struct Pace {
    bytes: usize,
    within: Duration,
}

/// Bytes for bodies that are being received or stored. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Budget {
    beginnings: Arc<Semaphore>,
    rest: Arc<Semaphore>,
}

/// A body, and its part of the budget until this is dropped.
#[derive(Debug)]
pub(super) struct Received {
    pub(super) bytes: Vec<u8>,
    _permits: Permits,
}

#[derive(Debug, Default)]
struct Permits {
    beginning: Option<OwnedSemaphorePermit>,
    rest: Option<OwnedSemaphorePermit>,
}

impl Budget {
    /// As `receiver.unverified_bytes` says.
    pub fn new(bytes: usize) -> Self {
        let half = (bytes / 2).min(Semaphore::MAX_PERMITS);
        Self { beginnings: Arc::new(Semaphore::new(half)), rest: Arc::new(Semaphore::new(half)) }
    }

    /// Room for a buffer that grows from `from` to `to` bytes; false: there is none.
    fn grow(&self, permits: &mut Permits, from: usize, to: usize) -> bool {
        let beginning = to.min(BEGINNING) - from.min(BEGINNING);
        let rest = to.max(BEGINNING) - from.max(BEGINNING);
        take(&self.beginnings, &mut permits.beginning, beginning) && take(&self.rest, &mut permits.rest, rest)
    }
}

fn take(of: &Arc<Semaphore>, held: &mut Option<OwnedSemaphorePermit>, bytes: usize) -> bool {
    if bytes == 0 {
        return true;
    }
    let Ok(bytes) = u32::try_from(bytes) else { return false };
    let Ok(permit) = of.clone().try_acquire_many_owned(bytes) else { return false };
    match held {
        Some(held) => held.merge(permit),
        None => *held = Some(permit),
    }
    true
}

/// Reads a body of at most `limit` bytes.
///
/// # Errors
/// 413 beyond the limit; 408 where it comes too slowly; 400 where it breaks off; 503 where the budget is used up.
pub(super) async fn read(body: Body, limit: usize, budget: &Budget) -> Result<Received, Problem> {
    read_at(PACE, body, limit, budget).await
}

async fn read_at(pace: Pace, mut body: Body, limit: usize, budget: &Budget) -> Result<Received, Problem> {
    let mut permits = Permits::default();
    let mut parts: Vec<Vec<u8>> = Vec::new();
    let (mut length, mut capacity) = (0, 0);
    let (mut window, mut in_window) = (Instant::now() + pace.within, 0);
    loop {
        let Ok(frame) = timeout_at(window, body.frame()).await else {
            if in_window < pace.bytes {
                return Err(too_slow());
            }
            (window, in_window) = (Instant::now() + pace.within, 0);
            continue;
        };
        let Some(frame) = frame else { break };
        let frame = frame.map_err(|_| broken())?;
        let Ok(mut data) = frame.into_data() else { continue };
        in_window += data.len();
        length += data.len();
        if length > limit {
            return Err(too_large(limit));
        }
        // Copied, because a frame keeps alive the connection's whole read buffer.
        while !data.is_empty() {
            let full = parts.last().is_none_or(|part: &Vec<u8>| part.len() == part.capacity());
            if full {
                let size = if parts.is_empty() { FIRST_PART } else { PART };
                if !budget.grow(&mut permits, capacity, capacity + size) {
                    return Err(no_room());
                }
                capacity += size;
                parts.push(Vec::with_capacity(size));
            }
            let Some(part) = parts.last_mut() else { break };
            let taken = data.split_to(data.len().min(part.capacity() - part.len()));
            part.extend_from_slice(&taken);
        }
    }
    let bytes = if parts.len() == 1 { parts.pop().unwrap_or_default() } else { parts.concat() };
    Ok(Received { bytes, _permits: permits })
}

pub(super) fn too_large(limit: usize) -> Problem {
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "payload_too_large", format!("At most {limit} bytes."))
}

fn broken() -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "invalid_payload", "The body did not arrive whole.")
}

fn too_slow() -> Problem {
    let detail = format!("The body comes too slowly: at least {} bytes in {} s.", PACE.bytes, PACE.within.as_secs());
    Problem::new(StatusCode::REQUEST_TIMEOUT, "request_timeout", detail)
}

fn no_room() -> Problem {
    let detail = "Too many bytes of deliveries are being received now.";
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", detail).retry_after(5)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use futures_util::{StreamExt as _, stream};

    use super::*;

    fn chunks(count: usize, size: usize, pause: Duration) -> Body {
        let chunks = stream::iter(0..count).then(move |_| async move {
            tokio::time::sleep(pause).await;
            Ok::<_, std::convert::Infallible>(Bytes::from(vec![b'x'; size]))
        });
        Body::from_stream(chunks)
    }

    #[tokio::test]
    async fn a_body_brings_its_least_in_every_window_or_ends() {
        let pace = Pace { bytes: 5_000, within: Duration::from_millis(200) };
        let budget = Budget::new(1 << 20);
        let begun = Instant::now();
        let slow = chunks(1_000, 300, Duration::from_millis(20));
        assert_eq!(read_at(pace, slow, 1 << 20, &budget).await.unwrap_err().code(), "request_timeout");
        assert!(begun.elapsed() < pace.within * 5, "in the first window");
        let steady = chunks(60, 5_000, Duration::from_millis(10));
        assert_eq!(read_at(pace, steady, 1 << 20, &budget).await.unwrap().bytes.len(), 300_000);
        // Fast at first is not enough.
        let body = chunks(1, 100_000, Duration::ZERO).into_data_stream().chain(stream::pending());
        let stopped = read_at(pace, Body::from_stream(body), 1 << 20, &budget).await;
        assert_eq!(stopped.unwrap_err().code(), "request_timeout");
    }

    #[tokio::test]
    async fn the_budget_counts_what_came_and_is_given_back() {
        let budget = Budget::new(256 << 10);
        let once = |count, size| read(chunks(count, size, Duration::ZERO), 1 << 20, &budget);
        let large = once(12, 10_000).await.unwrap();
        assert_eq!(once(20, 10_000).await.unwrap_err().code(), "unavailable");
        // Small ones have room of their own.
        let small = once(1, 2_000).await.unwrap();
        assert_eq!(small.bytes.len(), 2_000);
        drop((large, small));
        assert_eq!(once(10, 10_000).await.unwrap().bytes.len(), 100_000);
        assert_eq!(budget.beginnings.available_permits() + budget.rest.available_permits(), 256 << 10);
        let limited = read(chunks(3, 10, Duration::ZERO), 29, &budget).await.unwrap_err();
        assert_eq!(limited.code(), "payload_too_large");
    }
}
