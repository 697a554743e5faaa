//! Every way in which a token can be wrong, each refused for its own reason; and keys, right and wrong.

use aws_lc_rs::signature::{RSA_PKCS1_SHA512, RSA_PSS_SHA256};
use clerk_sync::{
    access::Access,
    clerk::token::{KeyError, Session, TokenError, Verifier},
    clock::{Clock, from_millis},
    config,
};
use hmac::{Hmac, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;

use crate::support::{
    issuer::{ISSUER, Issuer, PARTY, claims, header, now, pem, sealed, unsigned},
    world::config,
};

/// Tokens about `user_ada` and her session `sess_ada` that are refused, and why.
pub(super) fn wrong(ours: &Issuer) -> Vec<(&'static str, String, TokenError)> {
    let good = ours.session("user_ada", "sess_ada", json!({}));
    let changed = |changes: Value| ours.session("user_ada", "sess_ada", changes);
    let headed = |changes: Value| ours.token(&header(changes), &claims("user_ada", "sess_ada", json!({})));
    let message = |alg: &str| unsigned(&header(json!({"alg": alg})), &claims("user_ada", "sess_ada", json!({})));
    let hmac = |secret: &[u8]| {
        let message = message("HS256");
        let mut mac = Hmac::<Sha256>::new_from_slice(secret).unwrap();
        mac.update(message.as_bytes());
        sealed(&message, &mac.finalize().into_bytes())
    };
    let (unprotected, rs512, ps256) = (message("none"), message("RS512"), message("PS256"));
    let other = Issuer::new();
    let stolen = {
        let signature = good.rsplit('.').next().unwrap();
        format!("{}.{signature}", unsigned(&header(json!({})), &claims("user_eve", "sess_ada", json!({}))))
    };
    use TokenError as E;
    vec![
        ("expired", changed(json!({"exp": now() - 60})), E::Expired),
        ("expired by more than the leeway", changed(json!({"exp": now() - 6})), E::Expired),
        ("not yet valid", changed(json!({"nbf": now() + 60})), E::Early),
        ("another issuer", changed(json!({"iss": "https://clerk.other.example"})), E::Issuer),
        ("an issuer that begins like ours", changed(json!({"iss": format!("{ISSUER}.other.example")})), E::Issuer),
        ("no issuer", changed(json!({"iss": null})), E::Malformed),
        ("another key", other.session("user_ada", "sess_ada", json!({})), E::Signature),
        ("another's signature", stolen, E::Signature),
        ("a signature cut short", good[..good.len() - 6].to_owned(), E::Signature),
        ("no algorithm, no signature", format!("{unprotected}."), E::Malformed),
        ("no algorithm, signed", sealed(&unprotected, &ours.sign(&unprotected, &RSA_PKCS1_SHA512)), E::Malformed),
        ("HS256 with the PEM as secret", hmac(ours.pem().as_bytes()), E::Algorithm),
        ("HS256 with the DER as secret", hmac(&ours.der()), E::Algorithm),
        ("RS512 with our key", sealed(&rs512, &ours.sign(&rs512, &RSA_PKCS1_SHA512)), E::Algorithm),
        ("PS256 with our key", sealed(&ps256, &ours.sign(&ps256, &RSA_PSS_SHA256)), E::Algorithm),
        ("another party", changed(json!({"azp": "https://evil.example"})), E::Party),
        ("an empty party", changed(json!({"azp": ""})), E::Party),
        ("a template's, without a session", changed(json!({"sid": null, "sts": null})), E::NoSession),
        ("an empty session", changed(json!({"sid": ""})), E::NoSession),
        ("a session with a NUL", changed(json!({"sid": "sess_\u{0}"})), E::NoSession),
        ("a machine's", changed(json!({"sub": "mch_2abc"})), E::Subject),
        ("a user without an id", changed(json!({"sub": "user_"})), E::Subject),
        ("a user with a space", changed(json!({"sub": "user_a b"})), E::Subject),
        ("no subject", changed(json!({"sub": null})), E::Malformed),
        ("of a template's class", headed(json!({"cat": "cl_B7d4PD222AAA"})), E::Class),
        ("of the machines' class", headed(json!({"cat": "cl_B7d4PD333AAA"})), E::Class),
        ("of no class that we know", headed(json!({"cat": ""})), E::Class),
        ("an OAuth access token", headed(json!({"typ": "at+jwt"})), E::Class),
        ("the same, written otherwise", headed(json!({"typ": "application/AT+JWT"})), E::Class),
        ("with something we must understand", headed(json!({"crit": ["exp"]})), E::Class),
        ("pending", changed(json!({"sts": "pending"})), E::Pending),
        ("no end", changed(json!({"exp": null})), E::Malformed),
        ("an end that is no number", changed(json!({"exp": "tomorrow"})), E::Malformed),
        ("an end beyond any calendar", changed(json!({"exp": 1e300})), E::Malformed),
        ("a subject that is a list", changed(json!({"sub": ["user_ada"]})), E::Malformed),
        ("garbage", "garbage".into(), E::Malformed),
        ("dots", "...".into(), E::Malformed),
        ("two parts", good.rsplit_once('.').unwrap().0.to_owned(), E::Malformed),
        ("four parts", format!("{good}.AAAA"), E::Malformed),
        ("no base64", good.replacen("eyJ", "%%%", 1), E::Malformed),
        ("huge", changed(json!({"extra": "x".repeat(5_500)})), E::TooLong),
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
        ("of somebody who acts for another", changed(json!({"act": {"iss": "x", "sid": "sess_x", "sub": "user_x"}}))),
    ]
}

fn verifier(ours: &Issuer) -> Verifier {
    Verifier::new(&ours.pem(), ISSUER, &["https://other.example".into(), PARTY.into()]).unwrap()
}

#[test]
fn a_wrong_token_is_refused_for_what_is_wrong_with_it() {
    let ours = Issuer::ours();
    let verifier = verifier(ours);
    for (what, token, error) in wrong(ours) {
        let refused = verifier.verify(&token, Clock::system().now()).unwrap_err();
        assert_eq!(refused, error, "{what}");
        assert!(
            !token.split('.').any(|part| part.len() > 3 && format!("{refused} {refused:?}").contains(part)),
            "{what}"
        );
    }
}

#[test]
fn a_right_token_names_the_person_the_session_and_its_end() {
    let ours = Issuer::ours();
    let verifier = verifier(ours);
    for (what, token) in right(ours) {
        let Session { clerk_id, session_id, expires_at } = verifier.verify(&token, Clock::system().now()).unwrap();
        assert_eq!((clerk_id.as_str(), session_id.as_str()), ("user_ada", "sess_ada"), "{what}");
        assert!((55..=61).contains(&(expires_at.timestamp() - now())), "{what}");
    }
    let padded = format!(" {}", ours.session("user_ada", "sess_ada", json!({})));
    assert_eq!(verifier.verify(&padded, Clock::system().now()), Err(TokenError::Malformed));
    // Nobody listed: any party.
    let open = Verifier::new(&ours.pem(), ISSUER, &[]).unwrap();
    let token = ours.session("user_ada", "sess_ada", json!({"azp": "https://anybody.example"}));
    assert!(open.verify(&token, Clock::system().now()).is_ok());
}

#[test]
fn a_token_is_in_force_for_its_time_and_a_little_around_it() {
    let ours = Issuer::ours();
    let token = ours.session("user_ada", "sess_ada", json!({"nbf": 1_000_000, "exp": 1_000_060}));
    for (ms, expected) in [
        (999_994_999, Err(TokenError::Early)),
        (999_995_000, Ok(())),
        (1_000_060_000, Ok(())),
        (1_000_064_999, Ok(())),
        (1_000_065_000, Err(TokenError::Expired)),
    ] {
        let verified = verifier(ours).verify(&token, from_millis(ms).unwrap());
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
        let verifier = Verifier::new(&key, ISSUER, &[]).unwrap();
        assert!(verifier.verify(&token, Clock::system().now()).is_ok(), "{key:?}");
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
        assert_eq!(Verifier::new(key, ISSUER, &[]).unwrap_err(), KeyError::Malformed, "{key:?}");
    }
    for issuer in ["", " "] {
        assert_eq!(Verifier::new(&plain, issuer, &[]).unwrap_err(), KeyError::NoIssuer);
    }
}

#[test]
fn what_is_wrong_with_the_configuration_names_the_key_and_how_to_set_it() {
    let access = |keys: &[(&str, &str)]| {
        let keys: Vec<_> = keys.iter().map(|(key, value)| (*key, (*value).to_owned())).collect();
        let config = config(&keys);
        Access::new(&config.api, &config.clerk)
    };
    let pem = Issuer::ours().pem();
    let error = access(&[("clerk.jwt_key", &pem)]).unwrap_err().to_string();
    assert!(error.contains("clerk.issuer:") && error.contains("CLERK_ISSUER"), "{error}");
    let error = access(&[("clerk.jwt_key", "a-key-of-ours"), ("clerk.issuer", ISSUER)]).unwrap_err().to_string();
    assert!(error.contains("clerk.jwt_key:") && error.contains("CLERK_JWT_KEY"), "{error}");
    assert!(!error.contains("a-key-of-ours"), "{error}");
    // Without a key there are no session tokens, and nothing else is asked for.
    assert!(access(&[("clerk.issuer", ISSUER)]).is_ok() && access(&[]).is_ok());
    // As the environment has them.
    let short = [
        ("CLERK_JWT_KEY", pem.replace('\n', "\\n")),
        ("CLERK_ISSUER", ISSUER.into()),
        ("CLERK_AUTHORIZED_PARTIES", format!("https://a.example, {PARTY}")),
    ];
    let config = config::load(None, short.map(|(key, value)| (key.to_owned(), value)).into()).unwrap();
    let access = Access::new(&config.api, &config.clerk).unwrap();
    let token = Issuer::ours().session("user_ada", "sess_ada", json!({}));
    assert!(access.session(&token, Clock::system().now()).is_some());
    let token = Issuer::ours().session("user_ada", "sess_ada", json!({"azp": "https://b.example"}));
    assert_eq!(access.session(&token, Clock::system().now()), None);
}
