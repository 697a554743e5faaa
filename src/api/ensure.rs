//! `POST /v1/users/{clerk_id}/ensure?wait=SECONDS`: the person's row, now; Clerk is asked for it where it is not here yet.

use std::time::Duration;

use axum::{
    Router,
    extract::State,
    http::header,
    response::{IntoResponse, Response},
    routing::post,
};

use crate::{
    access::Caller,
    outbox::feed,
    reconcile::ensure::{EnsureError, Ensured},
    sync::confirm::is_plain,
};

use super::{
    ApiState,
    auth::Known,
    params::{Params, Segment},
    problem::Problem,
    reads::Key,
};

/// The longest `wait`.
pub(super) const WAIT_MAX: Duration = Duration::from_secs(30);

/// The routes of this resource.
pub(super) fn routes() -> Router<ApiState> {
    Router::new().route("/v1/users/{id}/ensure", post(ensure))
}

async fn ensure(
    State(state): State<ApiState>,
    Known(caller): Known,
    Segment(segment): Segment,
    params: Params,
) -> Result<Response, Problem> {
    let clerk_id = own(&caller, segment)?;
    let params = params.only(&["wait"])?;
    let most = i64::try_from(WAIT_MAX.as_secs()).unwrap_or(30);
    let wait = Duration::from_secs(params.whole("wait", 0..=most)?.unwrap_or(0).unsigned_abs());
    if !clerk_id.starts_with("user_") || !is_plain(&clerk_id) {
        return Err(Problem::invalid("A person is ensured by Clerk's id, which starts with user_."));
    }
    match state.ensurer.ensure(&clerk_id, wait).await? {
        Ensured::Live => {}
        Ensured::Deleted | Ensured::Unknown => return Err(Problem::missing()),
        Ensured::Refused(why) => return Err(Problem::condition(why)),
        Ensured::Unanswered(why) => return Err(Problem::not_ready(why)),
    }
    // What brought the row in may not have reached the cache: an absence or an older row may stand there.
    let (_, head) = feed::bounds(&state.db.read).await?;
    state.tail.see(head).await;
    let (_, body) = state.user_json(&Key::Clerk(clerk_id)).await?.ok_or_else(Problem::missing)?;
    Ok(([(header::CONTENT_TYPE, "application/json")], body.to_string()).into_response())
}

/// Whose row this caller may ask for: services with the right to write anybody's, people their own.
fn own(caller: &Caller, segment: String) -> Result<String, Problem> {
    match caller {
        Caller::Person(person) if segment == "me" || segment == person.session.clerk_id => {
            Ok(person.session.clerk_id.clone())
        }
        Caller::Person(_) => Err(Problem::missing()),
        caller if caller.may_write() => Ok(segment),
        _ => Err(Problem::forbidden()),
    }
}

impl From<EnsureError> for Problem {
    fn from(EnsureError::Database(error): EnsureError) -> Self {
        tracing::warn!(error = %crate::db::Quiet(&error), "a person could not be ensured");
        Self::not_ready("The database does not answer.")
    }
}
