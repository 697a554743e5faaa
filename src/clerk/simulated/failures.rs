//! The ways in which an answer goes wrong: Clerk's own, those of what stands before it, and those of the network.

use std::{io, time::Duration};

use axum::{
    body::{Body, Bytes},
    http::{HeaderValue, Response as Builder, StatusCode, header},
    response::{IntoResponse, Response},
};
use futures_util::{StreamExt as _, stream};

use super::{errors, line::Cut};

/// What a 429 says of when to come again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RetryAfter {
    /// In so many seconds.
    Seconds(u64),
    /// This text, whatever it is.
    Text(String),
    /// Nothing.
    Nothing,
}

/// How a request fails.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// 429.
    TooMany(RetryAfter),
    /// 500 with Clerk's JSON.
    Internal,
    /// 502 with HTML, of a proxy.
    BadGateway,
    /// 503 with nothing.
    Unavailable,
    /// 404 with nothing, of a proxy: it says nothing about the object.
    EmptyNotFound,
    /// 200 with HTML.
    Html,
    /// 200, said to be JSON, which is not.
    Garbled,
    /// 200 with JSON of another shape.
    OtherShape,
    /// The right answer's head and half its body; then the connection ends.
    Truncated,
    /// The connection is reset before the answer.
    Reset,
    /// Nothing for so long; then the right answer.
    Hang(Duration),
}

fn page(status: StatusCode) -> Response {
    let html = "<html><head><title>Error</title></head><body><center><h1>Error</h1></center></body></html>";
    (status, [(header::CONTENT_TYPE, "text/html; charset=UTF-8")], html).into_response()
}

fn json(text: &'static str) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], text).into_response()
}

/// A 429.
pub(super) fn too_many(after: &RetryAfter, trace: &str) -> Response {
    let mut response = errors::too_many().answer(trace);
    let value = match after {
        RetryAfter::Seconds(seconds) => HeaderValue::from_str(&seconds.to_string()).ok(),
        RetryAfter::Text(text) => HeaderValue::from_str(text).ok(),
        RetryAfter::Nothing => None,
    };
    if let Some(value) = value {
        response.headers_mut().insert(header::RETRY_AFTER, value);
    }
    response
}

impl Failure {
    /// The answer that goes wrong; `right` is the one that would have been given. The status is 0 where none is.
    pub(super) fn answer(&self, right: Response, cut: Option<&Cut>, trace: &str) -> (u16, Response) {
        let response = match self {
            Self::TooMany(after) => too_many(after, trace),
            Self::Internal => errors::internal().answer(trace),
            Self::BadGateway => page(StatusCode::BAD_GATEWAY),
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE.into_response(),
            Self::EmptyNotFound => StatusCode::NOT_FOUND.into_response(),
            Self::Html => page(StatusCode::OK),
            Self::Garbled => json(r#"[{"id":"user_"#),
            Self::OtherShape => json(r#"{"object":"maintenance"}"#),
            // One that is no JSON to be cut is given as it is.
            Self::Hang(_) | Self::Truncated => right,
            Self::Reset => {
                if let Some(cut) = cut {
                    cut.now();
                }
                return (0, Response::new(Body::from_stream(stream::iter([broken()]))));
            }
        };
        (response.status().as_u16(), response)
    }
}

fn broken() -> io::Result<Bytes> {
    Err(io::ErrorKind::ConnectionReset.into())
}

/// The head of an answer of `body`, and half of it.
pub(super) fn truncated(body: &str) -> Response {
    let half = Bytes::copy_from_slice(&body.as_bytes()[..body.len() / 2]);
    // The pause lets the half go out: what is still held when a body breaks is dropped.
    let end = async {
        tokio::task::yield_now().await;
        broken()
    };
    let stream = Body::from_stream(stream::iter([Ok(half)]).chain(stream::once(end)));
    Builder::builder()
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::CONTENT_LENGTH, body.len())
        .body(stream)
        .unwrap_or_default()
}
