//! Session tokens that frontends bring, verified without the network. Pure: a token and a moment in, who it names out.
//!
//! One key of Clerk's signs tokens of several classes (sessions, JWT templates, machines, OAuth, handshakes). Only a
//! session's passes: it names a person and a session that can be ended. Whether either has been is not in the token;
//! the database is asked. Claims of both versions pass: what differs between them is not read. Errors never repeat a
//! token or a part of it.
//! Sources: clerk.com/docs, "Manual JWT verification"; `jwtCategories.ts` of github.com/clerk/javascript.

use std::fmt;

use aws_lc_rs::rsa::PublicEncryptingKey;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use chrono::Duration;
use jsonwebtoken::{Algorithm, DecodingKey, Header, TokenData, Validation, decode, errors::ErrorKind};
use serde::Deserialize;

use crate::clock::{Time, from_millis};

/// Bytes. A session token has to fit into a cookie, which holds 4 KiB.
const LONGEST: usize = 7 * 1024;

/// How far Clerk's clock and ours may lie apart.
const LEEWAY: Duration = Duration::seconds(5);

/// The header's `cat` of a session token.
const SESSION: &str = "cl_B7d4PD111AAA";

/// The `cat` that some instances put on every class: it says nothing.
const UNMARKED: &str = "cl_I7d4PD111III";

/// Bits of a key that signatures can be verified with.
const KEY_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

/// What a session token says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Clerk's id of the person.
    pub clerk_id: String,
    /// Clerk's id of the session.
    pub session_id: String,
    /// When the token ends. The session goes on with the next one.
    pub expires_at: Time,
}

/// A token is not a session token of ours that is in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Longer than any session token.
    #[error("it is longer than any session token")]
    TooLong,
    /// Not three parts, not JSON, or a claim that is missing or of the wrong type.
    #[error("it is no token, or a claim is missing or of the wrong type")]
    Malformed,
    /// Signed in another way than with RS256.
    #[error("it is not signed with RS256")]
    Algorithm,
    /// Not signed with the configured key.
    #[error("clerk.jwt_key did not sign it")]
    Signature,
    /// Of another class: from a template, of a machine, for OAuth.
    #[error("it is a token of another class")]
    Class,
    /// `iss` is not ours.
    #[error("its issuer is not clerk.issuer")]
    Issuer,
    /// `azp` is not listed.
    #[error("its authorized party is not in clerk.authorized_parties")]
    Party,
    /// `exp` is past.
    #[error("it has expired")]
    Expired,
    /// `nbf` is to come.
    #[error("it is not yet valid")]
    Early,
    /// `sub` names no person.
    #[error("its subject is no person")]
    Subject,
    /// There is no session that could be ended.
    #[error("it names no session")]
    NoSession,
    /// The person has not finished signing in.
    #[error("its session is pending")]
    Pending,
}

/// The configuration cannot be used to verify tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Not an RSA public key of a usable size, as PEM.
    #[error("it is no RSA public key in PEM form")]
    Malformed,
    /// No issuer: keys are shared, so that a key alone lets tokens of other origin in.
    #[error("no issuer is set")]
    NoIssuer,
}

/// Verifies session tokens of one instance.
pub struct Verifier {
    key: DecodingKey,
    validation: Validation,
    issuer: String,
    parties: Vec<String>,
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Verifier({})", self.issuer)
    }
}

/// The claims that are read. Others, those about organisations too, are not: the database knows better.
#[derive(Deserialize)]
struct Claims {
    iss: String,
    sub: String,
    exp: f64,
    nbf: Option<f64>,
    sid: Option<String>,
    azp: Option<String>,
    sts: Option<String>,
}

