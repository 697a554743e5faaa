//! Who is asking: the admin token and API tokens. Compared in constant time; an admin token that is not set admits
//! nobody.

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::config::{self, ConfigError};

/// What a caller may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Caller {
    /// Everything.
    Admin,
    /// Another service of the team.
    Service {
        /// The name its token was given.
        name: String,
        /// Whether it may write.
        write: bool,
    },
}

impl Caller {
    /// Whether it may change things.
    pub fn may_write(&self) -> bool {
        matches!(self, Self::Admin | Self::Service { write: true, .. })
    }

    /// Whether it is the admin.
    pub fn is_admin(&self) -> bool {
        matches!(self, Self::Admin)
    }
}

/// The tokens that are known, as hashes.
#[derive(Clone)]
pub struct Access(Vec<([u8; 32], Caller)>);

impl std::fmt::Debug for Access {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Access({} tokens)", self.0.len())
    }
}

impl Access {
    /// From config.
    ///
    /// # Errors
    /// When an API token is not `name:scope:token` with scope `read` or `write`. Never repeats a token.
    pub fn new(config: &config::Api) -> Result<Self, ConfigError> {
        let mut tokens = Vec::new();
        if !config.admin_token.is_empty() {
            tokens.push((hash(config.admin_token.expose()), Caller::Admin));
        }
        for (index, token) in config.tokens.iter().enumerate() {
            let parts: Vec<&str> = token.expose().splitn(3, ':').collect();
            match parts.as_slice() {
                [name, scope @ ("read" | "write"), token] if !name.is_empty() && !token.is_empty() => {
                    tokens.push((hash(token), Caller::Service { name: (*name).to_owned(), write: *scope == "write" }));
                }
                _ => {
                    return Err(ConfigError::Key {
                        key: "api.tokens",
                        problem: format!("entry {} is not name:scope:token with scope read or write", index + 1),
                        remedy: "Set CLERK_SYNC_API_TOKENS=name:read:token,…",
                    });
                }
            }
        }
        Ok(Self(tokens))
    }

    /// Whose token this is. Every known token is compared, whichever matches.
    pub fn identify(&self, token: &str) -> Option<&Caller> {
        let given = hash(token);
        let mut found = None;
        for (known, caller) in &self.0 {
            let equal: bool = known.ct_eq(&given).into();
            if equal {
                found = found.or(Some(caller));
            }
        }
        found
    }
}

/// Tokens are compared by their hashes, so that neither length nor common prefix shows in the time it takes.
fn hash(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use crate::config::Secret;

    use super::*;

    #[test]
    fn a_token_has_the_scope_it_was_given() {
        let tokens = ["a:read:one", "b:write:two", "c:read:three:with:colons"].map(Secret::from).to_vec();
        let config = config::Api { admin_token: Secret::from("zero"), tokens, request_timeout: Default::default() };
        let access = Access::new(&config).unwrap();
        for (token, write, admin) in
            [("zero", true, true), ("one", false, false), ("two", true, false), ("three:with:colons", false, false)]
        {
            let caller = access.identify(token).unwrap();
            assert_eq!((caller.may_write(), caller.is_admin()), (write, admin), "{token}");
        }
        for unknown in ["", "a:read:one", "thre", "three", " one"] {
            assert_eq!(access.identify(unknown), None, "{unknown}");
        }
    }
}
