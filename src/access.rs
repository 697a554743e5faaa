//! Who is asking: the admin token, API tokens, and people with Clerk's session tokens. The first two are compared in
//! constant time; an admin token that is not set admits nobody, and without `clerk.jwt_key` or `clerk.jwks_url` no
//! session token does.

pub mod person;
mod refusals;
mod sessions;

use std::sync::Arc;

use sea_orm::{ConnectionTrait, DbErr};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::{
    clerk::{
        keys::{NoKeys, Published},
        token::{self, Session},
    },
    clock::Time,
    config::{self, ConfigError},
};

pub use refusals::Refusal;

use person::Person;
use refusals::Refusals;
use sessions::Sessions;

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Caller {
    /// Everything.
    Admin,
    /// Another service of the team.
    Service {
        /// The name its token was given.
        name: String,
        /// Whether it may write.
        write: bool,
    },
    /// Somebody at a frontend: their own things only.
    Person(Person),
}

impl Caller {
    /// Whether it may change things.
    pub fn may_write(&self) -> bool {
        matches!(self, Self::Admin | Self::Service { write: true, .. })
    }

    /// Whether it is the admin.
    pub fn is_admin(&self) -> bool {
        matches!(self, Self::Admin)
    }
}

/// It cannot be said now whose a token is. That is our fault, and no reason to turn anybody away for good.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// The database does not say whether somebody may be here.
    #[error("the database: {}", crate::db::Quiet(.0))]
    Database(#[from] DbErr),
    /// There is nothing to verify session tokens with yet, or nothing any more.
    #[error(transparent)]
    Keys(#[from] NoKeys),
}

/// The tokens that are known, as hashes, and what verifies those of sessions. Clones share the keys that were had.
#[derive(Clone)]
pub struct Access {
    tokens: Vec<([u8; 32], Caller)>,
    sessions: Option<Arc<Sessions>>,
    refusals: Arc<Refusals>,
}

impl std::fmt::Debug for Access {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Access({} tokens, {:?})", self.tokens.len(), self.sessions)
    }
}

impl Access {
    /// From config.
    ///
    /// # Errors
    /// When an API token is not `name:scope:token` with scope `read` or `write`, or the key for session tokens, or the
    /// address of such keys, cannot be used or has no issuer. Never repeats a token.
    pub fn new(config: &config::Api, clerk: &config::Clerk) -> Result<Self, ConfigError> {
        let mut tokens = Vec::new();
        if !config.admin_token.is_empty() {
            tokens.push((hash(config.admin_token.expose()), Caller::Admin));
        }
        for (index, token) in config.tokens.iter().enumerate() {
            let parts: Vec<&str> = token.expose().splitn(3, ':').collect();
            match parts.as_slice() {
                [name, scope @ ("read" | "write"), token] if !name.is_empty() && !token.is_empty() => {
                    tokens.push((hash(token), Caller::Service { name: (*name).to_owned(), write: *scope == "write" }));
                }
                _ => {
                    return Err(ConfigError::Key {
                        key: "api.tokens",
                        problem: format!("entry {} is not name:scope:token with scope read or write", index + 1),
                        remedy: "Set CLERK_SYNC_API_TOKENS=name:read:token,…",
                    });
                }
            }
        }
        Ok(Self { tokens, sessions: Sessions::new(clerk)?.map(Arc::new), refusals: Arc::default() })
    }

    /// Whose token this is. Every known token is compared, whichever matches.
    pub fn identify(&self, token: &str) -> Option<&Caller> {
        let given = hash(token);
        let mut found = None;
        for (known, caller) in &self.tokens {
            let equal: bool = known.ct_eq(&given).into();
            if equal {
                found = found.or(Some(caller));
            }
        }
        found
    }

    /// The published keys that session tokens are verified with, if they are: somebody has to run them.
    pub fn published(&self) -> Option<&Published> {
        self.sessions.as_ref()?.published()
    }

    /// Returns the session that a token names; the database decides whether its user may be here. Counts no refusal.
    ///
    /// # Errors
    /// Where there are no keys to verify it with.
    pub async fn session(&self, token: &str, now: Time) -> Result<Result<Session, Refusal>, NoKeys> {
        match &self.sessions {
            Some(sessions) => Ok(sessions.verify(token, now).await?.map_err(Refusal::from)),
            None => Ok(Err(token::kid(token).map_or_else(Refusal::from, |_| Refusal::NotConfigured))),
        }
    }

    /// Counts and logs that a token was refused. Every door calls this, once for each token that it refuses.
    pub fn record(&self, refusal: Refusal, now: Time) {
        self.refusals.record(refusal, now);
    }

    /// Returns whose token this is, of whichever kind, if they may be here. A refusal is counted.
    ///
    /// # Errors
    /// What the database says, which is asked about people; that there are no keys.
    pub async fn admit(
        &self,
        db: &impl ConnectionTrait,
        token: &str,
        now: Time,
    ) -> Result<Option<Caller>, AccessError> {
        if let Some(caller) = self.identify(token) {
            return Ok(Some(caller.clone()));
        }
        let judged = match self.session(token, now).await? {
            Ok(session) => person::judge(db, session, now).await?.map_err(Refusal::from),
            Err(refusal) => Err(refusal),
        };
        match judged {
            Ok(person) => Ok(Some(Caller::Person(person))),
            Err(refusal) => {
                self.record(refusal, now);
                Ok(None)
            }
        }
    }
}

/// Tokens are compared by their hashes, so that neither length nor common prefix shows in the time it takes.
fn hash(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use crate::config::Secret;

    use super::*;

    #[test]
    fn a_token_has_the_scope_it_was_given() {
        let tokens = ["a:read:one", "b:write:two", "c:read:three:with:colons"].map(Secret::from).to_vec();
        let config = config::Api {
            admin_token: Secret::from("zero"),
            tokens,
            request_timeout: Default::default(),
            max_streams: 0,
        };
        let access = Access::new(&config, &crate::config::load(None, Default::default()).unwrap().clerk).unwrap();
        for (token, write, admin) in
            [("zero", true, true), ("one", false, false), ("two", true, false), ("three:with:colons", false, false)]
        {
            let caller = access.identify(token).unwrap();
            assert_eq!((caller.may_write(), caller.is_admin()), (write, admin), "{token}");
        }
        for unknown in ["", "a:read:one", "thre", "three", " one"] {
            assert_eq!(access.identify(unknown), None, "{unknown}");
        }
    }
}