impl Verifier {
    /// From a PEM public key (line ends may be written `\n`), the `iss` that tokens must have, and the `azp` that they
    /// may have (none listed: any).
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn new(pem: &str, issuer: &str, parties: &[String]) -> Result<Self, KeyError> {
        let der = spki(pem).ok_or(KeyError::Malformed)?;
        let parsed = PublicEncryptingKey::from_der(&der).map_err(|_| KeyError::Malformed)?;
        if !KEY_BITS.contains(&parsed.key_size_bits()) {
            return Err(KeyError::Malformed);
        }
        let issuer = issuer.trim();
        if issuer.is_empty() {
            return Err(KeyError::NoIssuer);
        }
        let mut validation = Validation::new(Algorithm::RS256);
        // The claims are judged below: by the moment that is passed in, each with an error of its own.
        validation.required_spec_claims.clear();
        (validation.validate_exp, validation.validate_nbf, validation.validate_aud) = (false, false, false);
        let key = DecodingKey::from_rsa_der(&der);
        Ok(Self { key, validation, issuer: issuer.to_owned(), parties: parties.to_vec() })
    }

    /// Whom the token names, if it is a session token that is in force at `now`.
    ///
    /// # Errors
    /// [`TokenError`].
    pub fn verify(&self, token: &str, now: Time) -> Result<Session, TokenError> {
        if token.len() > LONGEST {
            return Err(TokenError::TooLong);
        }
        let TokenData { header, claims } =
            decode::<Claims>(token, &self.key, &self.validation).map_err(|error| match error.kind() {
                ErrorKind::InvalidAlgorithm => TokenError::Algorithm,
                ErrorKind::InvalidSignature => TokenError::Signature,
                _ => TokenError::Malformed,
            })?;
        if !is_session(&header) {
            return Err(TokenError::Class);
        }
        if claims.iss != self.issuer {
            return Err(TokenError::Issuer);
        }
        // Absent where no page asked for the token: native apps, navigations.
        if claims.azp.is_some_and(|party| !self.parties.is_empty() && !self.parties.contains(&party)) {
            return Err(TokenError::Party);
        }
        let expires_at = moment(claims.exp)?;
        if now >= later(expires_at, LEEWAY) {
            return Err(TokenError::Expired);
        }
        if let Some(begins) = claims.nbf
            && later(now, LEEWAY) < moment(begins)?
        {
            return Err(TokenError::Early);
        }
        if !claims.sub.strip_prefix("user_").is_some_and(is_plain) {
            return Err(TokenError::Subject);
        }
        let session_id = claims.sid.filter(|id| is_plain(id)).ok_or(TokenError::NoSession)?;
        if claims.sts.as_deref() == Some("pending") {
            return Err(TokenError::Pending);
        }
        Ok(Session { clerk_id: claims.sub, session_id, expires_at })
    }
}

/// Whether a header is that of a session token, as far as it says.
fn is_session(header: &Header) -> bool {
    let access = header
        .typ
        .as_deref()
        .is_some_and(|typ| typ.eq_ignore_ascii_case("at+jwt") || typ.eq_ignore_ascii_case("application/at+jwt"));
    // `crit` lists what a reader must understand; we would not.
    let category = header.extras.get("cat").map(String::as_str);
    !access && header.crit.is_none() && matches!(category, None | Some(SESSION | UNMARKED))
}

/// Letters, digits and `_`, `-`: what ids of Clerk's are made of.
fn is_plain(id: &str) -> bool {
    !id.is_empty() && id.len() <= 255 && id.bytes().all(|c| c.is_ascii_alphanumeric() || matches!(c, b'_' | b'-'))
}

/// A moment in seconds since 1970, as claims have it.
fn moment(seconds: f64) -> Result<Time, TokenError> {
    from_millis((seconds * 1000.0) as i64).ok_or(TokenError::Malformed)
}

fn later(time: Time, by: Duration) -> Time {
    time.checked_add_signed(by).unwrap_or(Time::MAX_UTC)
}

/// The key within a PEM. Environments fold its lines in several ways; the key is the same.
fn spki(pem: &str) -> Option<Vec<u8>> {
    let pem = pem.replace("\\r", "").replace("\\n", "\n");
    let pem = pem.trim().strip_prefix("-----BEGIN PUBLIC KEY-----")?;
    let body: String = pem.strip_suffix("-----END PUBLIC KEY-----")?.split_whitespace().collect();
    STANDARD.decode(body).ok()
}
