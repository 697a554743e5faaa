//! Signatures of deliveries, by the `svix` crate: HMAC-SHA-256 over `{id}.{timestamp}.{raw body}`.
//!
//! Several secrets may be in force while one is rotated; which of them failed is never told.
//! Source: docs.svix.com/receiving/verifying-payloads/how-manual.

use std::fmt;

use axum::http::HeaderMap;
use base64::Engine as _;
use hmac::{Hmac, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;
use svix::webhooks::{Webhook, WebhookError};

use crate::clock::{Time, span};

/// A delivery is not what it claims to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// One of the three headers is missing or unreadable.
    #[error("a signature header is missing or unreadable")]
    MissingHeaders,
    /// No configured secret made this signature.
    #[error("the signature is not valid")]
    Invalid,
    /// The signature is right, but too old or from the future.
    #[error("the timestamp is too far from now")]
    Stale,
}

/// A configured secret cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// Nothing is set.
    #[error("no signing secret is set")]
    Missing,
    /// Not `whsec_` and standard base64 of at least one byte.
    #[error("the signing secret is malformed: expected whsec_ followed by base64")]
    Malformed,
}

/// Checks deliveries against every configured secret.
pub struct Verifier {
    secrets: Vec<(Webhook, Vec<u8>)>,
    tolerance: chrono::Duration,
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Verifier({} secrets)", self.secrets.len())
    }
}

impl Verifier {
    /// From a list of secrets separated by commas; `tolerance` is how far a timestamp may lie from now.
    ///
    /// # Errors
    /// [`SecretError`] when the list is empty or one of them is malformed.
    pub fn new(secrets: &str, tolerance: std::time::Duration) -> Result<Self, SecretError> {
        let secrets: Vec<(Webhook, Vec<u8>)> = secrets
            .split(',')
            .map(str::trim)
            .filter(|secret| !secret.is_empty())
            .map(secret)
            .collect::<Result<_, _>>()?;
        if secrets.is_empty() {
            return Err(SecretError::Missing);
        }
        Ok(Self { secrets, tolerance: span(tolerance) })
    }

    /// Checks what can be judged without the body: that the three headers are there, that one of the signatures has the
    /// form of one, and that the timestamp is close to `now`.
    ///
    /// # Errors
    /// [`SignatureError`]; `Invalid` for a timestamp that is no time and for signatures none of which can be one.
    pub fn check_headers(&self, headers: &HeaderMap, now: Time) -> Result<(), SignatureError> {
        let Signed { timestamp, signatures, .. } = Signed::read(headers)?;
        let at = seconds(timestamp)?;
        if (now - at).abs() > self.tolerance {
            return Err(SignatureError::Stale);
        }
        if digests(signatures).next().is_none() { Err(SignatureError::Invalid) } else { Ok(()) }
    }

    /// The delivery's id, once one of the secrets is found to have signed exactly these bytes at about `now`.
    ///
    /// # Errors
    /// [`SignatureError`]; a wrong signature is told before a stale timestamp.
    pub fn verify<'a>(&self, headers: &'a HeaderMap, body: &[u8], now: Time) -> Result<&'a str, SignatureError> {
        let Signed { id, timestamp, signatures } = Signed::read(headers)?;
        let signed = |(webhook, key): &(Webhook, Vec<u8>)| match webhook.verify_ignoring_timestamp(body, headers) {
            Ok(()) => true,
            // The crate signs text only. Bytes that are no text must still be told from bytes that are not Clerk's.
            Err(WebhookError::InvalidPayload) => signed_bytes(key, id, timestamp, signatures, body),
            Err(_) => false,
        };
        if !self.secrets.iter().any(signed) {
            return Err(SignatureError::Invalid);
        }
        if (now - seconds(timestamp)?).abs() > self.tolerance {
            return Err(SignatureError::Stale);
        }
        Ok(id)
    }

    /// The signature header for a delivery, made with the first secret: what `send` and `dev` put on their requests.
    /// Bytes that are no text are signed too, so that a receiver's answer to them can be tried out.
    pub fn sign(&self, id: &str, seconds: i64, body: &[u8]) -> Option<String> {
        let (webhook, key) = self.secrets.first()?;
        if let Ok(signature) = webhook.sign(id, seconds, body) {
            return Some(signature);
        }
        let digest = mac(key, id, &seconds.to_string(), body)?.finalize().into_bytes();
        Some(format!("v1,{}", base64::engine::general_purpose::STANDARD.encode(digest)))
    }
}

/// The headers that a signature is made of.
struct Signed<'a> {
    id: &'a str,
    timestamp: &'a str,
    signatures: &'a str,
}

impl<'a> Signed<'a> {
    fn read(headers: &'a HeaderMap) -> Result<Self, SignatureError> {
        let find = |name| header(headers, name).ok_or(SignatureError::MissingHeaders);
        let id = find("id")?;
        if id.len() > 255 {
            return Err(SignatureError::MissingHeaders);
        }
        Ok(Self { id, timestamp: find("timestamp")?, signatures: find("signature")? })
    }
}

/// The time that a timestamp names. Nothing was signed before 1970.
fn seconds(timestamp: &str) -> Result<Time, SignatureError> {
    let seconds = timestamp.parse().ok().filter(|seconds| *seconds >= 0);
    seconds.and_then(|seconds| Time::from_timestamp(seconds, 0)).ok_or(SignatureError::Invalid)
}

fn secret(text: &str) -> Result<(Webhook, Vec<u8>), SecretError> {
    let webhook = Webhook::new(text).map_err(|_| SecretError::Malformed)?;
    let bare = text.strip_prefix("whsec_").unwrap_or(text);
    let key = base64::engine::general_purpose::STANDARD.decode(bare).map_err(|_| SecretError::Malformed)?;
    Ok((webhook, key))
}

/// `svix-…`, else `webhook-…`. Looked up exactly as the Svix library does, so that what is returned is what was signed.
fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let find = |prefix: &str| headers.get(format!("{prefix}-{name}"));
    find("svix").or_else(|| find("webhook"))?.to_str().ok().filter(|value| !value.is_empty())
}

fn signed_bytes(key: &[u8], id: &str, timestamp: &str, signatures: &str, body: &[u8]) -> bool {
    let Some(mac) = mac(key, id, timestamp, body) else { return false };
    let expected = mac.finalize().into_bytes();
    digests(signatures).any(|given| given.ct_eq(&expected).into())
}

/// The signatures of a header that have the form of one: `v1,` and 32 bytes in base64.
fn digests(signatures: &str) -> impl Iterator<Item = Vec<u8>> {
    let given = signatures.split(' ').filter_map(|signature| signature.strip_prefix("v1,"));
    let decoded = given.filter_map(|text| base64::engine::general_purpose::STANDARD.decode(text).ok());
    decoded.filter(|digest| digest.len() == 32)
}

/// The HMAC over what is signed of a delivery.
fn mac(key: &[u8], id: &str, timestamp: &str, body: &[u8]) -> Option<Hmac<Sha256>> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).ok()?;
    mac.update(format!("{id}.{timestamp}.").as_bytes());
    mac.update(body);
    Some(mac)
}
