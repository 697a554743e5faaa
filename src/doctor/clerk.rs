//! Clerk's API: whether our key works, whose it is, what it allows, and what Clerk's clock says.

use serde::Deserialize;

use crate::{
    clerk::api::{Api, ApiError},
    clock::Clock,
    config::{Config, Confirm},
};

use super::{
    clocks,
    finding::{Finding, plain},
};

const KEY: &str = "api-key";
const RATE: &str = "rate-limit";

/// What came of it.
pub(super) struct Asked {
    pub(super) findings: Vec<Finding>,
    /// The instance that the key belongs to.
    pub(super) instance: Option<String>,
    /// How far Clerk's clock is ahead of ours.
    pub(super) skew: Option<chrono::Duration>,
}

#[derive(Deserialize)]
struct Instance {
    id: String,
    #[serde(default)]
    environment_type: String,
}

pub(super) async fn ask(config: &Config, clock: &Clock) -> Asked {
    let api = match Api::new(&config.clerk, |_, _| {}) {
        Ok(Some(api)) => api,
        other => return unasked(config, other.err()),
    };
    let before = clock.now();
    let patience = config.clerk.timeout;
    let (instance, total) = tokio::join!(api.instance(patience), api.users_total(patience));
    let after = clock.now();
    let skew = api.date().map(|told| clocks::skew(before, told, after, chrono::Duration::seconds(1)));
    let answers = instance.and_then(|instance| Ok((instance, total?)));
    let (instance, total) = match answers {
        Ok((instance, total)) => (instance, total),
        Err(error) => return Asked { findings: refused(&error), instance: None, skew },
    };
    let instance: Option<Instance> = instance.and_then(|raw| serde_json::from_str(raw.get()).ok());
    let found = match &instance {
        Some(Instance { id, environment_type }) if environment_type.is_empty() => format!("of {}", plain(id)),
        Some(Instance { id, environment_type }) => format!("of {} ({})", plain(id), plain(environment_type)),
        None => "of an instance that Clerk does not name".to_owned(),
    };
    let found = format!("accepted, {found}, with {total} people");
    let development = config.clerk.secret_key.expose().trim().starts_with("sk_test_");
    let grown = config.database.url.expose().starts_with("postgres") || !config.redis.url.is_empty();
    let key = match development && grown {
        true => Finding::note(
            KEY,
            format!("{found}: a development key, beside Postgres or Redis"),
            "In production set CLERK_SECRET_KEY to the sk_live_ key of the production instance",
        ),
        false => Finding::ok(KEY, found),
    };
    let rate = format!("a process asks {} times a second at most (clerk.rate_share)", api.per_second());
    Asked { findings: vec![key, Finding::ok(RATE, rate)], instance: instance.map(|instance| instance.id), skew }
}

/// Without a client there is nobody to ask.
fn unasked(config: &Config, error: Option<ApiError>) -> Asked {
    let set = "Copy the secret key from Clerk's dashboard (API keys) and set CLERK_SECRET_KEY=sk_…";
    let finding = match error {
        Some(error) => Finding::fail(KEY, error.to_string(), "Correct it as it says: `serve` does not start"),
        None if config.clerk.confirm == Confirm::Required => {
            Finding::fail(KEY, "clerk.confirm = required, and no secret key is set: `serve` does not start", set)
        }
        None => Finding::note(
            KEY,
            "none: new people are not confirmed, and there is no backfill, reconcile, ensure nor alarm of silence",
            set,
        ),
    };
    Asked { findings: vec![finding, Finding::skip(RATE, "Clerk was not asked")], instance: None, skew: None }
}

fn refused(error: &ApiError) -> Vec<Finding> {
    let skip = || Finding::skip(RATE, "Clerk gave no answer to it");
    match error {
        ApiError::Forbidden { .. } => {
            let copy =
                "Copy the secret key of this instance from Clerk's dashboard (API keys) and set CLERK_SECRET_KEY=sk_…";
            vec![Finding::fail(KEY, error.to_string(), copy), skip()]
        }
        ApiError::Limited { .. } | ApiError::Busy { .. } => {
            let less = "Ask less: set CLERK_SYNC__CLERK__RATE_SHARE so that all replicas and your other services fit into the \
                instance's limit together";
            vec![Finding::skip(KEY, "Clerk was too busy to say"), Finding::warn(RATE, error.to_string(), less)]
        }
        ApiError::Down { .. } => {
            let wait = "Wait, and look at status.clerk.com: deliveries are stored and applied meanwhile";
            vec![Finding::warn(KEY, error.to_string(), wait), skip()]
        }
        ApiError::Timeout | ApiError::Unreachable => {
            let reach = "Let this machine reach clerk.api_url (https://api.clerk.com, a proxy by HTTPS_PROXY), or correct CLERK_API_URL";
            vec![Finding::fail(KEY, error.to_string(), reach), skip()]
        }
        _ => {
            let address = "See that CLERK_API_URL is https://api.clerk.com/v1, or is not set";
            vec![Finding::fail(KEY, format!("what answers is not Clerk's API: {error}"), address), skip()]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Level;

    #[test]
    fn each_refusal_has_its_own_weight() {
        let levels = |error| refused(&error).iter().map(|finding| finding.level).collect::<Vec<_>>();
        let wait = std::time::Duration::from_secs(1);
        assert_eq!(levels(ApiError::Forbidden { status: 401 }), [Level::Fail, Level::Skip]);
        assert_eq!(levels(ApiError::Limited { wait }), [Level::Skip, Level::Warn]);
        assert_eq!(levels(ApiError::Down { status: 503 }), [Level::Warn, Level::Skip]);
        assert_eq!(levels(ApiError::Unreachable), [Level::Fail, Level::Skip]);
        assert_eq!(levels(ApiError::NotFound), [Level::Fail, Level::Skip]);
    }
}
