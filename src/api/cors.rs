//! Pages of other origins may read what a bearer token opens. The token is not sent by browsers on their own, so no page
//! gets what it does not hold already; cookies and the like are never allowed.
//!
//! Only `/v1`, and of it neither `/v1/admin` nor the websocket, which judges origins itself. `/metrics` answers without a
//! token to this machine, and deliveries are no page's: there a page of another origin reads nothing. An origin that is
//! not allowed gets the answer without the headers that would let its page read it.

use std::{sync::Arc, time::Duration};

use axum::{
    extract::{Request, State},
    http::{HeaderName, HeaderValue, Method, header},
    middleware::Next,
    response::Response,
};
use tower::{Layer as _, ServiceExt as _};
use tower_http::cors::{AllowOrigin, CorsLayer};

use crate::config::Config;

/// How long a browser may keep what it was told before a request: the longest that the common ones do.
const MAX_AGE: Duration = Duration::from_secs(2 * 60 * 60);

/// From where pages may come, and what they may do.
#[derive(Debug, Clone)]
pub(super) struct Cors {
    config: Arc<Config>,
    allowed: CorsLayer,
}

impl Cors {
    /// As `gateway.origins` says.
    pub(super) fn new(config: Arc<Config>) -> Self {
        let allowed = CorsLayer::new()
            // Whoever comes here was found among the origins.
            .allow_origin(AllowOrigin::mirror_request())
            .allow_methods([Method::GET, Method::POST])
            .allow_headers([
                header::AUTHORIZATION,
                header::CONTENT_TYPE,
                header::IF_NONE_MATCH,
                HeaderName::from_static("last-event-id"),
            ])
            .expose_headers([header::ETAG, header::RETRY_AFTER])
            .max_age(MAX_AGE)
            .vary([]);
        Self { config, allowed }
    }

    fn allows(&self, request: &Request) -> bool {
        let origin = request.headers().get(header::ORIGIN).and_then(|origin| origin.to_str().ok());
        origin.is_some_and(|origin| self.config.gateway.allows_origin(origin))
    }
}

/// Lets pages of allowed origins read the answer, and answers the questions that browsers ask first.
pub(super) async fn cors(State(cors): State<Cors>, request: Request, next: Next) -> Response {
    if !is_for_pages(request.uri().path()) {
        return next.run(request).await;
    }
    let mut response = if cors.allows(&request) {
        let Ok(response) = cors.allowed.layer(next).oneshot(request).await;
        response
    } else {
        next.run(request).await
    };
    // Also without an origin: what is kept of that answer is not for a page.
    response.headers_mut().entry(header::VARY).or_insert(HeaderValue::from_static("origin"));
    response
}

fn is_for_pages(path: &str) -> bool {
    let Some(rest) = path.strip_prefix("/v1/") else { return false };
    !matches!(rest.split('/').next(), Some("admin" | "ws"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_token_opens_is_for_pages() {
        for path in ["/v1/users", "/v1/users/me", "/v1/changes", "/v1/nowhere", "/v1/administrators"] {
            assert!(is_for_pages(path), "{path}");
        }
        for path in [
            "/",
            "/v1",
            "/v1/admin",
            "/v1/admin/",
            "/v1/admin/events",
            "/v1/ws",
            "/v2/users",
            "//v1/users",
            "/metrics",
            "/webhooks/clerk",
            "/console",
            "/client.js",
            "/openapi.json",
            "/healthz",
        ] {
            assert!(!is_for_pages(path), "{path}");
        }
    }
}
