//! Every way in which a token can be wrong, each refused for its own reason; and keys, right and wrong.

use clerk_sync::{
    access::Access,
    clerk::{
        keys::Key,
        token::{self, Rules, Session, TokenError},
    },
    clock::{Clock, from_millis},
    config,
};
use serde_json::{Value, json};

use super::wrong::{right, unpublished, wrong};
use crate::support::{
    issuer::{ISSUER, Issuer, KID, PARTY, now, pem},
    world::config,
};

fn rules() -> Rules {
    Rules::new(ISSUER, &["https://other.example".into(), PARTY.into()], false).unwrap()
}

/// The public key in the form of PKCS #1: what follows the header of the other form, 24 bytes.
fn pkcs1(ours: &Issuer) -> String {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    pem(&STANDARD.encode(&ours.der()[24..])).replace("PUBLIC", "RSA PUBLIC")
}

fn key(ours: &Issuer) -> Key {
    Key::from_pem(&ours.pem()).unwrap()
}

#[test]
fn a_wrong_token_is_refused_for_what_is_wrong_with_it() {
    let ours = Issuer::ours();
    let (rules, key) = (rules(), key(ours));
    for (what, token, error) in wrong(ours) {
        let refused = rules.verify(&token, &key, Clock::system().now()).unwrap_err();
        assert_eq!(refused, error, "{what}");
        // What is refused before the key is looked for is refused for the same reason.
        let early = token::kid(&token);
        assert!(early.is_ok_and(|kid| kid.as_deref() == Some(KID)) || token::kid(&token) == Err(error), "{what}");
        assert!(
            !token.split('.').any(|part| part.len() > 3 && format!("{refused} {refused:?}").contains(part)),
            "{what}"
        );
    }
}

#[test]
fn a_right_token_names_the_person_the_session_and_its_end() {
    let ours = Issuer::ours();
    let (rules, key) = (rules(), key(ours));
    for (what, token) in right(ours).into_iter().chain(unpublished(ours)) {
        let session = rules.verify(&token, &key, Clock::system().now());
        let Session { clerk_id, session_id, actor, expires_at } =
            session.unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!((clerk_id.as_str(), session_id.as_str(), actor), ("user_ada", "sess_ada", None), "{what}");
        assert!((55..=61).contains(&(expires_at.timestamp() - now())), "{what}");
    }
    let padded = format!(" {}", ours.session("user_ada", "sess_ada", json!({})));
    assert_eq!(rules.verify(&padded, &key, Clock::system().now()), Err(TokenError::Malformed));
}

#[test]
fn a_party_is_listed_or_any_and_may_be_required() {
    let ours = Issuer::ours();
    let token = |azp: Value| ours.session("user_ada", "sess_ada", json!({"azp": azp}));
    let (listed, other, none) = (token(json!(PARTY)), token(json!("https://b.example")), token(Value::Null));
    for (parties, required, expected) in [
        (vec![PARTY.to_owned()], false, [true, false, true]),
        (vec![PARTY.to_uppercase()], false, [true, false, true]),
        (vec![PARTY.to_owned()], true, [true, false, false]),
        (vec![], false, [true, true, true]),
        (vec![], true, [true, true, false]),
    ] {
        let rules = Rules::new(ISSUER, &parties, required).unwrap();
        let verified = [&listed, &other, &none].map(|token| rules.verify(token, &key(ours), Clock::system().now()));
        let errors = verified.each_ref().map(|verified| verified.as_ref().err().copied());
        assert!(
            matches!(errors, [None, None | Some(TokenError::Party), None | Some(TokenError::NoParty)]),
            "{errors:?}"
        );
        let empty = rules.verify(&token(json!("")), &key(ours), Clock::system().now());
        assert_eq!(empty.is_ok(), expected[2], "an empty party is none");
        assert_eq!(verified.map(|verified| verified.is_ok()), expected, "{parties:?}, required: {required}");
    }
}

