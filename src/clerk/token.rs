//! Session tokens that frontends bring. Pure: a token, a key and a moment in, who it names out. Where keys come from is
//! [`super::keys`]' business; nothing in a token (`jku`, `jwk`, `x5u`) leads anywhere.
//!
//! One key of Clerk's signs tokens of several classes (sessions, JWT templates, machines, OAuth, handshakes). Only a
//! session's passes: it names a person and a session that can be ended. Whether either has been is not in the token;
//! the database is asked. Claims of both versions pass: what differs between them is not read. Errors never repeat a
//! token or a part of it.
//! Sources: clerk.com/docs, "Manual JWT verification"; `jwtCategories.ts` of github.com/clerk/javascript.

use std::fmt;

use chrono::Duration;
use jsonwebtoken::{Algorithm, Header, TokenData, Validation, decode, decode_header, errors::ErrorKind};
use serde::Deserialize;

use crate::clock::{Time, from_millis};

use super::keys::Key;

/// Bytes. A session token has to fit into a cookie, which holds 4 KiB.
const LONGEST: usize = 7 * 1024;

/// How far Clerk's clock and ours may lie apart.
const LEEWAY: Duration = Duration::seconds(5);

/// The header's `cat` of a session token.
const SESSION: &str = "cl_B7d4PD111AAA";

/// The `cat` that some instances put on every class: it says nothing.
const UNMARKED: &str = "cl_I7d4PD111III";

/// What a session token says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Clerk's id of the person.
    pub clerk_id: String,
    /// Clerk's id of the session.
    pub session_id: String,
    /// Clerk's id of whoever acts as the person: support staff who look at what they see, an agent of theirs.
    pub actor: Option<String>,
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
    /// Not signed with the instance's key, or with the one of them that it names.
    #[error("the instance's key did not sign it")]
    Signature,
    /// Signed with a key that is not among those published.
    #[error("it names a key that is not published")]
    UnknownKey,
    /// Of another class: from a template, of a machine, for OAuth.
    #[error("it is a token of another class")]
    Class,
    /// `iss` is not ours.
    #[error("its issuer is not clerk.issuer")]
    Issuer,
    /// `azp` is not listed, or is not there and must be.
    #[error("its authorized party is not in clerk.authorized_parties, or it has none")]
    Party,
    /// `exp` is past.
    #[error("it has expired")]
    Expired,
    /// `nbf` is to come.
    #[error("it is not yet valid")]
    Early,
    /// `iat` is to come.
    #[error("it was issued in the future")]
    Future,
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

/// What the session tokens of one instance say.
pub struct Rules {
    validation: Validation,
    issuer: String,
    parties: Vec<String>,
    require_party: bool,
}

impl fmt::Debug for Rules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Rules({})", self.issuer)
    }
}

/// The claims that are read. Others, those about organisations too, are not: the database knows better.
#[derive(Deserialize)]
struct Claims {
    iss: String,
    sub: String,
    exp: f64,
    iat: Option<f64>,
    nbf: Option<f64>,
    sid: Option<String>,
    azp: Option<String>,
    sts: Option<String>,
    act: Option<Act>,
}

/// Who acts. One whom we cannot read must not be taken for nobody: such a token is malformed.
#[derive(Deserialize)]
struct Act {
    sub: String,
}

/// The key that a token says it was signed with, read before anything of it is verified; none where it names none. What
/// could not be a session token whoever signed it is refused here, so that nobody is asked for a key because of it.
///
/// # Errors
/// [`TokenError`].
pub fn kid(token: &str) -> Result<Option<String>, TokenError> {
    if token.len() > LONGEST {
        return Err(TokenError::TooLong);
    }
    let header = decode_header(token).map_err(|_| TokenError::Malformed)?;
    if header.alg != Algorithm::RS256 {
        return Err(TokenError::Algorithm);
    }
    if is_session(&header) { Ok(header.kid) } else { Err(TokenError::Class) }
}

impl Rules {
    /// From the `iss` that tokens must have, the `azp` that they may have (none listed: any), and whether they must have
    /// one. `None` without an issuer: one key signs for several, so that a key alone lets tokens of other origin in.
    pub fn new(issuer: &str, parties: &[String], require_party: bool) -> Option<Self> {
        let issuer = issuer.trim();
        if issuer.is_empty() {
            return None;
        }
        let mut validation = Validation::new(Algorithm::RS256);
        // The claims are judged below: by the moment that is passed in, each with an error of its own.
        validation.required_spec_claims.clear();
        (validation.validate_exp, validation.validate_nbf, validation.validate_aud) = (false, false, false);
        Some(Self { validation, issuer: issuer.to_owned(), parties: parties.to_vec(), require_party })
    }

    /// Whom the token names, if it is a session token, signed with this key, that is in force at `now`.
    ///
    /// # Errors
    /// [`TokenError`].
    pub fn verify(&self, token: &str, key: &Key, now: Time) -> Result<Session, TokenError> {
        if token.len() > LONGEST {
            return Err(TokenError::TooLong);
        }
        let TokenData { header, claims } =
            decode::<Claims>(token, key.decoding(), &self.validation).map_err(|error| match error.kind() {
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
        if !self.admits(claims.azp.as_ref()) {
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
        if let Some(issued) = claims.iat
            && later(now, LEEWAY) < moment(issued)?
        {
            return Err(TokenError::Future);
        }
        if !claims.sub.strip_prefix("user_").is_some_and(is_plain) {
            return Err(TokenError::Subject);
        }
        let session_id = claims.sid.filter(|id| is_plain(id)).ok_or(TokenError::NoSession)?;
        if claims.sts.as_deref() == Some("pending") {
            return Err(TokenError::Pending);
        }
        let actor = claims.act.map(|act| act.sub);
        if actor.as_deref().is_some_and(|actor| !is_plain(actor)) {
            return Err(TokenError::Malformed);
        }
        Ok(Session { clerk_id: claims.sub, session_id, actor, expires_at })
    }

    /// Whether a token of this party passes. There is none where no page asked for the token: in native apps, at
    /// navigations, which is why it need not be there.
    fn admits(&self, party: Option<&String>) -> bool {
        match party {
            Some(party) => self.parties.is_empty() || self.parties.contains(party),
            None => !self.require_party,
        }
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
