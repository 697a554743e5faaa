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

/// The name of the key of the instance that servers under test trust.
pub(crate) const KID: &str = "ins_tests";
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
    // `oiat` is a number since 2026-05.
    over(json!({"alg": "RS256", "cat": "cl_B7d4PD111AAA", "kid": KID, "oiat": now() - 30, "typ": "JWT"}), changes)
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
    written(&header.to_string(), &claims.to_string())
}

/// The same of texts, which need not be JSON.
pub(crate) fn written(header: &str, claims: &str) -> String {
    format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims))
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

    /// The public modulus.
    pub(crate) fn modulus(&self) -> Vec<u8> {
        // In the DER of a key of 2048 bits it stands after 33 bytes and before the 5 of the exponent 65537.
        let der = self.der();
        assert_eq!((der.len(), &der[289..]), (294, &[2, 3, 1, 0, 1][..]));
        der[33..289].to_vec()
    }

    /// The public key as Clerk publishes it, under this name.
    pub(crate) fn jwk(&self, kid: &str) -> Value {
        let n = URL_SAFE_NO_PAD.encode(self.modulus());
        json!({"use": "sig", "kty": "RSA", "kid": kid, "alg": "RS256", "n": n, "e": "AQAB"})
    }

    /// A token of texts.
    pub(crate) fn signed(&self, header: &str, claims: &str) -> String {
        let message = written(header, claims);
        sealed(&message, &self.sign(&message, &RSA_PKCS1_SHA256))
    }

    /// The signature of a message, in some way.
    pub(crate) fn sign(&self, message: &str, how: &'static dyn RsaEncoding) -> Vec<u8> {
        let mut signature = vec![0; self.0.public_modulus_len()];
        self.0.sign(how, &SystemRandom::new(), message.as_bytes(), &mut signature).unwrap();
        signature
    }

    /// A token.
    pub(crate) fn token(&self, header: &Value, claims: &Value) -> String {
        self.signed(&header.to_string(), &claims.to_string())
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