#[test]
fn who_acts_as_somebody_is_named() {
    let ours = Issuer::ours();
    let verify = |act: Value| {
        let token = ours.session("user_ada", "sess_ada", json!({"act": act}));
        rules().verify(&token, &key(ours), Clock::system().now()).unwrap()
    };
    let session = verify(json!({"iss": "https://dashboard.clerk.com", "sid": "sess_x", "sub": "user_support"}));
    assert_eq!((session.clerk_id.as_str(), session.actor.as_deref()), ("user_ada", Some("user_support")));
    let session = verify(json!({"type": "agent", "sub": "agent_1", "act": {"sub": "user_before"}}));
    assert_eq!(session.actor.as_deref(), Some("agent_1"), "the one who acts now");
    // Clerk copies what the caller of its API wrote.
    for text in
        ["support@example.com", "Ada Quill (support)", "支援", "7", "x y\u{a0}z", &"x".repeat(256), &"é".repeat(128)]
    {
        let session = verify(json!({"sub": text, "reason": "ticket 7", "n": 1e300, "nested": {"sub": 7}}));
        assert_eq!(session.actor.as_deref(), Some(text));
    }
}

#[test]
fn a_token_is_in_force_for_its_time_and_a_little_around_it() {
    let ours = Issuer::ours();
    let token = ours.session("user_ada", "sess_ada", json!({"iat": null, "nbf": 1_000_000, "exp": 1_000_060}));
    for (ms, expected) in [
        (999_994_999, Err(TokenError::Early)),
        (999_995_000, Ok(())),
        (1_000_060_000, Ok(())),
        (1_000_064_999, Ok(())),
        (1_000_065_000, Err(TokenError::Expired)),
    ] {
        let verified = rules().verify(&token, &key(ours), from_millis(ms).unwrap());
        assert_eq!(verified.map(drop), expected, "{ms}");
    }
    let token = ours.session("user_ada", "sess_ada", json!({"iat": 1_000_000, "nbf": 0, "exp": 1_000_060}));
    for (ms, expected) in [(999_994_999, Err(TokenError::Future)), (999_995_000, Ok(()))] {
        let verified = rules().verify(&token, &key(ours), from_millis(ms).unwrap());
        assert_eq!(verified.map(drop), expected, "{ms}");
    }
}

#[test]
fn a_key_is_a_pem_however_its_lines_are_folded() {
    let ours = Issuer::ours();
    let plain = ours.pem();
    let token = ours.session("user_ada", "sess_ada", json!({}));
    for key in [
        plain.clone(),
        plain.replace('\n', "\\n"),
        plain.replace('\n', "\r\n"),
        plain.replace('\n', "\\r\\n"),
        plain.replace('\n', " "),
        format!("\n  {plain}\n\n"),
        format!("\"{}\"", plain.trim()),
        format!("'{}'\n", plain.replace('\n', "\\n")),
        plain.replace('\n', "\n\n"),
        plain.replace('\n', ""),
        plain.replace('\n', "\n    "),
        format!("\u{feff}{plain}"),
        plain.lines().filter(|line| !line.starts_with('-')).collect::<Vec<_>>().join("\n"),
        pkcs1(ours),
        pkcs1(ours).replace('\n', "\\n"),
    ] {
        let parsed = Key::from_pem(&key).unwrap();
        assert!(rules().verify(&token, &parsed, Clock::system().now()).is_ok(), "{key:?}");
    }
    let short = "MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQCyBGQbL/1BbOxSlcTqDhkwTNkYsDaBYo2JwJjdt6Rfq7qg6Gz6mP3w9rvotrZZBDs9qn9EkbemJgyWUDY8fBEBSZ8Kx0t9CVVA0eq0GXeUy78wR7/WYMIXUAIS6yTVS56YD+avJ3chSltaD4642eD2CTOYG2/62J4mNdMpWiWOFwIDAQAB";
    let curve = "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEy/pX/L4aoGglSYCO1m8zd7jRST2u3VfofvpoRoN1PLPc083zZMdv96wh3ZHiJWjTd6/QdquLg4lQ0vrZve8YJA==";
    for key in [
        "",
        "key",
        "-----BEGIN PUBLIC KEY-----",
        &pem("AAAA"),
        &pem("%%%%"),
        &pem(short),
        &pem(curve),
        &plain.replace("PUBLIC", "PRIVATE"),
        &plain.replace("PUBLIC KEY", "CERTIFICATE"),
        &plain.replace("BEGIN PUBLIC", "BEGIN RSA PUBLIC"),
        &plain.replace("BEGIN PUBLIC", "BEGIN PRIVATE"),
        &plain[..plain.len() / 2],
        &format!("{plain}{plain}"),
    ] {
        assert_eq!(Key::from_pem(key), None, "{key:?}");
    }
    for issuer in ["", " "] {
        assert!(Rules::new(issuer, &[], false).is_none());
    }
}

