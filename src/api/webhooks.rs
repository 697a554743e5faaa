//! `POST /webhooks/clerk`: raw bytes, signature, envelope, row, and only then 200.
//!
//! The order matters: nothing of an unsigned body is parsed or stored, and nothing that is our own fault is
//! answered with a 4xx, which would count as the sender's.

use axum::{
    Json,
    body::{Body, to_bytes},
    extract::State,
    http::{HeaderMap, Method, Request, StatusCode, header},
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
            problem.into_response()
        }
    }
}

async fn accept(
    state: &ApiState,
    request: Request<Body>,
    event_type: &mut Option<String>,
) -> Result<(Accepted, String), Problem> {
    let (parts, body) = request.into_parts();
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
    let too_large =
        || Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "payload_too_large", format!("At most {limit} bytes."));
    let announced =
        parts.headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|length| length > limit as u64) {
        return Err(too_large());
    }
    let body = to_bytes(body, limit).await.map_err(|error| match is_length_limit(&error) {
        true => too_large(),
        false => Problem::new(StatusCode::BAD_REQUEST, "invalid_payload", "The body did not arrive whole."),
    })?;
    let now = state.clock.now();
    let id = state.verifier.verify(&parts.headers, &body, now).map_err(signature_problem)?.to_owned();
    let envelope = envelope::read(&body)
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

/// A content type that is present must be JSON; one that is absent may be.
fn is_json(headers: &HeaderMap) -> bool {
    let Some(value) = headers.get(header::CONTENT_TYPE) else { return true };
    let essence = value.to_str().unwrap_or("-").split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence == "application/json" || (essence.starts_with("application/") && essence.ends_with("+json"))
}

fn is_length_limit(error: &axum::Error) -> bool {
    use std::error::Error as _;
    error.source().is_some_and(|source| source.is::<http_body_util::LengthLimitError>())
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
