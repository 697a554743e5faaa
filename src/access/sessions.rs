//! What verifies session tokens, as it is configured: the rules of one issuer, and the keys of one source.

use std::{fmt, time::Duration};

use crate::{
    clerk::{
        keys::{AddressError, Asker, Key, NoKeys, Published, Times},
        token::{self, Rules, Session, TokenError},
    },
    clock::Time,
    config::{self, ConfigError},
    telemetry::metrics,
};

/// How often tokens that name unknown keys make us ask for the set, at most.
const PAUSE: Duration = Duration::from_secs(5);

/// The rules and the keys.
pub(super) struct Sessions {
    rules: Rules,
    keys: Keys,
}

enum Keys {
    /// `clerk.jwt_key`.
    One(Key),
    /// What `clerk.jwks_url` publishes.
    Published(Published),
}

impl fmt::Debug for Sessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.rules)
    }
}

impl Sessions {
    /// From config; `None` where there is no source of keys. A key that is configured goes before those published.
    ///
    /// # Errors
    /// What is wrong with a key of the configuration.
    pub(super) fn new(config: &config::Clerk) -> Result<Option<Self>, ConfigError> {
        let (key, keys) = if !config.jwt_key.is_empty() {
            ("clerk.jwt_key", Keys::One(one(config)?))
        } else if !config.jwks_url.is_empty() {
            ("clerk.jwks_url", Keys::Published(published(config)?))
        } else {
            return Ok(None);
        };
        let rules = Rules::new(&config.issuer, &config.authorized_parties, config.require_azp);
        let rules = rules.ok_or_else(|| ConfigError::Key {
            key: "clerk.issuer",
            problem: format!("{key} is set, but not whose tokens are meant"),
            remedy: "Set CLERK_ISSUER=https://clerk.example.com, the Frontend API URL in Clerk's dashboard (API keys)",
        })?;
        Ok(Some(Self { rules, keys }))
    }

    pub(super) fn published(&self) -> Option<&Published> {
        match &self.keys {
            Keys::One(_) => None,
            Keys::Published(published) => Some(published),
        }
    }

    /// Returns the session that a token names.
    pub(super) async fn verify(&self, token: &str, now: Time) -> Result<Result<Session, TokenError>, NoKeys> {
        match &self.keys {
            Keys::One(key) => Ok(self.rules.verify(token, key, now)),
            Keys::Published(keys) => self.verify_published(token, keys, now).await,
        }
    }

    async fn verify_published(
        &self,
        token: &str,
        keys: &Published,
        now: Time,
    ) -> Result<Result<Session, TokenError>, NoKeys> {
        let kid = match token::kid(token) {
            Ok(kid) => kid,
            Err(error) => return Ok(Err(error)),
        };
        let key = keys.key(kid.as_deref()).await?;
        Ok(key.ok_or(TokenError::UnknownKey).and_then(|key| self.rules.verify(token, &key, now)))
    }
}

fn one(config: &config::Clerk) -> Result<Key, ConfigError> {
    Key::from_pem(config.jwt_key.expose()).ok_or_else(|| ConfigError::Key {
        key: "clerk.jwt_key",
        problem: "it is no RSA public key in PEM form".to_owned(),
        remedy: "Copy the PEM public key from Clerk's dashboard (API keys, JWKS Public Key) and set CLERK_JWT_KEY='-----BEGIN PUBLIC KEY-----…'",
    })
}

fn published(config: &config::Clerk) -> Result<Published, ConfigError> {
    let asker = Asker::new(config, metrics::clerk_request).map_err(|error: AddressError| ConfigError::Key {
        key: "clerk.jwks_url",
        problem: error.to_string(),
        remedy: "Copy the JWKS URL from Clerk's dashboard (API keys) and set CLERK_JWKS_URL=https://clerk.example.com/.well-known/jwks.json",
    })?;
    let times = Times { refresh: config.jwks_refresh, keep: config.jwks_keep, pause: PAUSE };
    Ok(Published::new(asker, times))
}
