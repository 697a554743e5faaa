//! What verifies the tokens of services and users: whether `serve` starts with it, whether the keys that Clerk publishes can
//! be had, whether everything is of one instance, and whether a token of today's form is accepted.

use crate::{
    access::Access,
    clerk::keys::{Asker, KeysError},
    clock::Time,
    config::{Config, ConfigError},
};

use super::{
    finding::{Finding, Level, count},
    issuer, sample,
};

const TOKENS: &str = "session-tokens";

/// Looks at the configuration and, where keys are published, asks for them. `findings` are those about Clerk's API,
/// `instance` is the one that its key belongs to.
pub(super) async fn check(config: &Config, findings: &[Finding], instance: Option<&str>, now: Time) -> Vec<Finding> {
    match Access::new(&config.api, &config.clerk) {
        Err(ConfigError::Key { key, problem, remedy }) => {
            let check = if key.starts_with("api.") { "api-tokens" } else { TOKENS };
            return vec![Finding::fail(check, format!("{key}: {problem}; `serve` does not start"), remedy)];
        }
        Err(error) => {
            return vec![Finding::fail("access", error.to_string(), "Correct the key")];
        }
        Ok(_) => {}
    }
    let (one, published) = (!config.clerk.jwt_key.is_empty(), !config.clerk.jwks_url.is_empty());
    let (keys, kids) = match (one, published) {
        (true, false) => (Finding::ok(TOKENS, "verified with clerk.jwt_key"), Vec::new()),
        (true, true) => {
            let found = "verified with clerk.jwt_key; clerk.jwks_url is set too, and is not asked";
            let remedy = "Unset CLERK_JWKS_URL, or CLERK_JWT_KEY if the published keys are meant";
            (Finding::note(TOKENS, found, remedy), Vec::new())
        }
        (false, true) => ask(config, findings).await,
        (false, false) => {
            return vec![Finding::note(
                TOKENS,
                "neither clerk.jwt_key nor clerk.jwks_url: no frontend can come in",
                "Set CLERK_JWT_KEY to the PEM public key of Clerk's dashboard (API keys), or CLERK_JWKS_URL, and CLERK_ISSUER, if frontends should",
            )];
        }
    };
    let ours = Some(config.clerk.instance_id.trim()).filter(|id| !id.is_empty());
    // Without keys no token is accepted: logged once.
    let broken = keys.level == Level::Fail;
    let mut all = vec![keys];
    if broken {
        return all;
    }
    all.push(issuer::judge(&config.clerk, &issuer::Known { instance: ours.or(instance), kids: &kids }));
    all.extend(sample::check(config, now));
    all
}

/// Asks for the published keys; their names where they were had.
async fn ask(config: &Config, findings: &[Finding]) -> (Finding, Vec<String>) {
    let none = |finding| (finding, Vec::new());
    let asker = match Asker::new(&config.clerk, |_, _| {}) {
        Ok(asker) => asker,
        Err(error) => return none(Finding::fail(TOKENS, error.to_string(), "Correct CLERK_JWKS_URL")),
    };
    // One thing that is broken is told once.
    let answers = findings.iter().any(|finding| matches!(finding.level, Level::Ok | Level::Note));
    if asker.is_authorized() && !answers {
        return none(Finding::skip(TOKENS, "their keys are asked of Clerk's API, which gave no answer"));
    }
    let address =
        "See that CLERK_JWKS_URL is the JWKS URL of Clerk's dashboard (API keys), and that this machine can reach it";
    none(match asker.ask().await {
        Ok(set) if set.is_empty() => {
            Finding::fail(TOKENS, "no key is published that session tokens can be verified with", address)
        }
        Ok(set) => {
            let keys = i64::try_from(set.len()).unwrap_or(i64::MAX);
            let found = format!("verified with {}", count(keys, "published key", "published keys"));
            return (Finding::ok(TOKENS, found), set.names().map(str::to_owned).collect());
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
    })
}
