//! Signatures of deliveries: accepted exactly where `svix`, and an HMAC computed here, accept them.

use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use chrono::{DateTime, TimeDelta, Utc};
use clerk_sync::clerk::signature::{SignatureError, Verifier};
use hmac::{Hmac, Mac as _};
use sha2::Sha256;
use svix::webhooks::Webhook;

/// Of the examples that Svix publishes.
const SECRET: &str = "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// The moment of its example.
const NOW: i64 = 1_614_265_330;

const TOLERANCE: u64 = 300;

/// Checks one delivery: lines `name: value`, an empty line, the body. `%SIG%` in a value stands for the right signature
/// in base64, `%RAW%` for that of the timestamp as it is written.
pub fn check(data: &[u8]) {
    let end = data.windows(2).position(|two| two == b"\n\n").unwrap_or(data.len());
    let body = data.get(end + 2..).unwrap_or_default();
    let lines: Vec<(&[u8], &[u8])> = data[..end]
        .split(|byte| *byte == b'\n')
        .filter_map(|line| {
            let colon = line.iter().position(|byte| *byte == b':')?;
            Some((line[..colon].trim_ascii(), line[colon + 1..].trim_ascii()))
        })
        .collect();
    // A header that stands twice is read by its first value.
    let given =
        |name: &str| lines.iter().find(|(known, _)| known.eq_ignore_ascii_case(name.as_bytes())).map(|one| one.1);
    let text = |name: &str| {
        let value = given(&format!("svix-{name}")).or_else(|| given(&format!("webhook-{name}")));
        value.and_then(|value| std::str::from_utf8(value).ok()).unwrap_or_default()
    };
    let (id, timestamp) = (text("id"), text("timestamp"));
    let raw = mac(id, timestamp, body);
    let seconds = timestamp.parse::<i64>().ok();
    let parsed = seconds.map_or_else(String::new, |seconds| mac(id, &seconds.to_string(), body));
    let mut headers = HeaderMap::new();
    for (name, value) in &lines {
        let value = String::from_utf8_lossy(value).replace("%SIG%", &parsed).replace("%RAW%", &raw);
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value.as_bytes())) {
            headers.append(name, value);
        }
    }
    compare(&headers, body);
}

fn compare(headers: &HeaderMap, body: &[u8]) {
    let at = |seconds: i64| DateTime::<Utc>::from_timestamp(seconds, 0).expect("a moment");
    let verifier = Verifier::new(&format!("whsec_{SECRET}"), Duration::from_secs(TOLERANCE)).expect("a secret");
    let webhook = Webhook::new(SECRET).expect("a secret");
    let verified = verifier.verify(headers, body, at(NOW));

    let find = |prefix: &str, name: &str| headers.get(format!("{prefix}-{name}"));
    let value = |name: &str| find("svix", name).or_else(|| find("webhook", name)).and_then(|value| value.to_str().ok());
    let text = |name: &str| value(name).unwrap_or_default();
    let present = ["id", "timestamp", "signature"].iter().all(|name| value(name).is_some());
    let (id, timestamp, signatures) = (text("id"), text("timestamp"), text("signature"));
    let seconds = timestamp.parse::<i64>().ok();
    // The library signs the number; bytes that are no text are signed as they are written.
    let signed = |timestamp: &str| {
        let right = mac(id, timestamp, body);
        signatures.split(' ').any(|one| one.strip_prefix("v1,") == Some(&*right))
    };
    let is_text = std::str::from_utf8(body).is_ok();
    let right = present
        && seconds.is_some_and(|seconds| signed(&if is_text { seconds.to_string() } else { timestamp.to_owned() }));
    let near = seconds.is_some_and(|seconds| seconds.abs_diff(NOW) <= TOLERANCE);
    let readable = !id.is_empty() && id.len() <= 255 && !timestamp.is_empty() && !signatures.is_empty();

    if is_text {
        let theirs = webhook.verify_ignoring_timestamp(body, headers).is_ok();
        assert_eq!(theirs, right, "svix and the reference disagree");
    }
    match verified {
        Ok(named) => {
            assert!(right && near && readable, "accepted: {headers:?}");
            assert_eq!(named, id);
        }
        Err(SignatureError::Stale) => assert!(right && !near, "stale: {headers:?}"),
        Err(SignatureError::MissingHeaders) => assert!(!readable, "missing: {headers:?}"),
        Err(SignatureError::Invalid) => assert!(!(right && near && readable), "refused: {headers:?}"),
    }
    // At the moment that a right delivery names, it is accepted; beyond the tolerance it is not. None is before 1970.
    if let Some(seconds) = seconds.filter(|seconds| right && readable && (0..1 << 40).contains(seconds)) {
        assert!(verifier.verify(headers, body, at(seconds)).is_ok());
        let late = at(seconds) + TimeDelta::seconds(TOLERANCE as i64 + 1);
        assert!(verifier.verify(headers, body, late).is_err());
    }
}

fn mac(id: &str, timestamp: &str, body: &[u8]) -> String {
    let key = STANDARD.decode(SECRET).expect("base64");
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).expect("any key will do");
    mac.update(format!("{id}.{timestamp}.").as_bytes());
    mac.update(body);
    STANDARD.encode(mac.finalize().into_bytes())
}