#[tokio::test]
async fn what_is_wrong_with_the_configuration_names_the_key_and_how_to_set_it() {
    let access = |keys: &[(&str, &str)]| {
        let keys: Vec<_> = keys.iter().map(|(key, value)| (*key, (*value).to_owned())).collect();
        let config = config(&keys);
        Access::new(&config.api, &config.clerk)
    };
    let pem = Issuer::ours().pem();
    let published = "https://clerk.tests.example/.well-known/jwks.json";
    for (keys, named, remedy) in [
        (vec![("clerk.jwt_key", pem.as_str())], "clerk.issuer:", "CLERK_ISSUER"),
        (vec![("clerk.jwks_url", published)], "clerk.issuer:", "CLERK_ISSUER"),
        (vec![("clerk.jwt_key", "a-key-of-ours"), ("clerk.issuer", ISSUER)], "clerk.jwt_key:", "CLERK_JWT_KEY"),
        (vec![("clerk.jwks_url", "a-key-of-ours"), ("clerk.issuer", ISSUER)], "clerk.jwks_url:", "CLERK_JWKS_URL"),
        (
            vec![("clerk.jwks_url", "http://u:a-key-of-ours@h.example/"), ("clerk.issuer", ISSUER)],
            "clerk.jwks_url:",
            "CLERK_JWKS_URL",
        ),
        (
            vec![("clerk.jwks_url", "http://h.example/a-key-of-ours"), ("clerk.issuer", ISSUER)],
            "clerk.jwks_url:",
            "https",
        ),
    ] {
        let error = access(&keys).unwrap_err().to_string();
        assert!(error.contains(named) && error.contains(remedy), "{error}");
        assert!(!error.contains("a-key-of-ours"), "{error}");
    }
    // Without a key there are no session tokens, and nothing else is asked for.
    assert!(access(&[("clerk.issuer", ISSUER)]).is_ok() && access(&[]).is_ok());
    // A key goes before those that are published, whatever stands there.
    let both = [("clerk.jwt_key", pem.as_str()), ("clerk.jwks_url", "nonsense"), ("clerk.issuer", ISSUER)];
    assert!(access(&both).unwrap().published().is_none());
    assert!(access(&[("clerk.jwks_url", published), ("clerk.issuer", ISSUER)]).unwrap().published().is_some());
    // As the environment has them.
    let short = [
        ("CLERK_JWT_KEY", pem.replace('\n', "\\n")),
        ("CLERK_ISSUER", ISSUER.into()),
        ("CLERK_AUTHORIZED_PARTIES", format!("https://a.example, {PARTY}")),
    ];
    let config = config::load(None, short.map(|(key, value)| (key.to_owned(), value)).into()).unwrap();
    let access = Access::new(&config.api, &config.clerk).unwrap();
    let token = Issuer::ours().session("user_ada", "sess_ada", json!({}));
    assert!(access.session(&token, Clock::system().now()).await.unwrap().is_ok());
    let token = Issuer::ours().session("user_ada", "sess_ada", json!({"azp": "https://b.example"}));
    assert_eq!(access.session(&token, Clock::system().now()).await, Ok(Err(TokenError::Party.into())));
}
