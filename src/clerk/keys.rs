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
    signature::{ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};

pub use fetch::{AddressError, Asker, KeysError};
pub use held::Times;
pub use published::{NoKeys, Published};
pub use set::KeySet;

/// Bits of a key that signatures can be verified with.
const BITS: RangeInclusive<usize> = 2048..=8192;

/// An RSA public key that RS256 signatures can be verified with.
pub struct Key {
    parsed: ParsedPublicKey,
    /// X.509 SubjectPublicKeyInfo, whatever form it came in.
    der: Vec<u8>,
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key")
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.der == other.der
    }
}

impl Eq for Key {}

impl Key {
    /// Reads a PEM public key, SubjectPublicKeyInfo or PKCS #1. Environments fold its lines in several ways (`\n` as two
    /// characters, spaces, CRLF), quote it, or hold the base64 alone; the key is the same. Returns `None` where it is no
    /// RSA public key of a usable size.
    pub fn from_pem(pem: &str) -> Option<Self> {
        let pem = pem.replace("\\r", "").replace("\\n", "\n");
        let pem = pem.trim_matches(|c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '\u{feff}'));
        let body = match pem.strip_prefix("-----BEGIN ") {
            Some(rest) => {
                let label = ["PUBLIC KEY-----", "RSA PUBLIC KEY-----"];
                let (rest, label) = label.iter().find_map(|label| Some((rest.strip_prefix(label)?, label)))?;
                rest.strip_suffix(label)?.trim_end().strip_suffix("-----END")?
            }
            None => pem,
        };
        let body: String = body.split_whitespace().collect();
        Self::from_der(&STANDARD.decode(body).ok()?)
    }

    /// Builds a key from modulus and exponent, both big-endian.
    fn from_components(n: &[u8], e: &[u8]) -> Option<Self> {
        // What could be signed with by everybody (an exponent of 1) or by nobody (an even one) the library refuses.
        let der: PublicKeyX509Der<'_> = PublicKeyComponents { n, e }.as_der().ok()?;
        Self::from_der(der.as_ref())
    }

    /// Reads a DER public key, SubjectPublicKeyInfo or PKCS #1. Returns `None` where it is no RSA public key of a usable
    /// size.
    pub fn from_der(der: &[u8]) -> Option<Self> {
        let parsed = ParsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, der).ok()?;
        let der: PublicKeyX509Der<'_> = parsed.as_der().ok()?;
        let bits = PublicEncryptingKey::from_der(der.as_ref()).ok()?.key_size_bits();
        BITS.contains(&bits).then(|| Self { der: der.as_ref().to_vec(), parsed })
    }

    /// Whether this key made the RS256 signature of a message.
    pub(super) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        self.parsed.verify_sig(message, signature).is_ok()
    }
}
