//! Clerk's Backend API, as far as we ask it: who exists, and what they are. Nothing is ever written there.
//!
//! One client a process. Every request keeps to the configured share of the instance's rate limit ([`limit`]), is
//! spared while Clerk is down ([`breaker`]), ends within `clerk.timeout`, reads a bounded answer, and is counted. The
//! key stands in no log, metric or error.

mod breaker;
mod error;
mod limit;
mod objects;

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use reqwest::{StatusCode, Url, header};

use crate::{clock::Time, config};

pub use error::ApiError;
pub use objects::{Objects, Page, Scan, Total};

use self::{breaker::Breaker, limit::Limit};

/// The version of Clerk's API that answers are read in. Without the header the instance's default would decide.
pub const VERSION: &str = "2026-05-12";

/// The most ids that one request may name, and the most objects that a page may have (Clerk's limits).
pub const IDS_MAX: usize = 100;
/// Objects of a page.
pub const PAGE_MAX: u32 = 500;

/// The longest answer that is read. A page of 500 people is some megabytes.
const ANSWER_MAX: usize = 96 << 20;

/// Requests in 10 s that Clerk allows an instance: production, everything else
/// (<https://clerk.com/docs/guides/how-clerk-works/system-limits>).
const LIMITS: (u32, u32) = (1_000, 100);

/// What is counted of a request: the endpoint's name, and `2xx`, `4xx`, `429`, `5xx` or `failed`.
pub type Observe = fn(&'static str, &'static str);

/// A client. Cheap to clone; clones share limit and breaker.
#[derive(Clone)]
pub struct Api(Arc<Inner>);

struct Inner {
    client: reqwest::Client,
    base: Url,
    authorization: header::HeaderValue,
    timeout: Duration,
    limit: Limit,
    breaker: Breaker,
    observe: Observe,
    said: Mutex<Option<Time>>,
}

impl fmt::Debug for Api {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Api")
    }
}

