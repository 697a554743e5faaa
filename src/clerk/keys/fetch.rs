//! Asking for the published set: one address, over https but on this machine itself, no redirects, a bounded time and a
//! bounded answer. Errors repeat neither the address nor a word of the answer.

use std::{fmt, net::IpAddr, time::Duration};

use reqwest::{StatusCode, Url, header};

use crate::{
    clerk::api::{Observe, VERSION},
    config,
};

use super::KeySet;

/// How long a request may take.
pub(super) const WITHIN: Duration = Duration::from_secs(5);

/// The longest answer that is read, bytes. A key has some hundreds.
const ANSWER_MAX: usize = 256 << 10;

/// The address cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// Not an address, or one with a name and a password in it.
    #[error("it is no https:// address")]
    Malformed,
    /// Whoever is between could put keys of their own there.
    #[error("it is not https://, and not of this machine")]
    Insecure,
    /// The client cannot be made.
    #[error("no HTTP client could be made (no TLS roots?)")]
    Client,
}

/// Why no set was had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeysError {
    /// Another answer than 200.
    #[error("the address answers {0}")]
    Status(u16),
    /// None in time.
    #[error("the address does not answer in time")]
    Timeout,
    /// None at all.
    #[error("the address cannot be reached")]
    Unreachable,
    /// Not a set of keys.
    #[error("its answer cannot be read: {0}")]
    Unreadable(&'static str),
}

/// Asks one address.
pub struct Asker {
    client: reqwest::Client,
    url: Url,
    authorization: Option<header::HeaderValue>,
    within: Duration,
    observe: Observe,
}

impl fmt::Debug for Asker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Asker")
    }
}

