//! What pages of other origins may read.

use reqwest::{Method, header};
use serde_json::json;

use crate::support::server::{ADMIN, Answer, READER, Server, answer, person};

const PAGE: &str = "https://app.example.com";

const NOTHING: [(&str, &str); 0] = [];

/// What the answer says to browsers, by the end of the header's name.
fn told(answer: &Answer) -> Vec<(&str, &str)> {
    let names = answer
        .headers
        .iter()
        .filter_map(|(name, value)| Some((name.as_str().strip_prefix("access-control-")?, value.to_str().unwrap())));
    let mut told: Vec<_> = names.collect();
    told.sort_unstable();
    told
}

async fn ask(server: &Server, method: Method, path: &str, token: &str, origin: &str) -> Answer {
    answer(server.request(method, path, token).header(header::ORIGIN, origin)).await
}

/// What a browser asks before a request that carries a token.
async fn preflight(server: &Server, path: &str, origin: &str) -> Answer {
    let request = server
        .request(Method::OPTIONS, path, "")
        .header(header::ORIGIN, origin)
        .header(header::ACCESS_CONTROL_REQUEST_METHOD, "GET")
        .header(header::ACCESS_CONTROL_REQUEST_HEADERS, "authorization,last-event-id");
    answer(request).await
}

#[tokio::test]
async fn a_page_of_an_allowed_origin_reads_answers_and_why_it_was_refused() {
    for origins in ["", "https://other.example.com,HTTPS://app.example.com"] {
        let server = Server::start(&[("gateway.origins", origins)]).await;
        server.sync("msg_1", &person("user_ada", 1, json!({}))).await;
        for path in ["/v1/users/me", "/v1/users/user_ada/ensure", "/v1/changes", "/v1/organizations/org_1/members"] {
            let asked = preflight(&server, path, PAGE).await;
            assert_eq!((asked.status, asked.text.as_str()), (200, ""), "{path}");
            let expected = [
                ("allow-headers", "authorization,content-type,if-none-match,last-event-id"),
                ("allow-methods", "GET,POST"),
                ("allow-origin", PAGE),
                ("max-age", "7200"),
            ];
            assert_eq!(told(&asked), expected, "{path}");
            assert_eq!(asked.header("vary"), "origin");
        }
        let expected = [("allow-origin", PAGE), ("expose-headers", "etag,retry-after")];
        for (method, path, token, status) in [
            (Method::GET, "/v1/users/user_ada", READER, 200),
            (Method::GET, "/v1/users/user_ada", "", 401),
            (Method::GET, "/v1/users/user_bob", READER, 404),
            (Method::GET, "/v1/users?limit=0", READER, 422),
            (Method::POST, "/v1/users/user_ada/ensure", READER, 403),
            (Method::DELETE, "/v1/users", READER, 405),
            (Method::GET, "/v1/nowhere", READER, 404),
        ] {
            let answer = ask(&server, method, path, token, PAGE).await;
            assert_eq!((answer.status, told(&answer).as_slice()), (status, expected.as_slice()), "{path}");
            let vary = if path == "/v1/nowhere" { "origin" } else { "authorization, origin" };
            // A method that a path does not have is answered before the path's own layers.
            assert!(status == 405 || answer.header("vary") == vary, "{path}: {}", answer.header("vary"));
        }
        // Without an origin it is no page that asks; what is kept of the answer must not be given to one.
        let plain = server.get("/v1/users/user_ada", READER).await;
        assert_eq!((told(&plain).as_slice(), plain.header("vary")), (NOTHING.as_slice(), "authorization, origin"));
    }
}

#[tokio::test]
async fn a_page_of_another_origin_reads_nothing() {
    let server = Server::start(&[("gateway.origins", PAGE)]).await;
    for origin in ["https://evil.example.com", "https://app.example.com.evil.example", "http://app.example.com", "null"]
    {
        let asked = preflight(&server, "/v1/users/me", origin).await;
        assert_eq!((asked.status, told(&asked).as_slice()), (405, NOTHING.as_slice()), "{origin}");
        let answer = ask(&server, Method::GET, "/v1/users", READER, origin).await;
        assert_eq!((answer.status, told(&answer).as_slice()), (200, NOTHING.as_slice()), "{origin}");
        assert_eq!(answer.header("vary"), "authorization, origin");
    }
}

#[tokio::test]
async fn what_is_no_pages_is_told_to_none() {
    let server = Server::start(&[]).await;
    for path in [
        "/metrics",
        "/webhooks/clerk",
        "/console",
        "/healthz",
        "/readyz",
        "/v1/admin/stats",
        "/v1/admin/nowhere",
        "/v1/ws",
        "/nowhere",
    ] {
        let asked = preflight(&server, path, PAGE).await;
        assert_eq!(told(&asked), NOTHING, "{path}");
        assert!((400..500).contains(&asked.status), "{path}: {}", asked.status);
        for method in [Method::GET, Method::POST] {
            assert_eq!(told(&ask(&server, method, path, ADMIN, PAGE).await), NOTHING, "{path}");
        }
    }
}
