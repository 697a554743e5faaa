//! Every error that leaves over HTTP: RFC 9457 problem details with a stable `code`. Texts name what to do and
//! never hold a value of the request, a driver's message or a secret.

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::{Map, Value, json};

use crate::db::is_about_values;

/// An answer that is an error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    status: StatusCode,
    code: &'static str,
    detail: String,
    retry_after: Option<u32>,
    members: Map<String, Value>,
}

impl Problem {
    /// An error of this status and code.
    pub fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Self { status, code, detail: detail.into(), retry_after: None, members: Map::new() }
    }

    /// With a `Retry-After`, in seconds.
    #[must_use]
    pub fn retry_after(mut self, seconds: u32) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    /// With a member of its own beside the standard ones.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.members.insert(name.to_owned(), value.into());
        self
    }

    /// The stable code.
    pub fn code(&self) -> &'static str {
        self.code
    }

    /// 401: who is asking is not known.
    pub fn unauthenticated() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "unauthenticated", "Send a valid token as Authorization: Bearer.")
    }

    /// 403: who is asking may not.
    pub fn forbidden() -> Self {
        Self::new(StatusCode::FORBIDDEN, "forbidden", "This token may not do that.")
    }

    /// 404: there is no such thing, or not for this caller.
    pub fn missing() -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", "There is nothing here.")
    }

    /// 405: the path is right, the method is not.
    pub fn method() -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "This path does not take that method.")
    }

    /// 409: the thing is not in a state for it.
    pub fn condition(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, "conflict_condition", detail)
    }

    /// 422: the request cannot be understood.
    pub fn invalid(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_request", detail)
    }

    /// 503: our own fault, worth another try.
    pub fn not_ready(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "not_ready", detail).retry_after(5)
    }

    /// 503: the change feed does not reach the request's `min_rev` yet.
    pub fn stale() -> Self {
        let detail = "The change feed here does not reach min_rev yet. If it is of another epoch, it never will.";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "stale", detail).retry_after(1)
    }

    /// 500: our own fault, and trying again will not help.
    pub fn internal() -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "Something went wrong here; the log says more.")
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut body = json!({
            "type": "about:blank",
            "title": self.status.canonical_reason().unwrap_or("Error"),
            "status": self.status.as_u16(),
            "code": self.code,
            "detail": self.detail,
        });
        if let Value::Object(body) = &mut body {
            body.extend(self.members);
        }
        let mut response = (self.status, Json(body)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.status == StatusCode::UNAUTHORIZED && self.code == "unauthenticated" {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

impl From<sea_orm::DbErr> for Problem {
    fn from(error: sea_orm::DbErr) -> Self {
        tracing::warn!(error = %crate::db::Quiet(&error), "a request could not be answered: the database");
        // A statement that the database will never take is no reason to ask again.
        if is_about_values(&error) { Self::internal() } else { Self::not_ready("The database does not answer.") }
    }
}

/// The answer to a path that is not there.
pub async fn not_found() -> Problem {
    Problem::missing()
}

/// The answer to a method that a path does not have.
pub async fn method_not_allowed() -> Problem {
    Problem::method()
}
