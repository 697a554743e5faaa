//! Refusals of session tokens: each is counted by reason, and logged once a minute and reason with the remedy. Neither
//! token nor ids appear in either.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use chrono::Duration;

use crate::{clerk::token::TokenError, clock::Time, telemetry::metrics};

use super::person::Unwelcome;

/// How often one reason is logged, at most.
const LOG_INTERVAL: Duration = Duration::minutes(1);

/// Why a token did not let its bearer in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// It is not a session token of ours that is in force.
    Token(TokenError),
    /// Neither `clerk.jwt_key` nor `clerk.jwks_url` is set.
    NotConfigured,
    /// It is in force, but the database refuses its user or session.
    Unwelcome(Unwelcome),
    /// On an open websocket: of another user, session or actor.
    OtherSession,
    /// On a websocket: an API token, which belongs to a service.
    ServiceToken,
}

/// Counts and logs refusals. One a process.
#[derive(Debug, Default)]
pub(super) struct Refusals(Mutex<HashMap<&'static str, Logged>>);

/// The last log line of a reason, and the refusals since.
#[derive(Debug)]
struct Logged {
    at: Time,
    since: u64,
}

impl Refusals {
    /// Counts a refusal, and logs it unless its reason was logged within the last minute.
    pub(super) fn record(&self, refusal: Refusal, now: Time) {
        let reason = refusal.as_str();
        metrics::token_refused(reason);
        if let Some(refused) = self.due(reason, now) {
            tracing::warn!(
                reason,
                refused,
                remedy = refusal.remedy(),
                "session tokens are refused (401, 4401); repeated at most once a minute for each reason"
            );
        }
    }

    /// Returns how many refusals a log line of now stands for; `None` where none is due.
    fn due(&self, reason: &'static str, now: Time) -> Option<u64> {
        // Nothing that can panic leaves it half changed.
        let mut logged = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match logged.get_mut(reason) {
            // A clock that was set back must not silence the log.
            Some(last) if (now - last.at).abs() < LOG_INTERVAL => {
                last.since += 1;
                None
            }
            last => {
                let refused = last.map_or(0, |last| last.since) + 1;
                logged.insert(reason, Logged { at: now, since: 0 });
                Some(refused)
            }
        }
    }
}

impl Refusal {
    /// Returns the code by which it is counted.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Token(error) => error.as_str(),
            Self::NotConfigured => "not_configured",
            Self::Unwelcome(Unwelcome::Session) => "session_ended",
            Self::Unwelcome(Unwelcome::User) => "user_blocked",
            Self::OtherSession => "other_session",
            Self::ServiceToken => "service_token",
        }
    }

    /// Returns what an operator or a developer can do about it.
    fn remedy(self) -> &'static str {
        use TokenError as E;
        match self {
            Self::Token(E::Opaque) => {
                "Bring a session token (`session.getToken()`): machine tokens, API keys and OAuth tokens of Clerk's open nothing here; services use CLERK_SYNC_API_TOKENS"
            }
            Self::Token(E::TooLong) => "Take custom claims out of the session token in Clerk's dashboard (Sessions)",
            Self::Token(E::Malformed) => {
                "Bring a session token (`session.getToken()`), the admin token or an API token, as it is"
            }
            Self::Token(E::Algorithm | E::Critical) => "It is not of Clerk's making: look at what mints it",
            Self::Token(E::Signature) => {
                "Set CLERK_JWT_KEY or CLERK_JWKS_URL to that of the instance whose pages these are; where the key was changed, take the new one"
            }
            Self::Token(E::UnknownKey) => {
                "Set CLERK_JWKS_URL to that of the instance whose pages these are (development and production differ)"
            }
            Self::Token(E::Class | E::NoSession | E::Subject) => {
                "Use session tokens: call `getToken()` without a template; JWT templates, machine and OAuth tokens cannot be ended"
            }
            Self::Token(E::Issuer) => {
                "Set CLERK_ISSUER to the Frontend API URL of the instance whose pages these are, or to its proxy URL"
            }
            Self::Token(E::Party) => "Add the origin of these pages to CLERK_AUTHORIZED_PARTIES, if they are yours",
            Self::Token(E::NoParty) => {
                "Set CLERK_SYNC__CLERK__REQUIRE_AZP=false: Clerk mints session tokens without azp at navigations and for native apps"
            }
            Self::Token(E::Expired) => {
                "Fetch a new token for each request and before each renewal; if all are refused, set this machine's clock"
            }
            Self::Token(E::Early | E::Future) => "Set this machine's clock (`clerk-sync doctor` compares it)",
            Self::Token(E::Pending) => {
                "Let the user finish the session's tasks (such as choosing an organization) first"
            }
            Self::Token(E::Actor) => {
                "Create actor tokens with an `actor.sub` of 1 to 256 bytes without control characters"
            }
            Self::NotConfigured => "Set CLERK_JWT_KEY or CLERK_JWKS_URL, and CLERK_ISSUER",
            Self::Unwelcome(Unwelcome::Session) => "Nothing, if the user signed out: the page has to sign in again",
            Self::Unwelcome(Unwelcome::User) => {
                "Nothing, if the user is banned, deprovisioned or deleted; `clerk-sync deletions list` has those that are held"
            }
            Self::OtherSession => "Open a new connection for another user, session or actor",
            Self::ServiceToken => "Services follow /v1/changes; a websocket takes a session token or the admin token",
        }
    }
}

impl From<TokenError> for Refusal {
    fn from(error: TokenError) -> Self {
        Self::Token(error)
    }
}

impl From<Unwelcome> for Refusal {
    fn from(unwelcome: Unwelcome) -> Self {
        Self::Unwelcome(unwelcome)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::from_millis;

    fn all() -> Vec<Refusal> {
        let others = [
            Refusal::NotConfigured,
            Unwelcome::Session.into(),
            Unwelcome::User.into(),
            Refusal::OtherSession,
            Refusal::ServiceToken,
        ];
        TokenError::ALL.into_iter().map(Refusal::from).chain(others).collect()
    }

    #[test]
    fn every_reason_has_a_series_from_the_start_and_a_remedy() {
        let mut codes: Vec<_> = all().into_iter().map(Refusal::as_str).collect();
        assert!(all().into_iter().all(|refusal| refusal.remedy().len() > 20));
        codes.sort_unstable();
        let mut series = metrics::REFUSALS.to_vec();
        series.sort_unstable();
        assert_eq!(codes, series);
        codes.dedup();
        assert_eq!(codes.len(), series.len(), "one code, one reason");
    }

    #[test]
    fn a_reason_is_logged_once_a_minute_whatever_the_others_are() {
        let refusals = Refusals::default();
        let due = |reason, seconds: i64| refusals.due(reason, from_millis(seconds * 1000).unwrap());
        assert_eq!(due("issuer", 1_000), Some(1));
        assert_eq!(due("issuer", 1_000), None);
        assert_eq!(due("expired", 1_001), Some(1), "another reason");
        assert_eq!(due("issuer", 1_059), None);
        assert_eq!(due("issuer", 1_060), Some(3), "and those in between");
        assert_eq!(due("issuer", 1_061), None);
        assert_eq!(due("issuer", 100), Some(2), "the clock was set back");
    }
}
