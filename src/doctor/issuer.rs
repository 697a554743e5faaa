//! Whether the issuer, the published keys, the secret key and the instance are of one and the same instance of Clerk. A PEM
//! key does not say whose it is; a published key is named after its instance (`kid`).

use reqwest::Url;

use crate::{clerk::keys::Asker, config};

use super::finding::{Finding, plain};

const ISSUER: &str = "issuer";

/// The end of every development instance's Frontend API host.
const DEVELOPMENT: &str = ".clerk.accounts.dev";

/// What is known of the instance.
pub(super) struct Known<'a> {
    /// `clerk.instance_id`, or else the instance that the API key belongs to.
    pub(super) instance: Option<&'a str>,
    /// The names of the published keys; empty where none were read.
    pub(super) kids: &'a [String],
}

/// Compares them. `clerk.issuer` is set.
pub(super) fn judge(clerk: &config::Clerk, known: &Known<'_>) -> Finding {
    let issuer = host(&clerk.issuer).unwrap_or_default();
    let ours: Vec<&String> = known.kids.iter().filter(|kid| kid.starts_with("ins_")).collect();
    if let Some(instance) = known.instance
        && let [first, ..] = ours.as_slice()
        && !ours.iter().any(|kid| *kid == instance)
    {
        return Finding::fail(
            ISSUER,
            format!(
                "the published keys are of {}, the instance is {}: every token is refused",
                plain(first),
                plain(instance)
            ),
            "Set CLERK_JWKS_URL and CLERK_ISSUER to those of the instance meant, or CLERK_SECRET_KEY and \
                CLERK_SYNC__CLERK__INSTANCE_ID to the one whose keys these are",
        );
    }
    let development = issuer.ends_with(DEVELOPMENT);
    if let Some(jwks) = published_at(clerk)
        && jwks != issuer
    {
        let found = format!("clerk.issuer is of {}, clerk.jwks_url of {}", plain(&issuer), plain(&jwks));
        let remedy =
            "Set CLERK_ISSUER and CLERK_JWKS_URL to those of one instance, as Clerk's dashboard shows them (API keys)";
        return match development || jwks.ends_with(DEVELOPMENT) {
            true => Finding::fail(ISSUER, format!("{found}: two instances"), remedy),
            false => Finding::warn(ISSUER, found, remedy),
        };
    }
    let key = clerk.secret_key.expose().trim();
    let remedy = "Set CLERK_ISSUER, CLERK_JWT_KEY or CLERK_JWKS_URL, and CLERK_SECRET_KEY to those of one instance";
    if key.starts_with("sk_live_") && development {
        let found = format!(
            "clerk.issuer is of a development instance ({}), the secret key of a production one",
            plain(&issuer)
        );
        return Finding::fail(ISSUER, found, remedy);
    }
    if key.starts_with("sk_test_") && !development && clerk.issuer.starts_with("https://") {
        let found = format!("the secret key is of a development instance, clerk.issuer ({}) is not", plain(&issuer));
        return Finding::warn(ISSUER, found, remedy);
    }
    let issuer = plain(&clerk.issuer);
    Finding::ok(
        ISSUER,
        match (clerk.jwt_key.is_empty(), known.instance.filter(|_| !ours.is_empty())) {
            (false, _) => format!("{issuer}; whose key clerk.jwt_key is, a PEM does not say"),
            (true, Some(instance)) => format!("{issuer}, with keys of {}", plain(instance)),
            (true, None) => issuer,
        },
    )
}

/// Returns the host of the Frontend API whose keys are asked for; `None` where a PEM is used, where the keys are asked of
/// the Backend API, which serves every instance, and on loopback, where a proxy or a test stands between.
fn published_at(clerk: &config::Clerk) -> Option<String> {
    if !clerk.jwt_key.is_empty() || clerk.jwks_url.is_empty() {
        return None;
    }
    let asker = Asker::new(clerk, |_, _| {}).ok()?;
    let url = clerk.jwks_url.expose();
    let host = host(url)?;
    let backend = asker.is_authorized() || host == "api.clerk.com";
    (!backend && url.to_ascii_lowercase().starts_with("https://")).then_some(host)
}

fn host(url: &str) -> Option<String> {
    Url::parse(url.trim()).ok()?.host_str().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{config::load, doctor::Level};

    fn level(environment: &[(&str, &str)], instance: Option<&str>, kids: &[&str]) -> Level {
        let environment = environment.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let kids: Vec<String> = kids.iter().map(|kid| (*kid).to_owned()).collect();
        judge(&load(None, environment).unwrap().clerk, &Known { instance, kids: &kids }).level
    }

    #[tokio::test]
    async fn issuer_keys_and_instance_are_of_one_instance() {
        let prod = ("CLERK_ISSUER", "https://clerk.example.com");
        let dev = ("CLERK_ISSUER", "https://one.clerk.accounts.dev");
        let jwks = |host: &'static str| ("CLERK_JWKS_URL", host);
        let own = jwks("https://clerk.example.com/.well-known/jwks.json");
        for (environment, instance, kids, expected) in [
            (vec![prod, own], None, vec!["ins_a"], Level::Ok),
            (vec![prod, own], Some("ins_a"), vec!["ins_a"], Level::Ok),
            (vec![prod, own], Some("ins_a"), vec!["ins_b", "ins_a"], Level::Ok),
            (vec![prod, own], Some("ins_a"), vec!["ins_b"], Level::Fail),
            (vec![prod, own], Some("ins_a"), vec!["rotated"], Level::Ok),
            (vec![prod, own], Some("ins_a"), vec![], Level::Ok),
            (vec![prod, jwks("https://clerk.other.com/.well-known/jwks.json")], None, vec![], Level::Warn),
            (vec![prod, jwks("https://one.clerk.accounts.dev/.well-known/jwks.json")], None, vec![], Level::Fail),
            (vec![dev, jwks("https://two.clerk.accounts.dev/.well-known/jwks.json")], None, vec![], Level::Fail),
            (vec![dev, jwks("https://one.clerk.accounts.dev/.well-known/jwks.json")], None, vec![], Level::Ok),
            (vec![prod, jwks("https://api.clerk.com/v1/jwks")], None, vec!["ins_a"], Level::Ok),
            (vec![prod, jwks("http://127.0.0.1:9/jwks")], None, vec!["ins_a"], Level::Ok),
            (vec![dev, ("CLERK_SECRET_KEY", "sk_live_x")], None, vec![], Level::Fail),
            (vec![prod, ("CLERK_SECRET_KEY", "sk_test_x")], None, vec![], Level::Warn),
            (vec![dev, ("CLERK_SECRET_KEY", "sk_test_x")], None, vec![], Level::Ok),
            (vec![prod, ("CLERK_SECRET_KEY", "sk_live_x"), own], Some("ins_a"), vec!["ins_a"], Level::Ok),
        ] {
            assert_eq!(level(&environment, instance, &kids), expected, "{environment:?} {instance:?} {kids:?}");
        }
    }
}
