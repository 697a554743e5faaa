//! The signing key of a simulated instance, and the session tokens that it signs, as Clerk's frontends receive them.

use aws_lc_rs::{
    encoding::{AsDer as _, PublicKeyX509Der},
    error::Unspecified,
    rand::SystemRandom,
    rsa::KeySize,
    signature::{KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair},
};
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use serde_json::json;

use crate::clock::Time;

/// Seconds that a session token is in force.
const LIFETIME: i64 = 60;

/// The key of one instance, and the name under which it issues tokens.
#[derive(Debug)]
pub struct Issuer {
    key: RsaKeyPair,
    issuer: &'static str,
}

impl Issuer {
    /// Makes a key of 2048 bits, which takes a while.
    ///
    /// # Errors
    /// Where the system gives no randomness.
    pub fn generate(issuer: &'static str) -> Result<Self, Unspecified> {
        Ok(Self { key: RsaKeyPair::generate(KeySize::Rsa2048)?, issuer })
    }

    /// Returns the `iss` of its tokens.
    pub fn name(&self) -> &'static str {
        self.issuer
    }

    /// Returns the public key as Clerk's dashboard shows it.
    ///
    /// # Errors
    /// Where the key cannot be written as DER.
    pub fn public_pem(&self) -> Result<String, Unspecified> {
        let der: PublicKeyX509Der<'_> = self.key.public_key().as_der()?;
        Ok(format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", STANDARD.encode(der.as_ref())))
    }

    /// Returns a session token of today (claims version 2) for a user, in force from `now` on.
    ///
    /// # Errors
    /// Where signing fails.
    pub fn session_token(&self, clerk_id: &str, session_id: &str, now: Time) -> Result<String, Unspecified> {
        let now = now.timestamp();
        let header = json!({"alg": "RS256", "cat": "cl_B7d4PD111AAA", "kid": "ins_simulated", "typ": "JWT"});
        let claims = json!({
            "exp": now + LIFETIME, "fva": [0, -1], "iat": now, "iss": self.issuer, "jti": "simulated", "nbf": now - 10,
            "sid": session_id, "sts": "active", "sub": clerk_id, "v": 2,
        });
        let encode = |part: serde_json::Value| URL_SAFE_NO_PAD.encode(part.to_string());
        let message = format!("{}.{}", encode(header), encode(claims));
        let mut signature = vec![0; self.key.public_modulus_len()];
        self.key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message.as_bytes(), &mut signature)?;
        Ok(format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }
}
