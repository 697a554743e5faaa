//! What concerns a person, a page at a time. `next` also passes over everybody else's changes, of which it tells nothing
//! but that there were some.

use std::time::Duration;

use axum::response::Response;
use tokio::time::Instant;

use crate::{
    access::person::{self, Person},
    api::{ApiState, problem::Problem},
};

use super::{
    Point, Start, answer,
    reading::Reading,
    sight::{Change, Sight},
};

/// Parts of the past that are looked at for one answer: whoever has little in a long feed is sent on through it, and
/// each of their requests costs no more than this.
const PARTS: usize = 10;

/// The next changes of a person, `limit` at most. While `data` is empty and the newest change is above `next`, there may
/// be more; `wait` waits only at the end.
///
/// # Errors
/// 422, where it cannot be gone on from that point; 401, where they lose their place here meanwhile; or what the database
/// says.
pub(super) async fn page(
    state: &ApiState,
    person: Person,
    point: &Point,
    limit: usize,
    wait: Duration,
) -> Result<Response, Problem> {
    let deadline = Instant::now() + wait;
    let mut reading = Reading::begin(state, Sight::own(&person), point, Start::Oldest).await?;
    let mut changes: Vec<Change> = Vec::new();
    for _ in 0..PARTS {
        if reading.is_present() || changes.len() >= limit {
            break;
        }
        changes.extend(reading.look().await?);
    }
    if changes.is_empty() && reading.is_present() && !wait.is_zero() {
        changes = reading.wait(deadline).await?;
        // Whatever came: they may have lost their place before the feed was followed.
        let now = state.clock.now();
        person::judge(&state.db.read, person.session, now).await?.map_err(|unwelcome| {
            state.access.record(unwelcome.into(), now);
            Problem::unauthenticated()
        })?;
    }
    let cut = changes.len() > limit;
    changes.truncate(limit);
    let next = changes.last().filter(|_| cut).map_or(reading.at(), |last| last.seq);
    Ok(answer(state, changes.into_iter().map(|change| change.frame), next))
}
