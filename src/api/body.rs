//! A request's JSON body. What does not fit is answered with `invalid_request`, never with the parser's own words, which
//! may quote values.

use axum::{
    Json,
    extract::{FromRequest, Request},
};
use serde::de::DeserializeOwned;

use super::problem::Problem;

/// The body, read as `T`.
#[derive(Debug)]
pub(super) struct Body<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let Json(body) = Json::from_request(request, state)
            .await
            .map_err(|_| Problem::invalid("Send a JSON object with exactly the members that this path takes."))?;
        Ok(Self(body))
    }
}
