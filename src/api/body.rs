//! JSON bodies of requests and responses. A request that does not fit gets `invalid_request`, never the parser's own
//! words, which may quote values. A response is written without loss: it may hold what users wrote.

use axum::{
    Json,
    extract::{FromRequest, Request},
    http::header,
    response::{IntoResponse, Response},
};
use serde::de::DeserializeOwned;

use crate::json::Value;

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

/// A response that may hold what users wrote.
#[derive(Debug)]
pub struct JsonBody(pub Value);

impl JsonBody {
    /// Adds a member, where this is an object.
    pub fn insert(&mut self, name: &str, value: impl Into<Value>) {
        if let Value::Object(members) = &mut self.0 {
            members.insert(name.to_owned(), value.into());
        }
    }
}

impl IntoResponse for JsonBody {
    fn into_response(self) -> Response {
        ([(header::CONTENT_TYPE, "application/json")], self.0.to_string()).into_response()
    }
}
