//! Alerts as chat messages: a POST of `{"text": …}` to `alerts.webhook_url`, as Slack and many others take it.
//!
//! The URL is a secret: whoever has it can write. It comes from the configuration only and stands in no log, metric or
//! error. Where it leads is checked at every attempt, see [`guard`]. No redirect is followed, no proxy of the environment
//! used, no answer's body read.
//!
//! The header `idempotency-key` holds `{seq}:alerts:chat`, for receivers that care.

mod address;
mod guard;

use std::{fmt, time::Duration};

use reqwest::{StatusCode, Url, header::HeaderMap};
use serde_json::json;

pub use guard::ChatError;

use super::alert::{self, Alert};
use crate::{
    clock::Clock,
    config,
    outbox::{
        feed::Entry,
        relay::{Refused, Sink, Transient},
    },
};

/// For a connection, and for the whole of an attempt.
const TIMEOUTS: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(15));

/// Characters of a message. Slack cuts at 40,000; what we tell is far shorter.
const TEXT: usize = 4_000;

/// Sends alerts to a chat.
#[derive(Clone)]
pub struct ChatSink {
    client: reqwest::Client,
    url: Url,
    clock: Clock,
}

impl fmt::Debug for ChatSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ChatSink")
    }
}

impl ChatSink {
    /// Talks to nobody yet.
    ///
    /// # Errors
    /// [`ChatError`] when the URL cannot be used. Does not repeat it.
    pub fn new(config: &config::Alerts, clock: Clock) -> Result<Self, ChatError> {
        let url = guard::url(config.webhook_url.expose(), config.allow_private)?;
        let (connect, whole) = TIMEOUTS;
        let client = reqwest::Client::builder()
            .dns_resolver(guard::Resolver { allow_private: config.allow_private })
            .https_only(!config.allow_private)
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .no_proxy()
            // Every attempt resolves the name anew and connects to what was checked.
            .pool_max_idle_per_host(0)
            .connect_timeout(connect)
            .timeout(whole)
            .user_agent("clerk-sync")
            .build()
            .map_err(|_| ChatError("cannot be used: no HTTP client could be made (no TLS roots?)"))?;
        Ok(Self { client, url, clock })
    }

    async fn post(&self, entry: &Entry) -> Result<Option<Refused>, Transient> {
        let request = self.client.post(self.url.clone()).json(&json!({"text": text(entry)}));
        let request = request.header("idempotency-key", alert::idempotency_key(entry, self.name()));
        let answer = request.send().await.map_err(|error| Transient::from(guard::failure(&error)))?;
        let status = answer.status();
        match fate(status) {
            Fate::Taken => Ok(None),
            Fate::Refused => {
                Ok(Some(Refused::new(entry, format!("the chat refuses this message ({})", status.as_u16()))))
            }
            Fate::Held(why) => Err(Transient {
                why: format!("the chat {why} ({})", status.as_u16()),
                wait: wait(answer.headers(), &self.clock),
            }),
        }
    }
}

impl Sink for ChatSink {
    fn name(&self) -> &'static str {
        "alerts:chat"
    }

    fn gather(&self) -> Duration {
        alert::GATHER
    }

    fn event(&self) -> Option<&'static str> {
        Some(alert::EVENT)
    }

    fn takes(&self, entry: &Entry) -> bool {
        alert::takes(entry)
    }

    async fn deliver(&self, entries: &[Entry]) -> Result<Vec<Refused>, Transient> {
        let mut refused = Vec::new();
        for entry in entries {
            refused.extend(self.post(entry).await?);
        }
        Ok(refused)
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Fate {
    Taken,
    /// This message would be refused again.
    Refused,
    /// Any message would be: it passes, or the operator has to act.
    Held(&'static str),
}

fn fate(status: StatusCode) -> Fate {
    match status.as_u16() {
        200..=299 => Fate::Taken,
        // 404 and 410 say that the channel is gone; a message to it is lost, and nobody waits for it.
        400 | 404 | 410 | 413 | 422 => Fate::Refused,
        300..=399 => Fate::Held("sends us elsewhere, where we do not follow"),
        401 | 403 | 407 => Fate::Held("does not let us in; set alerts.webhook_url anew"),
        429 => Fate::Held("asks us to wait"),
        _ => Fate::Held("does not take messages now"),
    }
}

/// How long `Retry-After` asks us to wait: seconds, or a date.
fn wait(headers: &HeaderMap, clock: &Clock) -> Option<Duration> {
    let value = headers.get(reqwest::header::RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = chrono::DateTime::parse_from_rfc2822(value).ok()?;
    (date.to_utc() - clock.now()).to_std().ok()
}

/// The alert as Slack reads it: `&`, `<` and `>` are its only special characters.
fn text(entry: &Entry) -> String {
    let alert = Alert::of(entry);
    let text = format!("[clerk-sync] {}: {}\n{}", alert.level, alert.kind, alert.body());
    let text: String = text.chars().map(|c| if c != '\n' && c.is_control() { ' ' } else { c }).take(TEXT).collect();
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use reqwest::header::{HeaderValue, RETRY_AFTER};

    use super::*;

    #[test]
    fn what_an_answer_says_about_a_message() {
        let of = |code: u16| fate(StatusCode::from_u16(code).unwrap());
        for code in [200, 201, 202, 204] {
            assert_eq!(of(code), Fate::Taken, "{code}");
        }
        for code in [400, 404, 410, 413, 422] {
            assert_eq!(of(code), Fate::Refused, "{code}");
        }
        for code in [301, 302, 307, 308, 401, 403, 405, 407, 408, 409, 415, 421, 425, 429, 500, 501, 502, 503, 504, 599]
        {
            assert!(matches!(of(code), Fate::Held(_)), "{code}");
        }
    }

    #[test]
    fn how_long_to_wait() {
        let clock = Clock::from_fn(|| chrono::DateTime::from_timestamp(1_445_412_470, 0).unwrap());
        for (value, seconds) in [
            ("30", Some(30)),
            (" 0 ", Some(0)),
            ("Wed, 21 Oct 2015 07:28:00 GMT", Some(10)),
            ("Wed, 21 Oct 2015 07:27:00 GMT", None),
            ("-1", None),
            ("soon", None),
            ("1.5", None),
            ("18446744073709551616", None),
        ] {
            let headers = [(RETRY_AFTER, HeaderValue::from_static(value))].into_iter().collect();
            assert_eq!(wait(&headers, &clock), seconds.map(Duration::from_secs), "{value}");
        }
        assert_eq!(wait(&HeaderMap::new(), &clock), None);
    }
}
