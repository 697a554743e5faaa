//! The receipts: what Clerk delivered and what became of each.

use axum::extract::State;

use crate::{
    domain,
    inbox::{
        admin::{self, AdminError},
        list::{self, Filter, WINDOW},
    },
};

use crate::api::{
    ApiState,
    auth::Admin,
    body::JsonBody,
    page,
    params::{Params, Segment},
    problem::Problem,
};

/// Newest first, without bodies. A page may be short and yet have a `next_cursor`: see [`list::page`].
pub(super) async fn list(State(state): State<ApiState>, _: Admin, params: Params) -> Result<JsonBody, Problem> {
    let params = params.only(&["state", "type", "subject", "limit", "cursor"])?;
    let limit = params.limit(200, 50)?;
    let before = params.cursor("events", |key| key.parse().ok())?;
    let filter = Filter {
        state: params.filter("state").map(word).transpose()?,
        event_type: params.filter("type").map(str::to_owned),
        subject: params.filter("subject").map(str::to_owned),
    };
    let (rows, next) = list::page(&state.db, &filter, before, limit, WINDOW).await?;
    Ok(page::list("events", rows.iter().map(|row| row.to_json()).collect(), next))
}

fn word(word: &str) -> Result<domain::State, Problem> {
    domain::State::parse(word).ok_or_else(|| {
        let known = domain::State::ALL.map(domain::State::as_str).join(", ");
        Problem::invalid(format!("state must be one of {known}."))
    })
}

/// One receipt with its body, private metadata masked: the only place that shows bodies.
pub(super) async fn show(
    State(state): State<ApiState>,
    _: Admin,
    Segment(svix_id): Segment,
) -> Result<JsonBody, Problem> {
    let row = list::show(&state.db, &svix_id).await?.ok_or_else(Problem::missing)?;
    Ok(JsonBody(row.into()))
}

/// Has it planned again; answers the row as it now is.
pub(super) async fn retry(
    State(state): State<ApiState>,
    _: Admin,
    Segment(svix_id): Segment,
) -> Result<JsonBody, Problem> {
    admin::retry(&state.db, &svix_id, state.clock.now()).await?;
    state.signals.inbox.wake();
    after(&state, &svix_id).await
}

/// Puts it aside; answers the row as it now is.
pub(super) async fn discard(
    State(state): State<ApiState>,
    _: Admin,
    Segment(svix_id): Segment,
) -> Result<JsonBody, Problem> {
    admin::discard(&state.db, &svix_id, state.clock.now()).await?;
    after(&state, &svix_id).await
}

async fn after(state: &ApiState, svix_id: &str) -> Result<JsonBody, Problem> {
    let row = list::find(&state.db, svix_id).await?.ok_or_else(Problem::missing)?;
    Ok(JsonBody(row.to_json().into()))
}

impl From<AdminError> for Problem {
    fn from(error: AdminError) -> Self {
        match error {
            AdminError::Missing => Self::missing(),
            AdminError::Condition(why) => Self::condition(why),
            AdminError::Database(error) => error.into(),
        }
    }
}