impl Api {
    /// Talks to nobody yet; `None` where no secret key is configured.
    ///
    /// # Errors
    /// What is wrong with `clerk.secret_key` or `clerk.api_url`, naming the key and never its value.
    pub fn new(config: &config::Clerk, observe: Observe) -> Result<Option<Self>, ApiError> {
        let key = config.secret_key.expose().trim();
        if key.is_empty() {
            return Ok(None);
        }
        if !key.starts_with("sk_") {
            return Err(ApiError::Setting(
                "clerk.secret_key: a secret key starts with sk_live_ or sk_test_ (set CLERK_SECRET_KEY)",
            ));
        }
        let mut authorization = header::HeaderValue::try_from(format!("Bearer {key}")).map_err(|_| {
            ApiError::Setting("clerk.secret_key: it holds characters that no key has (set CLERK_SECRET_KEY)")
        })?;
        authorization.set_sensitive(true);
        let refused = ApiError::Setting("clerk.api_url: it must be http(s)://HOST/v1 (set CLERK_API_URL)");
        let base = Url::parse(config.api_url.expose()).map_err(|_| refused.clone())?;
        if !matches!(base.scheme(), "http" | "https") || base.host_str().is_none() || !base.username().is_empty() {
            return Err(refused);
        }
        let client = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .connect_timeout(config.timeout.min(Duration::from_secs(5)))
            .user_agent(concat!("clerk-sync/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|_| ApiError::Setting("no HTTP client could be made (no TLS roots?)"))?;
        let all = match config.rate_limit {
            0 if key.starts_with("sk_live_") => LIMITS.0,
            0 => LIMITS.1,
            set => set,
        };
        let limit = Limit::new(f64::from(all) / 10.0 * config.rate_share.clamp(0.01, 1.0));
        let (timeout, breaker) = (config.timeout, Breaker::default());
        Ok(Some(Self(Arc::new(Inner {
            client,
            base,
            authorization,
            timeout,
            limit,
            breaker,
            observe,
            said: Mutex::default(),
        }))))
    }

    /// Requests a second that this process allows itself.
    pub fn per_second(&self) -> f64 {
        self.0.limit.per_second()
    }

    /// What Clerk's clock said in its latest answer, whatever that was; to the second, rounded down.
    pub fn date(&self) -> Option<Time> {
        *self.0.said.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One GET. Waits `patience` at most for its turn, and as long again, within `clerk.timeout`, for the answer.
    async fn get(
        &self,
        endpoint: &'static str,
        path: &[&str],
        query: &[(&str, String)],
        patience: Duration,
    ) -> Result<Vec<u8>, ApiError> {
        let inner = &self.0;
        inner.breaker.check(Instant::now()).map_err(|wait| ApiError::Resting { wait })?;
        inner.limit.acquire(patience).await.map_err(|wait| ApiError::Busy { wait })?;
        let mut url = inner.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        let request = inner
            .client
            .get(url)
            .query(query)
            .timeout(patience.min(inner.timeout))
            .header(header::AUTHORIZATION, inner.authorization.clone())
            .header("Clerk-API-Version", VERSION);
        let result = match request.send().await {
            Ok(answer) => {
                let date = answer.headers().get(header::DATE).and_then(|value| value.to_str().ok());
                let date = date.and_then(|date| chrono::DateTime::parse_from_rfc2822(date).ok());
                if let Some(date) = date {
                    *inner.said.lock().unwrap_or_else(PoisonError::into_inner) = Some(date.to_utc());
                }
                read(answer).await
            }
            Err(error) => Err(error::connection(&error)),
        };
        (inner.observe)(endpoint, error::label(result.as_ref().err()));
        match &result {
            // An answer, even an unwelcome one, is a sign of life.
            Ok(_) => inner.breaker.succeeded(),
            Err(ApiError::Limited { wait }) => {
                inner.limit.pause(Instant::now(), *wait);
                inner.breaker.succeeded();
            }
            Err(error) if error.is_transient() => inner.breaker.failed(Instant::now()),
            Err(_) => inner.breaker.succeeded(),
        }
        result
    }
}

/// The body of a 200, or what any other answer means.
async fn read(mut answer: reqwest::Response) -> Result<Vec<u8>, ApiError> {
    let status = answer.status();
    if status == StatusCode::TOO_MANY_REQUESTS {
        let wait = answer.headers().get(header::RETRY_AFTER).and_then(|value| value.to_str().ok()?.trim().parse().ok());
        // Clerk says it in seconds; what cannot be read, or is absurd, is a short wait.
        let wait = Duration::from_secs(wait.unwrap_or(1_u64).clamp(1, 120));
        return Err(ApiError::Limited { wait });
    }
    let mut body = Vec::new();
    loop {
        match answer.chunk().await {
            Ok(Some(chunk)) if body.len() + chunk.len() > ANSWER_MAX => return Err(ApiError::Unreadable("too long")),
            Ok(Some(chunk)) => body.extend_from_slice(&chunk),
            Ok(None) => break,
            Err(_) if status.is_success() => return Err(ApiError::Unreadable("cut short")),
            Err(_) => break,
        }
    }
    match status.as_u16() {
        200..=299 => Ok(body),
        401 | 403 => Err(ApiError::Forbidden { status: status.as_u16() }),
        // Only Clerk's own word that something is not there counts: a proxy's says nothing about it.
        404 if error::is_clerks(&body) => Err(ApiError::NotFound),
        404 => Err(ApiError::Unreadable("a 404 that is not Clerk's")),
        // Nothing is redirected on an API that we were told the address of.
        300..=399 => Err(ApiError::Refused { status: status.as_u16(), code: "redirect".into() }),
        400..=499 => Err(ApiError::Refused { status: status.as_u16(), code: error::code(&body) }),
        _ => Err(ApiError::Down { status: status.as_u16() }),
    }
}
