//! Session tokens that frontends bring. Pure: a token, a key and a moment in, who it names out. Where keys come from is
//! [`super::keys`]' business; nothing in a token (`jku`, `jwk`, `x5u`) leads anywhere.
//!
//! One key of Clerk's signs tokens of several classes (sessions, JWT templates, machines, OAuth, handshakes). Only a
//! session's passes: it names a person and a session that can be ended. Whether either has been is not in the token;
//! the database is asked. Claims of both versions pass: what differs between them is not read. Errors never repeat a
//! token or a part of it.
//! What is not read never matters: unknown header members and claims of any JSON type are ignored.
//!
//! - [`compact`]: the parts of a token and its header
//!
//! Sources: clerk.com/docs, "Manual JWT verification"; `jwtCategories.ts` of github.com/clerk/javascript.

mod compact;

use std::fmt;

use chrono::Duration;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::clock::{Time, from_millis, shifted};

use super::keys::Key;
use compact::Compact;

/// How far Clerk's clock and ours may lie apart.
const LEEWAY: Duration = Duration::seconds(5);

/// The longest `act.sub`, bytes. Clerk copies it as the caller of its API wrote it.
const MAX_ACTOR: usize = 256;

/// What a session token says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Clerk's id of the person.
    pub clerk_id: String,
    /// Clerk's id of the session.
    pub session_id: String,
    /// Who acts as the user (impersonation): Clerk's id of support staff or of an agent, an e-mail address, or any other
    /// text that the team gave Clerk.
    pub actor: Option<String>,
    /// When the token ends. The session goes on with the next one.
    pub expires_at: Time,
}

/// A token is not a session token of ours that is in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// A machine token, API key or OAuth token of Clerk's, which is no JWT.
    #[error("it is a machine token, an API key or an OAuth token of Clerk's, not a session token")]
    Opaque,
    /// Longer than any session token.
    #[error("it is longer than any session token")]
    TooLong,
    /// Not three parts, not JSON, or a claim that is missing or of the wrong type.
    #[error("it is no token, or a claim is missing or of the wrong type")]
    Malformed,
    /// Signed in another way than with RS256.
    #[error("it is not signed with RS256")]
    Algorithm,
    /// `crit` names extensions that a verifier must understand.
    #[error("its header has crit, extensions that are not understood here")]
    Critical,
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
    /// `azp` is not listed.
    #[error("its authorized party is not in clerk.authorized_parties")]
    Party,
    /// `azp` is not there and must be.
    #[error("it names no authorized party, and clerk.require_azp is on")]
    NoParty,
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
    /// `act` is there, and cannot be read.
    #[error("it names an actor that cannot be read")]
    Actor,
}

impl TokenError {
    /// All of them.
    pub const ALL: [Self; 18] = [
        Self::Opaque,
        Self::TooLong,
        Self::Malformed,
        Self::Algorithm,
        Self::Critical,
        Self::Signature,
        Self::UnknownKey,
        Self::Class,
        Self::Issuer,
        Self::Party,
        Self::NoParty,
        Self::Expired,
        Self::Early,
        Self::Future,
        Self::Subject,
        Self::NoSession,
        Self::Pending,
        Self::Actor,
    ];

    /// Returns the code by which refusals are counted.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Opaque => "opaque",
            Self::TooLong => "too_long",
            Self::Malformed => "malformed",
            Self::Algorithm => "algorithm",
            Self::Critical => "critical_header",
            Self::Signature => "signature",
            Self::UnknownKey => "unknown_key",
            Self::Class => "token_class",
            Self::Issuer => "issuer",
            Self::Party => "authorized_party",
            Self::NoParty => "no_authorized_party",
            Self::Expired => "expired",
            Self::Early => "not_yet_valid",
            Self::Future => "issued_in_future",
            Self::Subject => "subject",
            Self::NoSession => "no_session",
            Self::Pending => "pending",
            Self::Actor => "actor",
        }
    }
}

