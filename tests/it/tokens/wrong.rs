//! Tokens that are wrong, each in one way, and some that look strange and are right: what every door is tried with.

use aws_lc_rs::signature::{RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RSA_PSS_SHA256};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use clerk_sync::clerk::token::TokenError;
use hmac::{Hmac, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;

use crate::support::issuer::{ISSUER, Issuer, KID, PARTY, claims, header, now, sealed, unsigned};

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
        ("no algorithm, no signature", format!("{unprotected}."), E::Algorithm),
        ("no algorithm, in capitals", format!("{}.", message("NONE")), E::Algorithm),
        ("no algorithm, signed", sealed(&unprotected, &ours.sign(&unprotected, &RSA_PKCS1_SHA512)), E::Algorithm),
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
        ("with something we must understand", headed(json!({"crit": ["exp"]})), E::Critical),
        ("with nothing we must understand", headed(json!({"crit": []})), E::Critical),
        ("pending", changed(json!({"sts": "pending"})), E::Pending),
    ]
}

/// Signed by us, and not what a token is.
fn malformed(ours: &Issuer) -> Vec<(&'static str, String, TokenError)> {
    let good = ours.session("user_ada", "sess_ada", json!({}));
    let about_ada = claims("user_ada", "sess_ada", json!({})).to_string();
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
        ("an actor that is a text", changed(json!({"act": "user_x"})), E::Actor),
        ("an actor that is false", changed(json!({"act": false})), E::Actor),
        ("an actor that is a list", changed(json!({"act": ["user_x"]})), E::Actor),
        ("an actor that is empty", changed(json!({"act": {}})), E::Actor),
        ("an actor without a name", changed(json!({"act": {"iss": "x"}})), E::Actor),
        ("an actor whose name is null", changed(json!({"act": {"sub": null, "iss": "x"}})), E::Actor),
        ("an actor whose name is empty", changed(json!({"act": {"sub": ""}})), E::Actor),
        ("an actor whose name is a number", changed(json!({"act": {"sub": 7}})), E::Actor),
        ("an actor with a line break", changed(json!({"act": {"sub": "user_a\nb"}})), E::Actor),
        ("an actor with a NUL", changed(json!({"act": {"sub": "user_\u{0}"}})), E::Actor),
        ("an actor with a control character of Latin 1", changed(json!({"act": {"sub": "a\u{85}b"}})), E::Actor),
        ("an actor of 257 bytes", changed(json!({"act": {"sub": "x".repeat(257)}})), E::Actor),
        ("an actor of 129 letters, 258 bytes", changed(json!({"act": {"sub": "é".repeat(129)}})), E::Actor),
        ("an actor with two names", twice(r#""act":{"sub":"user_a","sub":"user_b"}"#), E::Actor),
        ("an actor with half an emoji", twice(r#""act":{"sub":"\ud83d"}"#), E::Actor),
        ("two actors", twice(r#""act":{"sub":"user_a"},"act":{"sub":"user_b"}"#), E::Malformed),
        ("a key's name that is a number", headed(json!({"kid": 7})), E::Malformed),
        ("an algorithm that is a list", headed(json!({"alg": ["RS256"]})), E::Malformed),
        ("no algorithm named", headed(json!({"alg": null})), E::Malformed),
        ("claims that are none", ours.signed(&header(json!({})).to_string(), "[]"), E::Malformed),
        ("claims that are no JSON", ours.signed(&header(json!({})).to_string(), "claims"), E::Malformed),
        ("a machine token", "mt_0123456789abcdef".into(), E::Opaque),
        ("an API key", "ak_0123456789abcdef".into(), E::Opaque),
        ("an OAuth access token that is no JWT", "oat_0123456789abcdef".into(), E::Opaque),
        ("a machine-to-machine token", "m2m_0123456789abcdef".into(), E::Opaque),
        ("a session token after such a prefix", format!("mt_{good}"), E::Opaque),
        ("header as a list", ours.signed(&json!(["RS256", KID, "JWT", null]).to_string(), &about_ada), E::Malformed),
        (
            "claims as a list",
            ours.signed(&header(json!({})).to_string(), &json!([ISSUER, "user_ada", now() + 60]).to_string()),
            E::Malformed,
        ),
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
        ("from before oiat", headed(json!({"oiat": null}))),
        ("of the first version, from before classes", {
            ours.token(&header(json!({"cat": null, "oiat": null})), &claims("user_ada", "sess_ada", json!({"v": null})))
        }),
        ("with oiat as a fraction", headed(json!({"oiat": 1778699272.25}))),
        ("with m and members of tomorrow", headed(json!({"m": {"a": [1, null, {"b": {}}]}, "x": [], "y": true}))),
        ("with header members that hold no value", raw(r#""x":null,"oiat":null"#, "")),
        ("with numbers beyond any type", raw(r#""x":1e999999,"y":123456789012345678901234567890"#, r#""n":-1e999999"#)),
        ("with a header member that stands twice", raw(r#""oiat":1,"m":{"a":1,"a":2},"m":"text""#, "")),
        ("with half an emoji in what we do not read", raw(r#""m":"\ud83d""#, r#""meta":{"\ud83d":"\ud83d"}"#)),
        (
            "with claims of tomorrow",
            changed(json!({"pla": 7, "fea": [], "o": "text", "org_id": {}, "x": {"y": [null]}})),
        ),
        ("with an organization of both versions", {
            changed(json!({"o": {"id": "org_1"}, "org_id": "org_1", "org_role": null, "org_permissions": "text"}))
        }),
        ("with times in fractions", {
            changed(json!({"iat": now() as f64 - 0.5, "nbf": now() as f64 - 10.25, "exp": now() as f64 + 60.75}))
        }),
        ("with an empty party", changed(json!({"azp": ""}))),
        ("with a blank party", changed(json!({"azp": " "}))),
        ("with a party in capitals", changed(json!({"azp": PARTY.to_uppercase()}))),
        ("with a status of tomorrow", changed(json!({"sts": "busy"}))),
        ("active", changed(json!({"sts": "active"}))),
    ]
}

/// The claims of a right token, and one that is null.
fn with_null(claim: &str) -> String {
    let claims = claims("user_ada", "sess_ada", json!({})).to_string();
    format!("{{\"{claim}\":null,{}", &claims[1..])
}

/// A right token with these members before those of its header and of its claims.
fn raw(members: &str, more: &str) -> String {
    let with = |object: Value, members: &str| match members {
        "" => object.to_string(),
        members => format!("{{{members},{}", &object.to_string()[1..]),
    };
    let header = header(json!({"oiat": null}));
    Issuer::ours().signed(&with(header, members), &with(claims("user_ada", "sess_ada", json!({})), more))
}

fn twice_unread(ours: &Issuer) -> String {
    let claims = claims("user_ada", "sess_ada", json!({})).to_string();
    ours.signed(&header(json!({})).to_string(), &format!("{{\"jti\":\"other\",{}", &claims[1..]))
}