impl Asker {
    /// Of `clerk.jwks_url`. The secret key goes along where that lies under `clerk.api_url`, and nowhere else.
    ///
    /// # Errors
    /// [`AddressError`].
    pub fn new(config: &config::Clerk, observe: Observe) -> Result<Self, AddressError> {
        let url = Url::parse(config.jwks_url.expose()).map_err(|_| AddressError::Malformed)?;
        let named = !url.username().is_empty() || url.password().is_some();
        if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() || named {
            return Err(AddressError::Malformed);
        }
        let local = is_local(&url);
        if url.scheme() != "https" && !local {
            return Err(AddressError::Insecure);
        }
        let within = config.timeout.min(WITHIN);
        let client = reqwest::Client::builder()
            .https_only(!local)
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .timeout(within)
            .user_agent(concat!("clerk-sync/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|_| AddressError::Client)?;
        let authorization = authorization(config, &url);
        Ok(Self { client, url, authorization, within, observe })
    }

    /// Whether the secret key goes along.
    pub fn is_authorized(&self) -> bool {
        self.authorization.is_some()
    }

    /// The set as it is published now.
    ///
    /// # Errors
    /// [`KeysError`].
    pub async fn ask(&self) -> Result<KeySet, KeysError> {
        // The client's own limit begins anew with nothing; this one is for all of it.
        let answer = tokio::time::timeout(self.within, self.get()).await.unwrap_or(Err(KeysError::Timeout));
        let status = match answer {
            Ok(_) => "2xx",
            Err(KeysError::Status(429)) => "429",
            Err(KeysError::Status(500..)) => "5xx",
            Err(KeysError::Status(_)) => "4xx",
            Err(_) => "failed",
        };
        (self.observe)("jwks", status);
        answer
    }

    async fn get(&self) -> Result<KeySet, KeysError> {
        let mut request = self.client.get(self.url.clone()).header(header::ACCEPT, "application/json");
        if let Some(authorization) = &self.authorization {
            request = request.header(header::AUTHORIZATION, authorization.clone()).header("Clerk-API-Version", VERSION);
        }
        let failed = |error: reqwest::Error| match error.is_timeout() {
            true => KeysError::Timeout,
            false => KeysError::Unreachable,
        };
        let mut answer = request.send().await.map_err(failed)?;
        if answer.status() != StatusCode::OK {
            return Err(KeysError::Status(answer.status().as_u16()));
        }
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(failed)? {
            if body.len() + chunk.len() > ANSWER_MAX {
                return Err(KeysError::Unreadable("it is too long"));
            }
            body.extend_from_slice(&chunk);
        }
        KeySet::parse(&body).map_err(KeysError::Unreadable)
    }
}

/// The secret key as a header, where the address is the API's.
fn authorization(config: &config::Clerk, url: &Url) -> Option<header::HeaderValue> {
    let key = config.secret_key.expose().trim();
    let base = Url::parse(config.api_url.expose()).ok()?;
    if key.is_empty() || !is_under(url, &base) {
        return None;
    }
    let mut value = header::HeaderValue::try_from(format!("Bearer {key}")).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// Whether an address is of the same server as another, and its path goes on from there.
fn is_under(url: &Url, base: &Url) -> bool {
    let server = |url: &Url| (url.scheme().to_owned(), url.host_str().map(str::to_owned), url.port_or_known_default());
    let mut path = url.path_segments().into_iter().flatten();
    let mut segments = base.path_segments().into_iter().flatten().filter(|segment| !segment.is_empty());
    server(url) == server(base) && segments.all(|segment| path.next() == Some(segment))
}

/// Whether an address is of this machine itself.
fn is_local(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let ip: Option<IpAddr> = host.trim_start_matches('[').trim_end_matches(']').parse().ok();
    host == "localhost" || ip.is_some_and(|ip| ip.to_canonical().is_loopback())
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    fn asker(url: &str, api: &str, key: &str) -> Result<Asker, AddressError> {
        let environment = [("CLERK_JWKS_URL", url), ("CLERK_API_URL", api), ("CLERK_SECRET_KEY", key)];
        let environment: HashMap<_, _> =
            environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Asker::new(&config::load(None, environment).unwrap().clerk, |_, _| {})
    }

    #[test]
    fn the_address_is_https_or_of_this_machine() {
        for right in [
            "https://clerk.example.com/.well-known/jwks.json",
            " https://clerk.example.com ",
            "http://127.0.0.1:9/keys",
            "http://localhost:9/keys",
            "http://[::1]:9/keys",
        ] {
            assert!(asker(right, "https://api.clerk.com/v1", "").is_ok(), "{right}");
        }
        for (wrong, error) in [
            ("http://clerk.example.com/keys", AddressError::Insecure),
            ("http://localhost.example.com/keys", AddressError::Insecure),
            ("http://127.0.0.1.example.com/keys", AddressError::Insecure),
            ("http://0.0.0.0/keys", AddressError::Insecure),
            ("http://10.0.0.1/keys", AddressError::Insecure),
            ("ftp://127.0.0.1/keys", AddressError::Malformed),
            ("file:///etc/passwd", AddressError::Malformed),
            ("https://user:word@clerk.example.com/keys", AddressError::Malformed),
            ("clerk.example.com", AddressError::Malformed),
        ] {
            assert_eq!(asker(wrong, "https://api.clerk.com/v1", "").unwrap_err(), error, "{wrong}");
        }
    }

    #[test]
    fn the_secret_key_goes_to_the_api_and_nowhere_else() {
        let goes = |url: &str, api: &str| asker(url, api, "sk_test_1").unwrap().is_authorized();
        for api in ["https://api.clerk.com/v1", "https://api.clerk.com/v1/", "https://API.clerk.com:443/v1"] {
            assert!(goes("https://api.clerk.com/v1/jwks", api), "{api}");
            for other in [
                "https://api.clerk.com/v1evil/jwks",
                "https://api.clerk.com/v1/../v2/jwks",
                "https://api.clerk.com/v1/%2e%2e/jwks",
                "https://api.clerk.com/",
                "https://api.clerk.com:8443/v1/jwks",
                "https://api.clerk.com.evil.example/v1/jwks",
                "https://evil.example/v1/jwks",
                "https://evil.example/https://api.clerk.com/v1/jwks",
                "https://clerk.example.com/.well-known/jwks.json",
                "http://127.0.0.1/v1/jwks",
            ] {
                assert!(!goes(other, api), "{other} is not under {api}");
            }
        }
        assert!(goes("http://127.0.0.1:9/v1/jwks", "http://127.0.0.1:9/v1"));
        assert!(!asker("https://api.clerk.com/v1/jwks", "https://api.clerk.com/v1", "").unwrap().is_authorized());
    }
}
