//! A session token of today's form, made with a throwaway key and judged by the configured rules: whether the tokens that
//! Clerk issues now would be accepted by this verifier, and from which pages.

use aws_lc_rs::{
    encoding::{AsDer as _, PublicKeyX509Der},
    error::Unspecified,
    rand::SystemRandom,
    rsa::KeySize,
    signature::{KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use crate::{
    clerk::{
        keys::Key,
        token::{Rules, TokenError},
    },
    clock::Time,
    config::Config,
};

use super::finding::{Finding, count};

const SAMPLE: &str = "token-sample";

/// The origin of a page where none is configured.
const ANY_PAGE: &str = "https://app.example.com";

/// What makes samples.
struct Issuer {
    pair: RsaKeyPair,
    key: Key,
}

impl Issuer {
    fn new() -> Result<Self, Unspecified> {
        let pair = RsaKeyPair::generate(KeySize::Rsa2048)?;
        let der: PublicKeyX509Der<'_> = pair.public_key().as_der()?;
        let key = Key::from_der(der.as_ref()).ok_or(Unspecified)?;
        Ok(Self { pair, key })
    }

    /// Returns a token of the form that Clerk issues since 2026-05: `oiat`, a number, in the header, and a member that no
    /// verifier knows yet; claims of version 2.
    fn token(&self, issuer: &str, azp: Option<&str>, now: Time) -> Result<String, Unspecified> {
        let seconds = now.timestamp();
        let header = json!({
            "alg": "RS256", "cat": "cl_B7d4PD111AAA", "kid": "ins_doctor", "typ": "JWT", "oiat": seconds,
            "member_of_tomorrow": {"nested": [null, 1.5, {"number": 1}]},
        });
        let mut claims = json!({
            "iss": issuer, "sub": "user_doctor", "sid": "sess_doctor", "v": 2, "sts": "active", "fva": [1, -1],
            "jti": "doctor", "iat": seconds, "nbf": seconds - 10, "exp": seconds + 60,
            "claim_of_tomorrow": {"nested": [null, 1.5]},
        });
        if let (Value::Object(claims), Some(azp)) = (&mut claims, azp) {
            claims.insert("azp".into(), azp.into());
        }
        let encode = |part: &Value| URL_SAFE_NO_PAD.encode(part.to_string());
        let message = format!("{}.{}", encode(&header), encode(&claims));
        let mut signature = vec![0; self.pair.public_modulus_len()];
        self.pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message.as_bytes(), &mut signature)?;
        Ok(format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }
}

/// Verifies samples: one as the configured settings want it, one of each page in `gateway.origins`, one without `azp`.
pub(super) fn check(config: &Config, now: Time) -> Vec<Finding> {
    let clerk = &config.clerk;
    let Some(rules) = Rules::new(&clerk.issuer, &clerk.authorized_parties, clerk.require_azp) else {
        return vec![Finding::skip(SAMPLE, "clerk.issuer is not set")];
    };
    let Ok(issuer) = Issuer::new() else {
        return vec![Finding::skip(SAMPLE, "no key could be made to sign one with")];
    };
    let verify = |azp: Option<&str>| match issuer.token(&clerk.issuer, azp, now) {
        Ok(token) => rules.verify(&token, &issuer.key, now).map(drop),
        Err(Unspecified) => Err(TokenError::Signature),
    };
    let page = clerk.authorized_parties.first().or(config.gateway.origins.first()).map_or(ANY_PAGE, String::as_str);
    if let Err(error) = verify(Some(page)) {
        return vec![Finding::fail(
            SAMPLE,
            format!("a session token of today's form is refused: {error}"),
            "Install the newest clerk-sync: this one does not read the tokens that Clerk issues",
        )];
    }
    let mut findings = Vec::new();
    let refused = config.gateway.origins.iter().filter(|origin| verify(Some(origin)).is_err()).count();
    if refused > 0 {
        let pages = count(i64::try_from(refused).unwrap_or(i64::MAX), "origin", "origins");
        findings.push(Finding::warn(
            SAMPLE,
            format!("{pages} of gateway.origins would be refused (401, 4401): not in clerk.authorized_parties"),
            "Add the origins of these pages to CLERK_AUTHORIZED_PARTIES, or unset it to allow any",
        ));
    }
    if verify(None).is_err() {
        findings.push(Finding::note(
            SAMPLE,
            "session tokens without azp are refused (clerk.require_azp); Clerk mints such at navigations and for native apps",
            "Set CLERK_SYNC__CLERK__REQUIRE_AZP=false, if users are turned away",
        ));
    }
    if findings.is_empty() {
        findings
            .push(Finding::ok(SAMPLE, "a session token of today's form (oiat in the header, claims v2) is accepted"));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{clock::Clock, config::load, doctor::Level};

    fn levels(environment: &[(&str, &str)]) -> Vec<Level> {
        let environment = environment.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let findings = check(&load(None, environment).unwrap(), Clock::system().now());
        findings.iter().map(|finding| finding.level).collect()
    }

    #[test]
    fn a_token_of_todays_form_is_accepted_whatever_the_rules_are() {
        let issuer = ("CLERK_ISSUER", "https://clerk.example.com/");
        let parties = ("CLERK_AUTHORIZED_PARTIES", "https://a.example/,capacitor://localhost");
        assert_eq!(levels(&[issuer]), [Level::Ok]);
        assert_eq!(levels(&[issuer, parties]), [Level::Ok]);
        assert_eq!(levels(&[issuer, parties, ("CLERK_SYNC__GATEWAY__ORIGINS", "https://a.example:443")]), [Level::Ok]);
        assert_eq!(levels(&[]), [Level::Skip]);
    }

    #[test]
    fn pages_whose_tokens_would_be_refused_are_counted() {
        let issuer = ("CLERK_ISSUER", "https://clerk.example.com");
        let parties = ("CLERK_AUTHORIZED_PARTIES", "https://a.example");
        let origins = ("CLERK_SYNC__GATEWAY__ORIGINS", "https://a.example,https://b.example,https://c.example");
        assert_eq!(levels(&[issuer, parties, origins]), [Level::Warn]);
        assert_eq!(levels(&[issuer, ("CLERK_SYNC__CLERK__REQUIRE_AZP", "true")]), [Level::Note]);
    }
}
