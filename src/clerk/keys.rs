//! The public keys with which session tokens are verified: one that is configured, or those that the instance publishes.
//!
//! - [`set`]: what a published set says; pure
//! - [`held`]: which set serves, and when it is asked for anew; pure
//! - [`fetch`]: asking for it
//! - [`published`]: the cache of it, one a process
//!
//! Sources: RFC 7517 (JWK), RFC 7518 (its RSA members); clerk.com/docs, "Manual JWT verification".

mod fetch;
mod held;
mod published;
mod set;

use std::{fmt, ops::RangeInclusive};

use aws_lc_rs::{
    encoding::{AsDer as _, PublicKeyX509Der},
    rsa::{PublicEncryptingKey, PublicKeyComponents},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use jsonwebtoken::DecodingKey;

pub use fetch::{AddressError, Asker, KeysError};
pub use held::Times;
pub use published::{NoKeys, Published};
pub use set::KeySet;

/// Bits of a key that signatures can be verified with.
const BITS: RangeInclusive<usize> = 2048..=8192;

/// An RSA public key that signatures can be verified with.
pub struct Key(DecodingKey);

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key")
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_bytes() == other.0.as_bytes()
    }
}

impl Eq for Key {}

impl Key {
    /// From a PEM public key. Environments fold its lines in several ways (`\n` as two characters, spaces); the key is
    /// the same. `None` where it is no RSA public key of a usable size.
    pub fn from_pem(pem: &str) -> Option<Self> {
        let pem = pem.replace("\\r", "").replace("\\n", "\n");
        let pem = pem.trim().strip_prefix("-----BEGIN PUBLIC KEY-----")?;
        let body: String = pem.strip_suffix("-----END PUBLIC KEY-----")?.split_whitespace().collect();
        Self::from_der(&STANDARD.decode(body).ok()?)
    }

    /// From modulus and exponent, both big-endian.
    fn from_components(n: &[u8], e: &[u8]) -> Option<Self> {
        // What could be signed with by everybody (an exponent of 1) or by nobody (an even one) the library refuses.
        let der: PublicKeyX509Der<'_> = PublicKeyComponents { n, e }.as_der().ok()?;
        Self::from_der(der.as_ref())
    }

    fn from_der(der: &[u8]) -> Option<Self> {
        let parsed = PublicEncryptingKey::from_der(der).ok()?;
        BITS.contains(&parsed.key_size_bits()).then(|| Self(DecodingKey::from_rsa_der(der)))
    }

    /// As the library that verifies has it.
    pub(super) fn decoding(&self) -> &DecodingKey {
        &self.0
    }
}
