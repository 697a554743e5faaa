//! What holds for every request: an answer in time, no panic that closes the connection, a line in the log that names
//! nobody.

use std::{
    any::Any,
    time::{Duration, Instant},
};

use axum::{
    extract::{MatchedPath, Request, State},
    http::{HeaderValue, Method, header},
    middleware::Next,
    response::{IntoResponse, Response},
};

use super::problem::Problem;

/// Gives up on an answer that takes too long.
pub(super) async fn within(State(limit): State<Duration>, request: Request, next: Next) -> Response {
    match tokio::time::timeout(limit, next.run(request)).await {
        Ok(response) => response,
        Err(_) => Problem::not_ready("The answer took too long.").into_response(),
    }
}

/// What remains of a panic. Its message may hold anything; the panic hook tells place and task.
pub(super) fn panicked(_: Box<dyn Any + Send>) -> Response {
    tracing::error!("a request ended in a panic");
    Problem::internal().into_response()
}

/// Objects of people are not for shared caches; a private one asks before it uses its copy.
pub(super) async fn private(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("private, no-cache"));
    headers.entry(header::VARY).or_insert(HeaderValue::from_static("authorization, origin"));
    response
}

/// One line a request: the route's pattern, never the path or the query, which name people.
pub(super) async fn log(request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().cloned();
    let method = known(request.method());
    let started = Instant::now();
    let response = next.run(request).await;
    let route = route.as_ref().map_or("-", MatchedPath::as_str);
    let status = response.status().as_u16();
    let duration_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    // Deliveries and probes come in numbers; what became of a delivery stands in its row.
    if route.starts_with("/v1") {
        tracing::info!(method, route, status, duration_ms, "answered");
    } else {
        tracing::debug!(method, route, status, duration_ms, "answered");
    }
    response
}

/// The method, if it is one of those that HTTP names: a client can make up any word.
fn known(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io,
        sync::{Arc, Mutex},
    };

    use axum::{
        Router,
        body::{Body, to_bytes},
        middleware::from_fn_with_state,
        routing::get,
    };
    use tower::ServiceExt as _;

    use super::*;

    fn service() -> Router {
        async fn panics() {
            panic!("ada@example.com");
        }
        let slow = Router::new().route("/slow", get(std::future::pending::<()>));
        let router = slow
            .layer(from_fn_with_state(Duration::from_millis(5), within))
            .route("/v1/users/{id}", get(async || "ok"))
            .route("/panics", get(panics));
        super::super::finish(router)
    }

    async fn ask(method: &str, path: &str) -> (u16, String, String) {
        let request = Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
        let response = service().oneshot(request).await.unwrap();
        let status = response.status().as_u16();
        let kind = response.headers().get(header::CONTENT_TYPE).map_or("", |value| value.to_str().unwrap()).to_owned();
        let body = to_bytes(response.into_body(), 65_536).await.unwrap();
        (status, kind, String::from_utf8(body.to_vec()).unwrap())
    }

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    async fn every_failure_is_a_problem() {
        let cases = [
            ("GET", "/panics", 500, "internal"),
            ("GET", "/slow", 503, "not_ready"),
            ("GET", "/nowhere", 404, "not_found"),
            ("DELETE", "/v1/users/a", 405, "method_not_allowed"),
        ];
        for (method, path, status, code) in cases {
            let (given, kind, body) = ask(method, path).await;
            assert_eq!((given, kind.as_str()), (status, "application/problem+json"), "{path}");
            assert!(body.contains(&format!("\"{code}\"")) && !body.contains("ada@"), "{path}: {body}");
        }
    }

    #[tokio::test]
    async fn failures_are_problems_and_the_log_names_patterns_and_nobody() {
        let lines = Lines::default();
        let writer = lines.clone();
        let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
        let guard = tracing::subscriber::set_default(subscriber);
        ask("GET", "/v1/users/user_ada?email=ada@example.com").await;
        ask("user_ada", "/v1/users/user_ada").await;
        ask("GET", "/panics?email=ada@example.com").await;
        // In one test: a log line that is first met without a listener may stay silent for the next.
        every_failure_is_a_problem().await;
        drop(guard);
        let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        assert!(text.contains(r#"route="/v1/users/{id}" status=200"#), "{text}");
        assert!(text.contains(r#"method="other""#) && text.contains("ended in a panic"), "{text}");
        assert!(!text.contains("ada"), "{text}");
    }
}
