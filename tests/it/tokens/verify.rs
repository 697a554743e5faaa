//! Every way in which a token can be wrong, each refused for its own reason; and keys, right and wrong.

use aws_lc_rs::signature::{RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RSA_PSS_SHA256};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use clerk_sync::{
    access::Access,
    clerk::{
        keys::Key,
        token::{self, Rules, Session, TokenError},
    },
    clock::{Clock, from_millis},
    config,
};
use hmac::{Hmac, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;

use crate::support::{
    issuer::{ISSUER, Issuer, KID, PARTY, claims, header, now, pem, sealed, unsigned},
    world::config,
};

/// Where a token might lead to. Nobody listens there.
pub(super) const LURE: &str = "http://127.0.0.1:9/keys.json";

/// Tokens about `user_ada` and her session `sess_ada` that are refused whatever the source of keys, and why.
pub(super) fn wrong(ours: &Issuer) -> Vec<(&'static str, String, TokenError)> {
    let mut all = forged(ours);
    all.extend(of_others(ours));
    all.extend(malformed(ours));
    all
}

/// Not signed by us, or not with RS256.
fn forged(ours: &Issuer) -> Vec<(&'static str, String, TokenError)> {
    let good = ours.session("user_ada", "sess_ada", json!({}));
    let about_ada = claims("user_ada", "sess_ada", json!({}));
    let message = |alg: &str| unsigned(&header(json!({"alg": alg})), &about_ada);
    let hmac = |secret: &[u8]| {
        let message = message("HS256");
        let mut mac = Hmac::<Sha256>::new_from_slice(secret).unwrap();
        mac.update(message.as_bytes());
        sealed(&message, &mac.finalize().into_bytes())
    };
    let (unprotected, rs384, rs512, ps256) = (message("none"), message("RS384"), message("RS512"), message("PS256"));
    let other = Issuer::new();
    let others = |changes: Value| other.token(&header(changes), &about_ada);
    let stolen = {
        let signature = good.rsplit('.').next().unwrap();
        format!("{}.{signature}", unsigned(&header(json!({})), &claims("user_eve", "sess_ada", json!({}))))
    };
    let n = URL_SAFE_NO_PAD.encode(ours.modulus());
    use TokenError as E;
    vec![
        ("another instance's key under our key's name", other.session("user_ada", "sess_ada", json!({})), E::Signature),
        ("another's signature", stolen, E::Signature),
        ("a signature cut short", good[..good.len() - 6].to_owned(), E::Signature),
        ("an empty signature", sealed(&unsigned(&header(json!({})), &about_ada), &[]), E::Signature),
        ("a signature of zeros", sealed(&unsigned(&header(json!({})), &about_ada), &[0; 256]), E::Signature),
        ("with the key it is signed with", others(json!({"jwk": other.jwk(KID)})), E::Signature),
        ("with the address of its key", others(json!({"jku": LURE})), E::Signature),
        ("with the address of its certificate", others(json!({"x5u": LURE})), E::Signature),
        ("with a certificate", others(json!({"x5c": ["MIIB"]})), E::Signature),
        ("no algorithm, no signature", format!("{unprotected}."), E::Malformed),
        ("no algorithm, in capitals", format!("{}.", message("NONE")), E::Malformed),
        ("no algorithm, signed", sealed(&unprotected, &ours.sign(&unprotected, &RSA_PKCS1_SHA512)), E::Malformed),
        ("HS256 with the PEM as secret", hmac(ours.pem().as_bytes()), E::Algorithm),
        ("HS256 with the PEM's end cut off", hmac(ours.pem().trim().as_bytes()), E::Algorithm),
        ("HS256 with the DER as secret", hmac(&ours.der()), E::Algorithm),
        ("HS256 with the modulus as secret", hmac(&ours.modulus()), E::Algorithm),
        ("HS256 with the modulus as it is published", hmac(n.as_bytes()), E::Algorithm),
        ("HS256 with nothing as secret", hmac(b""), E::Algorithm),
        ("RS384 with our key", sealed(&rs384, &ours.sign(&rs384, &RSA_PKCS1_SHA384)), E::Algorithm),
        ("RS512 with our key", sealed(&rs512, &ours.sign(&rs512, &RSA_PKCS1_SHA512)), E::Algorithm),
        ("PS256 with our key", sealed(&ps256, &ours.sign(&ps256, &RSA_PSS_SHA256)), E::Algorithm),
    ]
}

/// Signed by us, and not for this, not now, or not here.
fn of_others(ours: &Issuer) -> Vec<(&'static str, String, TokenError)> {
    let changed = |changes: Value| ours.session("user_ada", "sess_ada", changes);
    let headed = |changes: Value| ours.token(&header(changes), &claims("user_ada", "sess_ada", json!({})));
    use TokenError as E;
    vec![
        ("expired", changed(json!({"exp": now() - 60})), E::Expired),
        ("expired by more than the leeway", changed(json!({"exp": now() - 6})), E::Expired),
        ("expired before 1970", changed(json!({"exp": -1})), E::Expired),
        ("not yet valid", changed(json!({"nbf": now() + 600})), E::Early),
        ("issued in the future", changed(json!({"iat": now() + 600})), E::Future),
        ("another issuer", changed(json!({"iss": "https://clerk.other.example"})), E::Issuer),
        ("an issuer that begins like ours", changed(json!({"iss": format!("{ISSUER}.other.example")})), E::Issuer),
        ("an issuer with a slash more", changed(json!({"iss": format!("{ISSUER}/")})), E::Issuer),
        ("another party", changed(json!({"azp": "https://evil.example"})), E::Party),
        ("a party that begins like ours", changed(json!({"azp": format!("{PARTY}.evil.example")})), E::Party),
        ("an empty party", changed(json!({"azp": ""})), E::Party),
        ("a template's, without a session", changed(json!({"sid": null, "sts": null})), E::NoSession),
        ("an empty session", changed(json!({"sid": ""})), E::NoSession),
        ("a session with a NUL", changed(json!({"sid": "sess_\u{0}"})), E::NoSession),
        ("a machine's", changed(json!({"sub": "mch_2abc"})), E::Subject),
        ("a user without an id", changed(json!({"sub": "user_"})), E::Subject),
        ("a user with a space", changed(json!({"sub": "user_a b"})), E::Subject),
        ("a user with a quote", changed(json!({"sub": "user_a' or '1'='1"})), E::Subject),
        ("of a template's class", headed(json!({"cat": "cl_B7d4PD222AAA"})), E::Class),
        ("of the machines' class", headed(json!({"cat": "cl_B7d4PD333AAA"})), E::Class),
        ("of no class that we know", headed(json!({"cat": ""})), E::Class),
        ("an OAuth access token", headed(json!({"typ": "at+jwt"})), E::Class),
        ("the same, written otherwise", headed(json!({"typ": "application/AT+JWT"})), E::Class),
        ("with something we must understand", headed(json!({"crit": ["exp"]})), E::Class),
        ("with nothing we must understand", headed(json!({"crit": []})), E::Class),
        ("pending", changed(json!({"sts": "pending"})), E::Pending),
    ]
}

/// Signed by us, and not what a token is.
fn malformed(ours: &Issuer) -> Vec<(&'static str, String, TokenError)> {
    let good = ours.session("user_ada", "sess_ada", json!({}));
    let changed = |changes: Value| ours.session("user_ada", "sess_ada", changes);
    let headed = |changes: Value| ours.token(&header(changes), &claims("user_ada", "sess_ada", json!({})));
    // What stands first and then again.
    let twice = |claim: &str| {
        let claims = claims("user_ada", "sess_ada", json!({})).to_string();
        ours.signed(&header(json!({})).to_string(), &format!("{{{claim},{}", &claims[1..]))
    };
    let alg_twice = {
        let header = header(json!({})).to_string();
        ours.signed(
            &format!("{{\"alg\":\"RS256\",{}", &header[1..]),
            &claims("user_ada", "sess_ada", json!({})).to_string(),
        )
    };
    let handshake = ours.token(&header(json!({"cat": null})), &json!({"handshake": ["__session=x; Path=/"]}));
    use TokenError as E;
    vec![
        ("a handshake's", handshake, E::Malformed),
        ("no issuer", changed(json!({"iss": null})), E::Malformed),
        ("two issuers", changed(json!({"iss": [ISSUER, "https://clerk.other.example"]})), E::Malformed),
        ("no subject", changed(json!({"sub": null})), E::Malformed),
        ("a subject that is a list", changed(json!({"sub": ["user_ada"]})), E::Malformed),
        ("a subject that stands twice", twice("\"sub\":\"user_eve\""), E::Malformed),
        ("a session that stands twice", twice("\"sid\":\"sess_eve\""), E::Malformed),
        ("an end that stands twice", twice("\"exp\":1"), E::Malformed),
        ("an issuer that stands twice", twice("\"iss\":\"https://clerk.other.example\""), E::Malformed),
        ("an algorithm that stands twice", alg_twice, E::Malformed),
        ("no end", changed(json!({"exp": null})), E::Malformed),
        ("an end that is no number", changed(json!({"exp": "tomorrow"})), E::Malformed),
        ("an end that is a number in quotes", changed(json!({"exp": (now() + 60).to_string()})), E::Malformed),
        ("an end beyond any calendar", changed(json!({"exp": 1e300})), E::Malformed),
        ("an end as long as a number can be", changed(json!({"exp": u64::MAX})), E::Malformed),
        ("a beginning in quotes", changed(json!({"nbf": "0"})), E::Malformed),
        ("an issue in quotes", changed(json!({"iat": "0"})), E::Malformed),
        ("a session that is a number", changed(json!({"sid": 7})), E::Malformed),
        ("several parties", changed(json!({"azp": [PARTY]})), E::Malformed),
        ("a status that is a number", changed(json!({"sts": 1})), E::Malformed),
        ("an actor that is a text", changed(json!({"act": "user_x"})), E::Malformed),
        ("an actor without a name", changed(json!({"act": {"iss": "x"}})), E::Malformed),
        ("an actor with a space", changed(json!({"act": {"sub": "user_a b"}})), E::Malformed),
        ("a key's name that is a number", headed(json!({"kid": 7})), E::Malformed),
        ("an algorithm that is a list", headed(json!({"alg": ["RS256"]})), E::Malformed),
        ("no algorithm named", headed(json!({"alg": null})), E::Malformed),
        ("claims that are none", ours.signed(&header(json!({})).to_string(), "[]"), E::Malformed),
        ("claims that are no JSON", ours.signed(&header(json!({})).to_string(), "claims"), E::Malformed),
        ("nothing", String::new(), E::Malformed),
        ("garbage", "garbage".into(), E::Malformed),
        ("dots", "...".into(), E::Malformed),
        ("two parts", good.rsplit_once('.').unwrap().0.to_owned(), E::Malformed),
        ("four parts", format!("{good}.AAAA"), E::Malformed),
        ("no base64", good.replacen("eyJ", "%%%", 1), E::Malformed),
        ("huge", changed(json!({"extra": "x".repeat(5_500)})), E::TooLong),
    ]
}

/// Names of keys that nobody publishes: paths, addresses and statements among them. They are right where one key is
/// configured, which names are not asked for.
pub(super) fn unpublished(ours: &Issuer) -> Vec<(&'static str, String)> {
    let named = |kid: Value| ours.token(&header(json!({"kid": kid})), &claims("user_ada", "sess_ada", json!({})));
    vec![
        ("another name", named(json!("ins_other"))),
        ("no name", named(Value::Null)),
        ("an empty name", named(json!(""))),
        ("our name and more", named(json!(format!("{KID}\u{0}")))),
        ("our name in capitals", named(json!(KID.to_uppercase()))),
        ("a path", named(json!("../../../../dev/null"))),
        ("an address", named(json!(LURE))),
        ("a statement", named(json!("x' union select 'key' --"))),
        ("a long name", named(json!("x".repeat(2_000)))),
    ]
}

/// Tokens about the same that are right.
pub(super) fn right(ours: &Issuer) -> Vec<(&'static str, String)> {
    let changed = |changes: Value| ours.session("user_ada", "sess_ada", changes);
    let headed = |changes: Value| ours.token(&header(changes), &claims("user_ada", "sess_ada", json!({})));
    let v1 = json!({
        "v": null, "sts": null, "fva": null, "org_id": "org_1", "org_slug": "one", "org_role": "org:admin",
        "org_permissions": ["org:invoices:create"],
    });
    let v2 =
        json!({"o": {"id": "org_1", "slg": "one", "rol": "admin", "per": "create", "fpm": "1"}, "fea": "o:invoices"});
    vec![
        ("of the second version", changed(json!({}))),
        ("the same with an organisation", changed(v2)),
        ("of the first version", ours.token(&header(json!({"cat": null})), &claims("user_ada", "sess_ada", v1))),
        ("without a party", changed(json!({"azp": null}))),
        ("from an instance that marks no classes", headed(json!({"cat": "cl_I7d4PD111III"}))),
        ("without a type", headed(json!({"typ": null}))),
        ("from a clock that is a little ahead", changed(json!({"nbf": now() + 3}))),
        ("without a beginning", changed(json!({"nbf": null}))),
        ("with a fraction of a second", changed(json!({"exp": now() as f64 + 60.5}))),
        ("from a clock that issues a little early", changed(json!({"iat": now() + 3}))),
        ("without an issue", changed(json!({"iat": null}))),
        ("acted by nobody", ours.signed(&header(json!({})).to_string(), &with_null("act"))),
        ("with addresses that lead to other keys", headed(json!({"jku": LURE, "x5u": LURE}))),
        ("with another key", headed(json!({"jwk": Issuer::new().jwk(KID)}))),
        ("what we do not read stands twice", twice_unread(ours)),
    ]
}

/// The claims of a right token, and one that is null.
fn with_null(claim: &str) -> String {
    let claims = claims("user_ada", "sess_ada", json!({})).to_string();
    format!("{{\"{claim}\":null,{}", &claims[1..])
}

fn twice_unread(ours: &Issuer) -> String {
    let claims = claims("user_ada", "sess_ada", json!({})).to_string();
    ours.signed(&header(json!({})).to_string(), &format!("{{\"jti\":\"other\",{}", &claims[1..]))
}

fn rules() -> Rules {
    Rules::new(ISSUER, &["https://other.example".into(), PARTY.into()], false).unwrap()
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
        (vec![PARTY.to_owned()], true, [true, false, false]),
        (vec![], false, [true, true, true]),
        (vec![], true, [true, true, false]),
    ] {
        let rules = Rules::new(ISSUER, &parties, required).unwrap();
        let verified = [&listed, &other, &none].map(|token| rules.verify(token, &key(ours), Clock::system().now()));
        for refused in verified.iter().filter_map(|verified| verified.as_ref().err()) {
            assert_eq!(*refused, TokenError::Party);
        }
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
        &plain.replace("PUBLIC", "RSA PUBLIC"),
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
    assert!(access.session(&token, Clock::system().now()).await.unwrap().is_some());
    let token = Issuer::ours().session("user_ada", "sess_ada", json!({"azp": "https://b.example"}));
    assert_eq!(access.session(&token, Clock::system().now()).await, Ok(None));
}
