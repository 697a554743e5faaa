//! How the Meilisearch client speaks HTTP: one reqwest client with timeouts, no redirects, a bounded answer,
//! and errors that keep the status and Meilisearch's code but none of its words (they can quote a document).

use std::{fmt, time::Duration};

use async_trait::async_trait;
use futures_util::AsyncReadExt as _;
use meilisearch_sdk::{
    errors::Error,
    request::{HttpClient, Method},
};
use reqwest::header;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::SearchError;
use crate::config;

/// For a connection, and for a whole request.
const TIMEOUTS: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(10));
/// Bytes of an answer that are read. The largest is a page of hits, far below.
const ANSWER: usize = 4 << 20;

/// The transport. Cheap to clone.
#[derive(Clone)]
pub(super) struct Http(reqwest::Client);

impl fmt::Debug for Http {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Http")
    }
}

/// A request that did not end as expected.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error("{0}")]
    Unreachable(&'static str),
    #[error("HTTP {status}, {code}")]
    Status { status: u16, code: String },
}

impl Http {
    pub(super) fn new(config: &config::Meili) -> Result<Self, SearchError> {
        Self::with_timeouts(config, TIMEOUTS)
    }

    fn with_timeouts(config: &config::Meili, (connect, request): (Duration, Duration)) -> Result<Self, SearchError> {
        let mut headers = header::HeaderMap::new();
        if !config.master_key.is_empty() {
            let problem =
                SearchError::Config { key: "meili.master_key", problem: "holds characters that no header can" };
            let bearer = format!("Bearer {}", config.master_key.expose().trim());
            let Ok(mut value) = header::HeaderValue::try_from(bearer) else { return Err(problem) };
            value.set_sensitive(true);
            headers.insert(header::AUTHORIZATION, value);
        }
        reqwest::Client::builder()
            .connect_timeout(connect)
            .timeout(request)
            .redirect(reqwest::redirect::Policy::none())
            .default_headers(headers)
            .build()
            .map(Self)
            .map_err(|_| SearchError::Unreachable("the HTTP client could not be made (no TLS roots?)"))
    }

    pub(super) async fn send<Output: DeserializeOwned>(
        &self,
        url: String,
        verb: reqwest::Method,
        body: Option<(Vec<u8>, &str)>,
        expected: u16,
    ) -> Result<Output, Error> {
        let mut request = self.0.request(verb, url);
        if let Some((body, content_type)) = body {
            request = request.header(header::CONTENT_TYPE, content_type).body(body);
        }
        let mut answer = request.send().await.map_err(unreachable)?;
        let status = answer.status().as_u16();
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(unreachable)? {
            if body.len() + chunk.len() > ANSWER {
                return Err(other(Failure::Unreachable("the answer is too long")));
            }
            body.extend_from_slice(&chunk);
        }
        if status != expected {
            #[derive(Deserialize)]
            struct Said {
                code: String,
            }
            // Codes are snake_case words; whatever else a proxy in between says is not repeated.
            let code = serde_json::from_slice(&body).ok().map(|Said { code }| code);
            let code = code.filter(|code| code.len() <= 64 && code.chars().all(|c| c.is_ascii_lowercase() || c == '_'));
            return Err(other(Failure::Status { status, code: code.unwrap_or_else(|| "no code".into()) }));
        }
        let body: &[u8] = if body.is_empty() { b"null" } else { &body };
        serde_json::from_slice(body).map_err(|_| other(Failure::Unreachable("the answer makes no sense")))
    }
}

#[async_trait]
impl HttpClient for Http {
    async fn stream_request<
        Query: Serialize + Send + Sync,
        Body: futures_io::AsyncRead + Send + Sync + 'static,
        Output: DeserializeOwned + 'static,
    >(
        &self,
        url: &str,
        method: Method<Query, Body>,
        content_type: &str,
        expected_status_code: u16,
    ) -> Result<Output, Error> {
        let verb = match &method {
            Method::Get { .. } => reqwest::Method::GET,
            Method::Post { .. } => reqwest::Method::POST,
            Method::Patch { .. } => reqwest::Method::PATCH,
            Method::Put { .. } => reqwest::Method::PUT,
            Method::Delete { .. } => reqwest::Method::DELETE,
        };
        let url = format!("{url}{}", yaup::to_string(method.query())?);
        let body = match method.into_body() {
            Some(body) => {
                let mut bytes = Vec::new();
                // The bodies are in memory already: the client makes JSON of what we hand it.
                Box::pin(body).read_to_end(&mut bytes).await.map_err(|error| Error::Other(Box::new(error)))?;
                Some((bytes, content_type))
            }
            None => None,
        };
        self.send(url, verb, body, expected_status_code).await
    }

    fn is_tokio(&self) -> bool {
        true
    }
}

fn other(failure: Failure) -> Error {
    Error::Other(Box::new(failure))
}

fn unreachable(error: reqwest::Error) -> Error {
    other(Failure::Unreachable(if error.is_connect() {
        "no connection"
    } else if error.is_timeout() {
        "no answer in time"
    } else {
        "the connection broke"
    }))
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
    };

    use super::*;

    /// What comes of one request to a server that answers `said` and then keeps the connection open.
    async fn answered(said: &'static str) -> String {
        let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/tasks/1", server.local_addr().unwrap());
        let config = config::Meili {
            url: url.as_str().into(),
            master_key: "k".into(),
            index: "i".into(),
            task_timeout: Duration::ZERO,
        };
        let http = Http::with_timeouts(&config, (Duration::from_secs(2), Duration::from_millis(200))).unwrap();
        let held = tokio::spawn(async move {
            let (mut connection, _) = server.accept().await.unwrap();
            let mut asked = [0; 1024];
            assert!(connection.read(&mut asked).await.unwrap() > 0);
            connection.write_all(said.as_bytes()).await.unwrap();
            std::future::pending::<()>().await;
        });
        let asked = http.request::<(), (), serde_json::Value>(&url, Method::Get { query: () }, 200).await;
        held.abort();
        asked.map_or_else(|error| SearchError::from(error).to_string(), |value| value.to_string())
    }

    #[tokio::test]
    async fn a_server_that_hangs_is_given_up() {
        assert_eq!(answered("").await, "Meilisearch: no answer in time");
        assert_eq!(answered("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{").await, "Meilisearch: no answer in time");
    }

    #[tokio::test]
    async fn what_is_no_answer_of_meilisearch_is_not_repeated() {
        let moved = "HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n";
        assert_eq!(answered(moved).await, "Meilisearch answered HTTP 302, no code", "redirects are not followed");
        let page = "HTTP/1.1 502 Bad Gateway\r\ncontent-length: 16\r\n\r\n{\"code\":\"<b>Jo\"}";
        assert_eq!(answered(page).await, "Meilisearch answered HTTP 502, no code");
        assert_eq!(
            answered("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\njona").await,
            "Meilisearch: the answer makes no sense"
        );
        assert_eq!(answered("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}").await, "{}");
    }
}
