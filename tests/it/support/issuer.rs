//! A Clerk instance's key, and the tokens that it signs: right ones, and whatever else somebody may bring.

use std::sync::OnceLock;

use aws_lc_rs::{
    encoding::{AsDer as _, PublicKeyX509Der},
    rand::SystemRandom,
    rsa::KeySize,
    signature::{KeyPair as _, RSA_PKCS1_SHA256, RsaEncoding, RsaKeyPair},
};
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use clerk_sync::clock::Clock;
use serde_json::{Value, json};

pub(crate) const ISSUER: &str = "https://clerk.tests.example";
pub(crate) const PARTY: &str = "https://app.tests.example";

/// A key.
pub(crate) struct Issuer(RsaKeyPair);

/// The present second.
pub(crate) fn now() -> i64 {
    Clock::system().now().timestamp()
}

/// The claims of a session token of today, for one minute; `changes` lies over them, and null takes one away.
pub(crate) fn claims(user: &str, session: &str, changes: Value) -> Value {
    let now = now();
    let claims = json!({
        "azp": PARTY, "exp": now + 60, "fva": [1, -1], "iat": now, "iss": ISSUER, "jti": "9a1f", "nbf": now - 10,
        "sid": session, "sts": "active", "sub": user, "v": 2,
    });
    over(claims, changes)
}

/// The header of a session token of today, likewise.
pub(crate) fn header(changes: Value) -> Value {
    over(json!({"alg": "RS256", "cat": "cl_B7d4PD111AAA", "kid": "ins_tests", "typ": "JWT"}), changes)
}

fn over(mut object: Value, changes: Value) -> Value {
    for (name, value) in changes.as_object().unwrap() {
        object[name] = value.clone();
    }
    object.as_object_mut().unwrap().retain(|_, value| !value.is_null());
    object
}

/// The part of a token that is signed.
pub(crate) fn unsigned(header: &Value, claims: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}", part(header), part(claims))
}

/// A token with this signature.
pub(crate) fn sealed(message: &str, signature: &[u8]) -> String {
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
}

impl Issuer {
    /// A new key.
    pub(crate) fn new() -> Self {
        Self(RsaKeyPair::generate(KeySize::Rsa2048).unwrap())
    }

    /// The key of the instance that servers under test trust; one a process, since making one takes a while.
    pub(crate) fn ours() -> &'static Self {
        static OURS: OnceLock<Issuer> = OnceLock::new();
        OURS.get_or_init(Self::new)
    }

    /// The public key, as DER.
    pub(crate) fn der(&self) -> Vec<u8> {
        let der: PublicKeyX509Der<'_> = self.0.public_key().as_der().unwrap();
        der.as_ref().to_vec()
    }

    /// The public key as the dashboard shows it.
    pub(crate) fn pem(&self) -> String {
        pem(&STANDARD.encode(self.der()))
    }

    /// The signature of a message, in some way.
    pub(crate) fn sign(&self, message: &str, how: &'static dyn RsaEncoding) -> Vec<u8> {
        let mut signature = vec![0; self.0.public_modulus_len()];
        self.0.sign(how, &SystemRandom::new(), message.as_bytes(), &mut signature).unwrap();
        signature
    }

    /// A token.
    pub(crate) fn token(&self, header: &Value, claims: &Value) -> String {
        let message = unsigned(header, claims);
        sealed(&message, &self.sign(&message, &RSA_PKCS1_SHA256))
    }

    /// A session token with these changes of its claims.
    pub(crate) fn session(&self, user: &str, session: &str, changes: Value) -> String {
        self.token(&header(json!({})), &claims(user, session, changes))
    }
}

/// A PEM of this base64, in lines.
pub(crate) fn pem(base64: &str) -> String {
    let lines: Vec<&str> = base64.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", lines.join("\n"))
}
