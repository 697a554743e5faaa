//! `POST /webhooks/clerk`: raw bytes, signature, envelope, row, and only then 200.
//!
//! The order matters: what the head alone decides (method, content type, announced length, signature headers and their
//! form, timestamp) is decided before a byte of the body is read ([`body`]); nothing of an unsigned body is parsed or stored; and nothing that is our
//! own fault is answered with a 4xx, which would count as the sender's.
//!
//! What a refused sender still sends is read and dropped by the connection ([`super::line`]).

mod body;

use axum::{
    Json,
    body::Body,
    extract::State,
    http::{HeaderMap, HeaderValue, Method, Request, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{MethodRouter, any},
};
use serde_json::json;

use crate::{
    clerk::{envelope, signature::SignatureError},
    inbox::receive::{Accepted, Receipt, Unavailable},
    telemetry::metrics,
};

use super::{ApiState, problem::Problem};

pub use body::Budget;

/// The route: every method reaches the handler, so that a wrong one gets our kind of error.
pub fn route(_state: &ApiState) -> MethodRouter<ApiState> {
    any(receive)
}

async fn receive(State(state): State<ApiState>, request: Request<Body>) -> Response {
    let mut event_type = None;
    match accept(&state, request, &mut event_type).await {
        Ok((accepted, id)) => {
            let status = match accepted {
                Accepted::New => "accepted",
                Accepted::Duplicate => "duplicate",
            };
            metrics::webhook(event_type.as_deref(), status);
            Json(json!({"status": status, "id": id})).into_response()
        }
        Err(problem) => {
            metrics::webhook(event_type.as_deref(), problem.code());
            let mut response = problem.into_response();
            if response.status() == StatusCode::METHOD_NOT_ALLOWED {
                response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("POST"));
            }
            response
        }
    }
}

async fn accept(
    state: &ApiState,
    request: Request<Body>,
    event_type: &mut Option<String>,
) -> Result<(Accepted, String), Problem> {
    let (parts, request_body) = request.into_parts();
    if parts.method != Method::POST {
        return Err(Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "Deliveries are POSTed."));
    }
    if !is_json(&parts.headers) {
        return Err(Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported_media_type",
            "Send application/json.",
        ));
    }
    let limit = state.config.receiver.max_body;
    let announced =
        parts.headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|length| length > limit as u64) {
        return Err(body::too_large(limit));
    }
    let now = state.clock.now();
    state.verifier.check_headers(&parts.headers, now).map_err(signature_problem)?;
    // Kept until the answer leaves: what waits to be stored is within the budget too.
    let received = body::read(request_body, limit, &state.bodies).await?;
    let body = received.bytes.as_slice();
    let id = state.verifier.verify(&parts.headers, body, now).map_err(signature_problem)?.to_owned();
    let envelope = envelope::read(without_bom(body))
        .map_err(|error| Problem::new(StatusCode::BAD_REQUEST, "invalid_payload", error.to_string()))?;
    *event_type = Some(envelope.event_type.clone());
    let traceparent =
        parts.headers.get("traceparent").and_then(|value| value.to_str().ok()).filter(|value| value.len() <= 64);
    let receipt =
        Receipt { svix_id: id.clone(), envelope, received_at: now, traceparent: traceparent.map(str::to_owned) };
    let started = std::time::Instant::now();
    let accepted = state.receiver.accept(receipt).await.map_err(|Unavailable(why)| {
        Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "unavailable",
            format!("The delivery cannot be stored now: {why}."),
        )
        .retry_after(5)
    })?;
    metrics::stage("receive", started.elapsed());
    Ok((accepted, id))
}

/// Whether the content type allows JSON. The signature decides what a body is, so a missing or an empty one does; what is
/// present must be JSON, each time that it is said: proxies repeat the header or join two with a comma.
fn is_json(headers: &HeaderMap) -> bool {
    let values = headers.get_all(header::CONTENT_TYPE);
    values.iter().all(|value| value.to_str().is_ok_and(|value| media_types(value).all(is_json_type)))
}

/// The media types of a header value, without those that are empty. A comma within quotes belongs to a parameter.
fn media_types(value: &str) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    let types = value.split(move |c| {
        quoted ^= c == '"';
        c == ',' && !quoted
    });
    types.map(|part| part.split(';').next().unwrap_or_default().trim()).filter(|essence| !essence.is_empty())
}

fn is_json_type(essence: &str) -> bool {
    let essence = essence.to_ascii_lowercase();
    let suffixed = essence.strip_suffix("+json").and_then(|rest| rest.split_once('/'));
    matches!(essence.as_str(), "application/json" | "text/json")
        || suffixed.is_some_and(|(kind, subtype)| !kind.is_empty() && !subtype.is_empty())
}

/// A UTF-8 byte order mark is signed with the body and is no part of the JSON.
fn without_bom(body: &[u8]) -> &[u8] {
    body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body)
}

fn signature_problem(error: SignatureError) -> Problem {
    match error {
        SignatureError::MissingHeaders => {
            Problem::new(StatusCode::BAD_REQUEST, "missing_headers", "Send svix-id, svix-timestamp and svix-signature.")
        }
        SignatureError::Invalid => {
            Problem::new(StatusCode::UNAUTHORIZED, "invalid_signature", "The signature is not valid for this body.")
        }
        SignatureError::Stale => Problem::new(
            StatusCode::UNAUTHORIZED,
            "stale_timestamp",
            "The timestamp is too far from now; check the clocks.",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_content_type_that_is_present_is_json() {
        let cases: [(&[&str], bool); 17] = [
            (&[], true),
            (&[""], true),
            (&["  "], true),
            (&[","], true),
            (&["application/json"], true),
            (&["Application/JSON; charset=UTF-8"], true),
            (&["application/json, application/json"], true),
            (&["application/json", "application/json"], true),
            (&["", "application/json"], true),
            (&["application/vnd.clerk.v1+json"], true),
            (&["text/json;charset=utf-8"], true),
            (&["application/json; profile=\"a,b\""], true),
            (&["application/json, text/plain"], false),
            (&["application/json", "text/html"], false),
            (&["application/x-www-form-urlencoded"], false),
            (&["json"], false),
            (&["application/jsonp"], false),
        ];
        for (values, json) in cases {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(header::CONTENT_TYPE, value.parse().unwrap());
            }
            assert_eq!(is_json(&headers), json, "{values:?}");
        }
    }

    #[test]
    fn one_byte_order_mark_is_skipped() {
        assert_eq!(without_bom(b"\xef\xbb\xbf{}"), b"{}");
        assert_eq!(without_bom(b"\xef\xbb\xbf\xef\xbb\xbf{}"), b"\xef\xbb\xbf{}");
        assert_eq!(without_bom(b"{}\xef\xbb\xbf"), b"{}\xef\xbb\xbf");
    }
}
