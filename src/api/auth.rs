//! Who is asking over HTTP: `Authorization: Bearer`, judged by [`crate::access`]. A handler that takes one of these
//! extractors first is reached by nobody else; whoever is not known learns nothing beyond that.

use std::net::SocketAddr;

use axum::{
    extract::{ConnectInfo, FromRequestParts},
    http::{HeaderMap, HeaderName, header, request::Parts},
};

use crate::access::{AccessError, Caller};

use super::{ApiState, line::Peer, problem::Problem};

/// Anybody who is known, people with a session token too. What each may see is for the handler to ask ([`super::sight`]).
#[derive(Debug, Clone)]
pub struct Known(pub Caller);

/// May read everything: an API token of either scope, or the admin token.
#[derive(Debug, Clone)]
pub struct Reader(pub Caller);

/// May write: an API token of scope `write`, or the admin token.
#[derive(Debug, Clone)]
pub struct Writer(pub Caller);

/// May do everything: the admin token.
#[derive(Debug, Clone, Copy)]
pub struct Admin;

/// May see the metrics: whoever may read, whoever asks from this machine, or anybody where `metrics.public` says so.
#[derive(Debug, Clone, Copy)]
pub struct Scraper;

/// What a proxy adds to the requests that it hands on.
const FORWARDED: [HeaderName; 3] =
    [header::FORWARDED, HeaderName::from_static("x-forwarded-for"), HeaderName::from_static("x-real-ip")];

async fn caller(headers: &HeaderMap, state: &ApiState) -> Result<Caller, Problem> {
    let token = headers.get(header::AUTHORIZATION).and_then(|value| bearer(value.to_str().ok()?));
    let token = token.ok_or_else(Problem::unauthenticated)?;
    state.access.admit(&state.db.read, token, state.clock.now()).await?.ok_or_else(Problem::unauthenticated)
}

/// The same, people aside: what is nobody's own is not for them.
async fn service(headers: &HeaderMap, state: &ApiState) -> Result<Caller, Problem> {
    match caller(headers, state).await? {
        Caller::Person(_) => Err(Problem::forbidden()),
        caller => Ok(caller),
    }
}

impl From<AccessError> for Problem {
    fn from(error: AccessError) -> Self {
        match error {
            AccessError::Database(error) => error.into(),
            // What is wrong with the keys is logged where they are asked for.
            AccessError::Keys(_) => Self::not_ready("Session tokens cannot be verified now."),
        }
    }
}

fn bearer(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

/// Whether the request comes from this machine itself. A proxy on this machine does, too: what it hands on counts as
/// coming from elsewhere. Its headers are believed in nothing but that.
fn is_local(peer: Option<SocketAddr>, headers: &HeaderMap) -> bool {
    peer.is_some_and(|peer| peer.ip().to_canonical().is_loopback())
        && !FORWARDED.iter().any(|name| headers.contains_key(name))
}

impl FromRequestParts<ApiState> for Known {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Result<Self, Problem> {
        caller(&parts.headers, state).await.map(Self)
    }
}

impl FromRequestParts<ApiState> for Reader {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Result<Self, Problem> {
        service(&parts.headers, state).await.map(Self)
    }
}

impl FromRequestParts<ApiState> for Writer {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Result<Self, Problem> {
        let caller = service(&parts.headers, state).await?;
        if caller.may_write() { Ok(Self(caller)) } else { Err(Problem::forbidden()) }
    }
}

impl FromRequestParts<ApiState> for Admin {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Result<Self, Problem> {
        if service(&parts.headers, state).await?.is_admin() { Ok(Self) } else { Err(Problem::forbidden()) }
    }
}

impl FromRequestParts<ApiState> for Scraper {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Result<Self, Problem> {
        let peer = parts.extensions.get::<ConnectInfo<Peer>>().map(|ConnectInfo(peer)| peer.address);
        if state.config.metrics.public || is_local(peer, &parts.headers) {
            return Ok(Self);
        }
        service(&parts.headers, state).await.map(|_| Self)
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn only_a_bearer_token_is_one() {
        assert_eq!(bearer("Bearer abc"), Some("abc"));
        assert_eq!(bearer("bearer  abc "), Some("abc"));
        for other in ["", "abc", "Bearer", "Bearer ", "Basic abc", "Bearerabc"] {
            assert_eq!(bearer(other), None, "{other:?}");
        }
    }

    #[test]
    fn local_is_who_comes_from_here_and_was_not_handed_on() {
        let peer = |text: &str| text.parse().ok();
        let none = HeaderMap::new();
        for local in ["127.0.0.1:9", "127.8.8.8:9", "[::1]:9", "[::ffff:127.0.0.1]:9"] {
            assert!(is_local(peer(local), &none), "{local}");
        }
        for other in ["10.0.0.1:9", "192.0.2.2:9", "[2001:db8::1]:9", "0.0.0.0:9"] {
            assert!(!is_local(peer(other), &none), "{other}");
        }
        assert!(!is_local(None, &none));
        for name in FORWARDED {
            let headers = HeaderMap::from_iter([(name.clone(), HeaderValue::from_static("127.0.0.1"))]);
            assert!(!is_local(peer("127.0.0.1:9"), &headers), "{name}");
            assert!(!is_local(peer("10.0.0.1:9"), &headers), "{name}");
        }
    }
}
