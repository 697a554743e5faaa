//! A URL that may hold credentials. It shows scheme, host, port and a plain path; never user, password, query or fragment,
//! and nothing at all where a piece of a password could be taken for one of the parts.

use std::fmt;

use reqwest::Url;
use serde::Deserialize;

use super::Secret;

/// A URL of the configuration. Empty means "not set".
#[derive(Clone, Deserialize)]
#[serde(transparent)]
pub struct SecretUrl(Secret);

impl SecretUrl {
    /// The URL itself, for the one place that uses it.
    pub fn expose(&self) -> &str {
        self.0.expose().trim()
    }

    /// Whether nothing was set.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<&str> for SecretUrl {
    fn from(value: &str) -> Self {
        Self(value.into())
    }
}

impl fmt::Debug for SecretUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("(not set)");
        }
        f.write_str(&shown(self.expose()).unwrap_or_else(|| "***".to_owned()))
    }
}

impl fmt::Display for SecretUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// What may be shown of a URL; `None`: nothing.
fn shown(text: &str) -> Option<String> {
    let url = Url::parse(text).ok()?;
    let host = url.host_str()?;
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._~/".contains(c);
    // An @ behind the authority means that a password holds a sign that ends it: what looks like host, port or path is
    // a piece of user or password then.
    let rest = text.split_once("://")?.1;
    let authority = rest.split(['/', '?', '#', '\\']).next().unwrap_or_default();
    let behind = rest.get(authority.len()..).unwrap_or_default();
    if !matches!(url.scheme(), "http" | "https") || behind.contains('@') || !url.path().chars().all(plain) {
        return None;
    }
    let user = if url.username().is_empty() && url.password().is_none() { "" } else { "***@" };
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    let query = if url.query().is_some() || url.fragment().is_some() { "?***" } else { "" };
    Some(format!("{}://{user}{host}{port}{}{query}", url.scheme(), url.path()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_never_shown() {
        for (url, expected) in [
            ("", "(not set)"),
            ("https://api.clerk.com/v1", "https://api.clerk.com/v1"),
            ("http://127.0.0.1:7700", "http://127.0.0.1:7700/"),
            ("https://user:S3CRET@search.example.com:7700/x", "https://***@search.example.com:7700/x"),
            ("https://S3CRET@search.example.com", "https://***@search.example.com/"),
            ("https://search.example.com/?key=S3CRET#S3CRET", "https://search.example.com/?***"),
            ("https://user:S3#CRET@search.example.com", "***"),
            ("https://user:12#S3CRET@search.example.com", "***"),
            ("https://user:12/S3CRET@search.example.com", "***"),
            ("https://user:12?S3CRET@search.example.com", "***"),
            ("https://user:12\\S3CRET@search.example.com", "***"),
            ("user:S3CRET@search.example.com", "***"),
            ("redis://:S3CRET@host", "***"),
            ("S3CRET", "***"),
            ("https://[S3CRET", "***"),
        ] {
            assert_eq!(format!("{:?}", SecretUrl::from(url)), expected, "{url}");
        }
    }
}
