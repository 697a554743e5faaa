//! Session tokens: accepted only where every rule of the contract holds; no text makes reading one panic.

use std::sync::OnceLock;

use aws_lc_rs::{
    encoding::{AsDer as _, PublicKeyX509Der},
    rand::SystemRandom,
    rsa::KeySize,
    signature::{KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair},
};
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use chrono::{DateTime, Utc};
use clerk_sync::clerk::{
    keys::Key,
    token::{Rules, Session, kid},
};

use super::reference::{self, Tree};

const ISSUER: &str = "https://clerk.example";
const PARTY: &str = "https://app.example";

/// The moment at which tokens are verified.
const NOW: i64 = 1_700_000_000;

const LEEWAY: f64 = 5.0;

/// Clocks are compared in milliseconds.
const ROUNDING: f64 = 0.002;

/// Checks the bytes as a token, and, in two parts separated by a line break, as header and claims of one that the
/// instance has signed.
pub fn check(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data) {
        _ = kid(text);
        assert!(verify(text, false).is_none(), "what the instance has not signed");
    }
    let Some(end) = data.iter().position(|byte| *byte == b'\n') else { return };
    let (header, claims) = (&data[..end], &data[end + 1..]);
    let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    let token = format!("{message}.{}", URL_SAFE_NO_PAD.encode(sign(&message)));
    for require_party in [false, true] {
        if let Some(session) = verify(&token, require_party) {
            let read = |part: &[u8]| std::str::from_utf8(part).ok().and_then(reference::parse);
            // Members that are not read may be anything; then there is nothing to compare with.
            let (Some(header), Some(claims)) = (read(header), read(claims)) else { continue };
            assert!(is_session(&header), "a header that is no session's: {header:?}");
            assert!(is_in_force(&claims, require_party), "claims that are not in force: {claims:?}");
            assert!(names(&claims, &session), "{session:?} of {claims:?}");
            assert!(kid(&token).is_ok());
        }
    }
    // Another message under the same signature.
    let forged = token.replacen('.', "A.", 1);
    assert!(verify(&forged, false).is_none());
}

/// Checks that the token which everything else is a mutation of is accepted.
pub fn check_baseline() {
    let header = r#"{"alg":"RS256","cat":"cl_B7d4PD111AAA","kid":"ins_1","typ":"JWT"}"#;
    let claims = format!(
        r#"{{"azp":"{PARTY}","exp":{},"iat":{NOW},"iss":"{ISSUER}","nbf":{NOW},"sid":"sess_1","sub":"user_1"}}"#,
        NOW + 60
    );
    let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    let token = format!("{message}.{}", URL_SAFE_NO_PAD.encode(sign(&message)));
    assert_eq!(kid(&token), Ok(Some("ins_1".into())));
    assert_eq!(verify(&token, true).expect("a session").clerk_id, "user_1");
}

fn pair() -> &'static (RsaKeyPair, Key) {
    static PAIR: OnceLock<(RsaKeyPair, Key)> = OnceLock::new();
    PAIR.get_or_init(|| {
        let pair = RsaKeyPair::generate(KeySize::Rsa2048).expect("a key");
        let der: PublicKeyX509Der<'_> = pair.public_key().as_der().expect("its public half");
        let pem = format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----", STANDARD.encode(der.as_ref()));
        let key = Key::from_pem(&pem).expect("a usable key");
        (pair, key)
    })
}

fn sign(message: &str) -> Vec<u8> {
    let (pair, _) = pair();
    let mut signature = vec![0; pair.public_modulus_len()];
    pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message.as_bytes(), &mut signature).expect("a signature");
    signature
}

fn verify(token: &str, require_party: bool) -> Option<Session> {
    let rules = Rules::new(ISSUER, &[PARTY.to_owned()], require_party).expect("an issuer");
    let now = DateTime::<Utc>::from_timestamp(NOW, 0).expect("a moment");
    rules.verify(token, &pair().1, now).ok()
}

fn text<'a>(tree: &'a Tree, name: &str) -> Option<&'a str> {
    tree.last(name).and_then(Tree::as_text)
}

fn is_session(header: &Tree) -> bool {
    let access = text(header, "typ").map(str::to_ascii_lowercase);
    text(header, "alg") == Some("RS256")
        && header.last("crit").is_none_or(|crit| *crit == Tree::Null)
        && !matches!(access.as_deref(), Some("at+jwt" | "application/at+jwt"))
        && !text(header, "cat").is_some_and(|cat| cat != "cl_B7d4PD111AAA" && cat != "cl_I7d4PD111III")
}

fn is_in_force(claims: &Tree, require_party: bool) -> bool {
    let now = NOW as f64;
    let seconds =
        |name: &str| claims.last(name).and_then(Tree::as_number).and_then(|number| number.parse::<f64>().ok());
    let begun = |name: &str| seconds(name).is_none_or(|begins| begins <= now + LEEWAY + ROUNDING);
    // Scheme and host know no case; a blank party is none.
    let party = text(claims, "azp").filter(|party| !party.trim().is_empty());
    text(claims, "iss") == Some(ISSUER)
        && party.map_or(!require_party, |party| party.eq_ignore_ascii_case(PARTY))
        && seconds("exp").is_some_and(|ends| now < ends + LEEWAY + ROUNDING)
        && begun("nbf")
        && begun("iat")
        && text(claims, "sub").is_some_and(|user| user.starts_with("user_") && user.len() > "user_".len())
        && text(claims, "sid").is_some_and(|session| !session.is_empty())
        && text(claims, "sts") != Some("pending")
}

fn names(claims: &Tree, session: &Session) -> bool {
    let actor = claims.last("act").filter(|act| **act != Tree::Null);
    // One who cannot be read must not be taken for none.
    let actor_is_named = match (actor, &session.actor) {
        (None, None) => true,
        (Some(act), Some(named)) => {
            let is_plain = named.len() <= 256 && !named.chars().any(char::is_control);
            is_plain && (text(act, "sub") == Some(named) || matches!(act, Tree::Array(_)))
        }
        _ => false,
    };
    text(claims, "sub") == Some(&*session.clerk_id)
        && text(claims, "sid") == Some(&*session.session_id)
        && actor_is_named
}
