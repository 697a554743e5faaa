//! What may come of asking Clerk. No error repeats a URL, a key, or words of an answer.

use std::time::Duration;

use serde::Deserialize;

/// Why Clerk did not answer as asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum ApiError {
    #[error("{0}")]
    Setting(&'static str),
    #[error("Clerk refuses the secret key ({status}): is it of this instance, and not revoked?")]
    Forbidden { status: u16 },
    #[error("Clerk knows nothing of that name")]
    NotFound,
    #[error("Clerk refuses the request ({status} {code})")]
    Refused { status: u16, code: String },
    #[error("Clerk's rate limit is used up; it asks to wait {}s", wait.as_secs())]
    Limited { wait: Duration },
    #[error("our share of Clerk's rate limit is used up for {}ms", wait.as_millis())]
    Busy { wait: Duration },
    #[error("Clerk's API has failed repeatedly and is left in peace for {}ms", wait.as_millis())]
    Resting { wait: Duration },
    #[error("Clerk's API is down ({status})")]
    Down { status: u16 },
    #[error("Clerk's API does not answer in time")]
    Timeout,
    #[error("Clerk's API cannot be reached")]
    Unreachable,
    #[error("Clerk's answer cannot be read: {0}")]
    Unreadable(&'static str),
}

impl ApiError {
    /// Whether the same question may be answered later.
    pub fn is_transient(&self) -> bool {
        !matches!(self, Self::Setting(_) | Self::Forbidden { .. } | Self::NotFound | Self::Refused { .. })
    }

    /// How long to wait before that, where it is known.
    pub fn wait(&self) -> Option<Duration> {
        match self {
            Self::Limited { wait } | Self::Busy { wait } | Self::Resting { wait } => Some(*wait),
            _ => None,
        }
    }
}

/// What is counted of an answer.
pub(super) fn label(error: Option<&ApiError>) -> &'static str {
    match error {
        None => "2xx",
        Some(ApiError::Limited { .. }) => "429",
        Some(ApiError::Forbidden { .. } | ApiError::NotFound | ApiError::Refused { .. }) => "4xx",
        Some(ApiError::Down { .. }) => "5xx",
        Some(_) => "failed",
    }
}

/// Why no answer came.
pub(super) fn connection(error: &reqwest::Error) -> ApiError {
    if error.is_timeout() { ApiError::Timeout } else { ApiError::Unreachable }
}

#[derive(Deserialize)]
struct Errors {
    errors: Vec<Coded>,
}

#[derive(Deserialize)]
struct Coded {
    code: String,
}

/// Clerk's code of an error, if the body holds one that is a plain word.
pub(super) fn code(body: &[u8]) -> String {
    let code = serde_json::from_slice(body).ok().and_then(|errors: Errors| errors.errors.into_iter().next());
    let plain = |code: &String| code.len() <= 64 && code.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    code.map(|coded| coded.code).filter(plain).unwrap_or_else(|| "without a code".into())
}

/// Whether an error's body is one of Clerk's.
pub(super) fn is_clerks(body: &[u8]) -> bool {
    serde_json::from_slice::<Errors>(body).is_ok_and(|errors| !errors.errors.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_plain_words_or_nothing() {
        let body = br#"{"errors":[{"code":"resource_not_found","message":"x"}],"clerk_trace_id":"t"}"#;
        assert_eq!(code(body), "resource_not_found");
        for odd in [&b"<html>"[..], b"", br#"{"errors":[]}"#, br#"{"errors":[{"code":"<script>"}]}"#] {
            assert_eq!(code(odd), "without a code");
        }
    }
}
