//! `GET /v1/changes`: the change feed for backends that follow it, and for pages what concerns their own person.
//!
//! - Asked without `after`, it begins at the oldest change that is kept.
//! - `next` is what to ask after next; it also passes over changes that the caller may not see. Whoever is sent something
//!   has perhaps not been sent all of it, and asks again at once.
//! - With `wait`, an answer that would be empty is held back until there is something, at most that long.
//! - An `after` that cannot be gone on from (beyond the newest change, as after a restored backup; or so old that what
//!   follows it is no longer kept), or an `epoch` that is not the present one, is refused. The refusal's own `next` is the
//!   newest change at that moment: reload what is kept of people, then go on from there, and nothing is missed.
//! - Asked for `text/event-stream`, it goes on for as long as the caller reads ([`stream`]).
//!
//! - [`sight`]: what of the feed is a caller's
//! - [`reading`]: a way along it, past and to come
//! - [`own`]: a page at a time, for people

mod own;
mod reading;
mod sight;
mod stream;

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    extract::{ConnectInfo, State},
    http::{Extensions, HeaderMap, header},
    response::{IntoResponse, Response},
    routing::get,
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::Instant,
};

use crate::{
    access::Caller,
    config::Config,
    json::{Object, Value, json},
    outbox::feed::{self, Entry},
};

use super::{ApiState, auth::Known, body::JsonBody, line::Peer, params::Params, problem::Problem};

/// The longest a caller may ask an answer to be held back, in seconds.
pub(super) const WAIT_MAX: i64 = 30;

/// A wake-up may be lost: so often it is looked all the same.
const POLL: Duration = Duration::from_secs(1);

/// The routes of this resource.
pub(super) fn routes() -> Router<ApiState> {
    Router::new().route("/v1/changes", get(show))
}

/// What bounds those who read for long.
#[derive(Debug)]
pub struct Streams {
    places: Arc<Semaphore>,
    /// Turns to read the past of people from the database.
    turns: Semaphore,
}

impl Streams {
    /// As `api.max_streams` and `gateway.replays` say.
    pub fn new(config: &Config) -> Self {
        let places = Arc::new(Semaphore::new(config.api.max_streams.min(Semaphore::MAX_PERMITS)));
        Self { places, turns: Semaphore::new(config.gateway.replays.min(Semaphore::MAX_PERMITS)) }
    }

    fn place(&self) -> Option<OwnedSemaphorePermit> {
        self.places.clone().try_acquire_owned().ok()
    }
}

/// From where a caller wants to read.
#[derive(Debug, Clone, Default)]
struct Point {
    after: Option<i64>,
    epoch: Option<String>,
}

/// Where reading begins for whoever names no point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Start {
    Oldest,
    Newest,
}

impl Point {
    /// The row after which reading begins, in a feed that reaches from `oldest` to `head`.
    fn begin(&self, state: &ApiState, (oldest, head): (i64, i64), start: Start) -> Result<i64, Problem> {
        if self.epoch.as_ref().is_some_and(|epoch| *epoch != state.meta.epoch) {
            return Err(refused(state, head, "The changes are numbered anew: this is another epoch."));
        }
        let first = (oldest - 1).max(0);
        let after = self.after.unwrap_or(if start == Start::Oldest { first } else { head });
        if after > head {
            let why = "after lies beyond the newest change: it is of another database, or of one that was restored.";
            return Err(refused(state, head, why));
        }
        if after < first {
            return Err(refused(state, head, "What follows after is no longer kept."));
        }
        Ok(after)
    }
}

/// A point that cannot be gone on from.
fn refused(state: &ApiState, head: i64, why: &str) -> Problem {
    let detail = format!("{why} Reload what you keep, then go on after `next` of this answer.");
    Problem::invalid(detail).with("next", head).with("epoch", state.meta.epoch.as_str())
}

async fn show(
    State(state): State<ApiState>,
    Known(caller): Known,
    headers: HeaderMap,
    extensions: Extensions,
    params: Params,
) -> Result<Response, Problem> {
    if wants_stream(&headers) {
        let params = params.only(&["after", "epoch"])?;
        let after = last_event(&headers)?.or(params.whole("after", 0..=i64::MAX)?);
        let point = Point { after, epoch: params.filter("epoch").map(str::to_owned) };
        let peer = extensions.get::<ConnectInfo<Peer>>().map(|ConnectInfo(peer)| peer);
        return stream::open(state, caller, &point, peer).await;
    }
    let params = params.only(&["after", "limit", "wait", "epoch"])?;
    let after = params.whole("after", 0..=i64::MAX)?;
    let limit = params.limit(1000, 100)?;
    let wait = Duration::from_secs(params.whole("wait", 0..=WAIT_MAX)?.unwrap_or(0).unsigned_abs());
    let point = Point { after, epoch: params.filter("epoch").map(str::to_owned) };
    match caller {
        Caller::Person(person) => own::page(&state, person, &point, limit, wait).await,
        caller => page(&state, &caller, point, limit, wait).await,
    }
}

