//! How hard a token is to guess: an upper bound of its entropy, from its length and the number of different characters.

use std::collections::BTreeSet;

use super::Secret;

/// The least entropy of the admin token where others than this machine can reach the server, bits.
pub const MIN_TOKEN_BITS: f64 = 64.0;

/// Returns the most entropy that a text of this length and with so many different characters can have, in bits.
fn token_bits(token: &str) -> f64 {
    let token = token.trim();
    let different = token.chars().collect::<BTreeSet<_>>().len();
    token.chars().count() as f64 * (different.max(1) as f64).log2()
}

/// Whether a token has that much.
pub fn is_strong(token: &Secret) -> bool {
    token_bits(token.expose()) >= MIN_TOKEN_BITS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repetition_and_shortness_are_weak() {
        for weak in
            ["", "admin", "hunter2", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "0000000001", "admin-token", "letmein123"]
        {
            assert!(token_bits(weak) < MIN_TOKEN_BITS, "{weak}: {}", token_bits(weak));
        }
        for strong in ["3f9a0c5e7b1d2846aa31", "correct-horse-battery-staple", "q7T0xPz1VbN4kLmWcE9"] {
            assert!(token_bits(strong) >= MIN_TOKEN_BITS, "{strong}: {}", token_bits(strong));
        }
    }
}
