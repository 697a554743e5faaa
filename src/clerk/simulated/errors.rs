//! Answers that say no, in Clerk's form: `{"errors":[{code, message, long_message, meta?}], "clerk_trace_id"}`.
//! Codes and words are those of Clerk's own index: clerk.com/docs/guides/development/errors/backend-api.

use axum::{
    Json,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde_json::json;

/// A refusal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ApiError {
    pub(super) status: u16,
    pub(super) code: &'static str,
    message: &'static str,
    long: String,
    param: Option<String>,
}

fn form(code: &'static str, message: &'static str, long: String, param: &str) -> ApiError {
    ApiError { status: 422, code, message, long, param: Some(param.to_owned()) }
}

fn other(status: u16, code: &'static str, message: &'static str, long: &str) -> ApiError {
    ApiError { status, code, message, long: long.to_owned(), param: None }
}

pub(super) fn no_key() -> ApiError {
    let long = "Invalid Authorization header format. Must be 'Bearer <YOUR_API_KEY>'";
    other(401, "authorization_header_format_invalid", "Invalid Authorization header format", long)
}

pub(super) fn wrong_key() -> ApiError {
    let text = "The provided Clerk Secret Key is invalid. Make sure that your Clerk Secret Key is correct.";
    other(401, "clerk_key_invalid", text, text)
}

pub(super) fn version(why: &str) -> ApiError {
    other(400, "api_version_invalid", "invalid API version", &format!("Invalid Clerk API version: {why}"))
}

pub(super) fn too_many() -> ApiError {
    let long = "Too many requests. Please try again in a bit.";
    other(429, "too_many_requests", "Too many requests", long)
}

pub(super) fn internal() -> ApiError {
    let long = "There was an internal error on our servers. We've been notified and are working on fixing it.";
    other(500, "internal_clerk_error", "Oops, an unexpected error occurred", long)
}

pub(super) fn no_user(id: &str) -> ApiError {
    other(404, "resource_not_found", "not found", &format!("No user was found with id {id}"))
}

pub(super) fn no_organization() -> ApiError {
    other(404, "resource_not_found", "Organization not found", "Given organization not found.")
}

pub(super) fn no_path() -> ApiError {
    other(404, "resource_not_found", "URL not found", "The requested path is not one of the simulated ones.")
}

pub(super) fn no_method() -> ApiError {
    other(405, "method_not_allowed", "method not allowed", "Only GET is simulated.")
}

pub(super) fn unknown(param: &str) -> ApiError {
    form("form_param_unknown", "is unknown", format!("{param} is not a valid parameter for this request."), param)
}

pub(super) fn encoding(param: &str) -> ApiError {
    let long = format!("{param} contains invalid UTF-8 characters");
    form("form_param_value_invalid", "invalid character encoding", long, param)
}

pub(super) fn not_allowed_value(param: &str, value: &str) -> ApiError {
    let long = format!("{value} does not match one of the allowed values for parameter {param}");
    form("form_param_value_invalid", "is invalid", long, param)
}

pub(super) fn wrong_type(param: &str, kind: &str) -> ApiError {
    form("form_param_type_invalid", "is invalid", format!("`{param}` must be a `{kind}`."), param)
}

pub(super) fn no_date(param: &str) -> ApiError {
    let text = "Date values must be given in Unix millisecond timestamp format.";
    form("form_param_invalid_date", text, text.to_owned(), param)
}

pub(super) fn too_long_list(param: &str, most: usize) -> ApiError {
    let long = format!("{param} should not exceed {most} items.");
    form("form_param_array_size_exceeded", "exceeds maximum size", long, param)
}

pub(super) fn disallowed(param: &str, beside: &str) -> ApiError {
    let long = format!("`{param}` isn't allowed when {beside}.");
    form("form_conditional_param_disallowed", "is not allowed", long, param)
}

pub(super) fn missing_beside(param: &str, beside: &str) -> ApiError {
    let long = format!("`{param}` is required when `{beside}` is present.");
    form("form_conditional_param_missing", "is missing", long, param)
}

pub(super) fn no_resource(param: &str) -> ApiError {
    let long = format!("The resource associated with the supplied {param} was not found.");
    form("form_resource_not_found", "is missing", long, param)
}

impl ApiError {
    /// The answer, under this trace id.
    pub(super) fn answer(self, trace: &str) -> Response {
        let mut error = json!({"message": self.message, "long_message": self.long, "code": self.code});
        if let Some(param) = self.param {
            error["meta"] = json!({"param_name": param});
        }
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        (status, Json(json!({"errors": [error], "clerk_trace_id": trace}))).into_response()
    }
}
