//! What verifies the tokens of services and people: whether `serve` starts with it, and whether the keys that Clerk
//! publishes can be had.

use crate::{
    access::Access,
    clerk::keys::{Asker, KeysError},
    config::{Config, ConfigError},
};

use super::finding::{Finding, Level, count};

const TOKENS: &str = "session-tokens";

/// Looks at the configuration and, where keys are published, asks for them. `findings` are those about Clerk's API.
pub(super) async fn check(config: &Config, findings: &[Finding]) -> Finding {
    match Access::new(&config.api, &config.clerk) {
        Err(ConfigError::Key { key, problem, remedy }) => {
            let check = if key.starts_with("api.") { "api-tokens" } else { TOKENS };
            return Finding::fail(check, format!("{key}: {problem}; `serve` does not start"), remedy);
        }
        Err(error @ ConfigError::Invalid(_)) => return Finding::fail("access", error.to_string(), "Correct the key"),
        Ok(_) => {}
    }
    let (one, published) = (!config.clerk.jwt_key.is_empty(), !config.clerk.jwks_url.trim().is_empty());
    match (one, published) {
        (true, false) => Finding::ok(TOKENS, "verified with clerk.jwt_key"),
        (true, true) => Finding::note(
            TOKENS,
            "verified with clerk.jwt_key; clerk.jwks_url is set too, and is not asked",
            "Unset CLERK_JWKS_URL, or CLERK_JWT_KEY if the published keys are meant",
        ),
        (false, true) => ask(config, findings).await,
        (false, false) => Finding::note(
            TOKENS,
            "neither clerk.jwt_key nor clerk.jwks_url: no frontend can come in",
            "Set CLERK_JWT_KEY to the PEM public key of Clerk's dashboard (API keys), or CLERK_JWKS_URL, and CLERK_ISSUER, if frontends should",
        ),
    }
}

async fn ask(config: &Config, findings: &[Finding]) -> Finding {
    let asker = match Asker::new(&config.clerk, |_, _| {}) {
        Ok(asker) => asker,
        Err(error) => return Finding::fail(TOKENS, error.to_string(), "Correct CLERK_JWKS_URL"),
    };
    // One thing that is broken is told once.
    let answers = findings.iter().any(|finding| matches!(finding.level, Level::Ok | Level::Note));
    if asker.is_authorized() && !answers {
        return Finding::skip(TOKENS, "their keys are asked of Clerk's API, which gave no answer");
    }
    let address =
        "See that CLERK_JWKS_URL is the JWKS URL of Clerk's dashboard (API keys), and that this machine can reach it";
    match asker.ask().await {
        Ok(set) if set.is_empty() => {
            Finding::fail(TOKENS, "no key is published that session tokens can be verified with", address)
        }
        Ok(set) => {
            let keys = i64::try_from(set.len()).unwrap_or(i64::MAX);
            Finding::ok(TOKENS, format!("verified with {}", count(keys, "published key", "published keys")))
        }
        Err(error @ KeysError::Status(429 | 500..)) => {
            Finding::warn(TOKENS, error.to_string(), "Wait, and look at status.clerk.com: `serve` asks again by itself")
        }
        Err(error @ KeysError::Status(401 | 403)) => Finding::fail(
            TOKENS,
            error.to_string(),
            "Set CLERK_SECRET_KEY, or CLERK_JWKS_URL to /.well-known/jwks.json of the Frontend API, which asks for no key",
        ),
        Err(error) => Finding::fail(TOKENS, error.to_string(), address),
    }
}