/// Whether a stream is asked for, and not only anything.
fn wants_stream(headers: &HeaderMap) -> bool {
    let kinds = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let mut kinds = kinds.flat_map(|value| value.split(',')).filter_map(|kind| kind.split(';').next());
    kinds.any(|kind| kind.trim().eq_ignore_ascii_case("text/event-stream"))
}

/// The last change that a stream told before it broke off: it is newer than what the address says.
fn last_event(headers: &HeaderMap) -> Result<Option<i64>, Problem> {
    let Some(value) = headers.get("last-event-id").filter(|value| !value.is_empty()) else { return Ok(None) };
    let plain = value.to_str().ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    let seq = plain.and_then(|text| text.parse().ok());
    seq.map(Some).ok_or_else(|| Problem::invalid("Last-Event-ID must be the id of a change."))
}

/// For services.
async fn page(
    state: &ApiState,
    caller: &Caller,
    mut point: Point,
    limit: usize,
    wait: Duration,
) -> Result<Response, Problem> {
    let deadline = Instant::now() + wait;
    // Before the first look: what is committed from here on wakes it.
    let mut waiter = state.signals.outbox.waiter();
    loop {
        let (entries, next) = read(state, caller, &point, limit).await?;
        let left = deadline.saturating_duration_since(Instant::now());
        if !entries.is_empty() || left.is_zero() || state.shutdown.is_cancelled() {
            // The page was read from the database: the tail may not have come as far.
            state.tail.see(next).await;
            let fields = &state.config.gateway.list_fields;
            return Ok(answer(state, entries.iter().map(|entry| entry.frame(&entry.topic, fields)), next));
        }
        point.after = Some(next);
        // Also ends the wait of whoever is waiting when the service ends, in time to ask another replica.
        waiter.wait(left.min(POLL)).await;
    }
}

fn answer(state: &ApiState, frames: impl Iterator<Item = Object>, next: i64) -> Response {
    let data: Value = frames.collect();
    JsonBody(json!({"data": data, "next": next, "epoch": state.meta.epoch})).into_response()
}

/// What the caller may see, and where to go on; of one state of the database, so that nothing is trimmed in between.
async fn read(state: &ApiState, caller: &Caller, point: &Point, limit: usize) -> Result<(Vec<Entry>, i64), Problem> {
    let tx = state.db.begin_read().await?;
    let bounds = feed::bounds(&tx).await?;
    let after = match point.begin(state, bounds, Start::Oldest) {
        Ok(after) => after,
        Err(refused) => {
            // It says to load everything and go on from the head: what is loaded then must not be older.
            drop(tx);
            state.tail.see(bounds.1).await;
            return Err(refused);
        }
    };
    let topics = sight::topics(caller);
    let entries = feed::read_topics(&tx, after, topics, u32::try_from(limit).unwrap_or(u32::MAX)).await?;
    tx.commit().await?;
    let next = match entries.last() {
        Some(last) if entries.len() == limit => last.seq,
        _ => bounds.1,
    };
    Ok((entries, next))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: &'static str, values: &[&str]) -> HeaderMap {
        values.iter().map(|value| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    #[test]
    fn a_stream_is_asked_for_by_name() {
        for accept in ["text/event-stream", "application/json, TEXT/event-stream;q=0.5", " text/event-stream "] {
            assert!(wants_stream(&headers("accept", &[accept])), "{accept}");
        }
        assert!(wants_stream(&headers("accept", &["application/json", "text/event-stream"])));
        for accept in ["", "*/*", "text/*", "application/json", "text/event-streams"] {
            assert!(!wants_stream(&headers("accept", &[accept])), "{accept}");
        }
    }

    #[test]
    fn the_last_event_is_a_number_or_none() {
        let last = |value: &str| last_event(&headers("last-event-id", &[value]));
        assert_eq!((last("").unwrap(), last("17").unwrap()), (None, Some(17)));
        for other in ["-1", "x", "1.5", "+1", " ", "9223372036854775808"] {
            assert!(last(other).is_err(), "{other:?}");
        }
        assert_eq!(last_event(&HeaderMap::new()).unwrap(), None);
    }
}