/// What the session tokens of one instance say.
pub struct Rules {
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
    act: Option<Box<RawValue>>,
}

/// Who acts.
#[derive(Deserialize)]
struct Act {
    sub: String,
}

/// Returns the key that a token names, read before anything of it is verified; none where it names none. What could not
/// be a session token, whatever its signature, is refused here, so that no key is looked up because of it.
///
/// # Errors
/// [`TokenError`].
pub fn kid(token: &str) -> Result<Option<String>, TokenError> {
    Compact::parse(token).map(|token| token.kid)
}

impl Rules {
    /// From the `iss` that tokens must have, the `azp` that they may have (none listed: any), and whether they must have
    /// one. `None` without an issuer: one key signs for several, so that a key alone lets tokens of other origin in.
    pub fn new(issuer: &str, parties: &[String], require_party: bool) -> Option<Self> {
        let issuer = issuer.trim();
        if issuer.is_empty() {
            return None;
        }
        Some(Self { issuer: issuer.to_owned(), parties: parties.to_vec(), require_party })
    }

    /// Whom the token names, if it is a session token, signed with this key, that is in force at `now`.
    ///
    /// # Errors
    /// [`TokenError`].
    pub fn verify(&self, token: &str, key: &Key, now: Time) -> Result<Session, TokenError> {
        let token = Compact::parse(token)?;
        if !key.verifies(token.message.as_bytes(), &token.signature) {
            return Err(TokenError::Signature);
        }
        let claims: Claims = token.claims()?;
        if claims.iss != self.issuer {
            return Err(TokenError::Issuer);
        }
        self.admits(claims.azp.as_deref())?;
        let expires_at = moment(claims.exp)?;
        if now >= shifted(expires_at, LEEWAY) {
            return Err(TokenError::Expired);
        }
        if let Some(begins) = claims.nbf
            && shifted(now, LEEWAY) < moment(begins)?
        {
            return Err(TokenError::Early);
        }
        if let Some(issued) = claims.iat
            && shifted(now, LEEWAY) < moment(issued)?
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
        let actor = claims.act.map(|act| actor(&act)).transpose()?;
        Ok(Session { clerk_id: claims.sub, session_id, actor, expires_at })
    }

    /// Judges the party that a token names. None is named where no page asked for the token: in native apps, at
    /// navigations, which is why it need not be there. Clerk's SDKs take an empty one for none, and so does this.
    fn admits(&self, party: Option<&str>) -> Result<(), TokenError> {
        match party.filter(|party| !party.trim().is_empty()) {
            None if self.require_party => Err(TokenError::NoParty),
            None => Ok(()),
            Some(_) if self.parties.is_empty() => Ok(()),
            // Scheme and host of an origin have no case.
            Some(party) if self.parties.iter().any(|known| known.eq_ignore_ascii_case(party)) => Ok(()),
            Some(_) => Err(TokenError::Party),
        }
    }
}

/// Returns who acts. An `act` that cannot be read must not be taken for none: the session would look like the user's own.
fn actor(act: &RawValue) -> Result<String, TokenError> {
    // A derived reader would take an array of the values too.
    if !act.get().starts_with('{') {
        return Err(TokenError::Actor);
    }
    let Act { sub } = serde_json::from_str(act.get()).map_err(|_| TokenError::Actor)?;
    let readable = !sub.is_empty() && sub.len() <= MAX_ACTOR && !sub.contains(char::is_control);
    if readable { Ok(sub) } else { Err(TokenError::Actor) }
}

/// Letters, digits and `_`, `-`: what ids of Clerk's are made of.
fn is_plain(id: &str) -> bool {
    !id.is_empty() && id.len() <= 255 && id.bytes().all(|c| c.is_ascii_alphanumeric() || matches!(c, b'_' | b'-'))
}

/// A moment in seconds since 1970, as claims have it.
fn moment(seconds: f64) -> Result<Time, TokenError> {
    from_millis((seconds * 1000.0) as i64).ok_or(TokenError::Malformed)
}
