//! Who may ask for what, and that nothing private is in any answer.

use clerk_sync::{
    app::{App, Role},
    clock::Clock,
    config::Secret,
};
use reqwest::{Method, header};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::support::{
    process::SECRET,
    server::{ADMIN, READER, Server, WRITER, answer, person},
    services,
    world::config,
};

const READ: [&str; 5] =
    ["/v1/users", "/v1/users/user_ada", "/v1/users/nobody", "/v1/search/users?q=ada", "/v1/changes"];
const ADMINS: [(&str, &str); 9] = [
    ("GET", "/v1/admin/events"),
    ("GET", "/v1/admin/events/msg_ada"),
    ("GET", "/v1/admin/events/msg_none"),
    ("POST", "/v1/admin/events/msg_ada/retry"),
    ("POST", "/v1/admin/events/msg_none/discard"),
    ("GET", "/v1/admin/conflicts"),
    ("GET", "/v1/admin/alerts"),
    ("GET", "/v1/admin/audit"),
    ("GET", "/v1/admin/stats"),
];

#[tokio::test]
async fn each_endpoint_admits_its_own() {
    let server = Server::start(&[]).await;
    server.sync("msg_ada", &person("user_ada", 1, json!({}))).await;
    let ask = async |method: &str, path: &str, credential: Option<&str>| {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let mut request = server.request(method, path, "");
        if let Some(credential) = credential {
            request = request.header(header::AUTHORIZATION, credential);
        }
        answer(request).await
    };
    let endpoints = READ.map(|path| ("GET", path)).into_iter().chain(ADMINS);
    for (method, path) in endpoints {
        for unknown in [
            None,
            Some("Bearer nonsense"),
            Some("Bearer "),
            Some("Bearer"),
            Some(ADMIN),
            Some(&format!("Basic {ADMIN}")),
            Some(&format!("Bearer {ADMIN}x")),
            Some(&format!("Bearer {}", &ADMIN[1..])),
            Some(&format!("Bearer reader:read:{READER}")),
        ] {
            ask(method, path, unknown).await.is_problem(401, "unauthenticated", &format!("{path} {unknown:?}"));
        }
        for token in [READER, WRITER] {
            let answer = ask(method, path, Some(&format!("Bearer {token}"))).await;
            if path.starts_with("/v1/admin") {
                answer.is_problem(403, "forbidden", path);
            } else {
                assert_ne!(answer.status / 100, 5);
                assert!(![401, 403].contains(&answer.status), "{path} {token}: {}", answer.status);
            }
        }
        for admin in [format!("Bearer {ADMIN}"), format!("bearer  {ADMIN}")] {
            let status = ask(method, path, Some(&admin)).await.status;
            server.settle().await;
            let missing = path.contains("none") || path.contains("nobody");
            assert_eq!(status, if missing { 404 } else { 200 }, "{path}");
        }
    }
    // What is wrong with a question is told only to those who may ask it.
    ask("GET", "/v1/users?limit=0", None).await.is_problem(401, "unauthenticated", "a wrong question");
    // A token in the query is none.
    ask("GET", &format!("/v1/users?token={ADMIN}"), None).await.is_problem(401, "unauthenticated", "in the query");
}

#[tokio::test]
async fn a_wrong_path_or_method_is_a_problem_everywhere() {
    let server = Server::start(&[]).await;
    for path in [
        "/",
        "/v1",
        "/v1/",
        "/v1/users/",
        "/v1/users/a/b",
        "/v1/admin",
        "/v1/%FF",
        "/favicon.ico",
        "//",
        "/v1/users/%2e%2e",
    ] {
        server.get(path, ADMIN).await.is_problem(404, "not_found", path);
    }
    for (method, path, allowed) in [
        ("POST", "/healthz", "GET,HEAD"),
        ("POST", "/readyz", "GET,HEAD"),
        ("PUT", "/metrics", "GET,HEAD"),
        ("DELETE", "/v1/users", "GET,HEAD"),
        ("PATCH", "/v1/users/user_ada", "GET,HEAD"),
        ("POST", "/v1/search/users", "GET,HEAD"),
        ("POST", "/v1/changes", "GET,HEAD"),
        ("POST", "/v1/admin/events", "GET,HEAD"),
        ("GET", "/v1/admin/events/msg_1/retry", "POST"),
        ("GET", "/v1/admin/events/msg_1/discard", "POST"),
        ("DELETE", "/v1/admin/stats", "GET,HEAD"),
    ] {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let answer = answer(server.request(method, path, ADMIN)).await;
        answer.is_problem(405, "method_not_allowed", path);
        assert_eq!(answer.header("allow"), allowed, "{path}");
    }
    for path in ["/healthz", "/readyz", "/metrics", "/v1/users", "/v1/changes", "/v1/admin/stats"] {
        let head = answer(server.request(Method::HEAD, path, ADMIN)).await;
        assert_eq!((head.status, head.text.as_str()), (200, ""), "{path}");
    }
    // Longer than the server reads at all: refused, and the next request is answered.
    let mut stream = tokio::net::TcpStream::connect(server.url.trim_start_matches("http://")).await.unwrap();
    let long = format!("GET /v1/users?email={} HTTP/1.1\r\nhost: x\r\n\r\n", "a".repeat(70_000));
    let _ = stream.write_all(long.as_bytes()).await;
    let mut head = [0; 12];
    stream.read_exact(&mut head).await.unwrap();
    assert!([b"HTTP/1.1 414", b"HTTP/1.1 431"].contains(&&head), "{}", String::from_utf8_lossy(&head));
    assert_eq!(server.get("/v1/users", ADMIN).await.status, 200);
}

#[tokio::test]
async fn private_metadata_is_in_no_answer() {
    const HIDDEN: &str = "marker-that-nobody-may-see";
    for server in Server::start_all(&[]).await {
        let data = |n: u32| json!({"first_name": format!("A{n}"), "private_metadata": {"a": [{"b": HIDDEN}], "n": n}, "public_metadata": {"seen": "marker-in-public"}});
        server.sync("msg_1", &person("user_ada", 1, data(1))).await;
        server.sync("msg_2", &person("user_ada", 2, data(2))).await;
        let refused = json!({"first_name": null, "last_name": null, "private_metadata": {"a": HIDDEN}});
        server.sync("msg_3", &person("user_eve", 1, refused)).await;
        server.caught_up("search:database").await;
        let stored = server.app.db.read.clone();
        let kept = clerk_sync::db::Stmt::new(&stored, "select private_metadata from clerk_sync.user_metadata")
            .all(&stored)
            .await;
        assert!(
            kept.unwrap()[0].try_get::<serde_json::Value>("", "private_metadata").unwrap().to_string().contains(HIDDEN)
        );
        let mut public = 0;
        for path in [
            "/v1/users",
            "/v1/users/user_ada",
            "/v1/users?email=user_ada@example.com",
            "/v1/search/users?q=user_ada",
            "/v1/changes?after=0",
            "/v1/admin/events",
            "/v1/admin/events/msg_1",
            "/v1/admin/events/msg_3",
            "/v1/admin/conflicts",
            "/v1/admin/alerts",
            "/v1/admin/stats",
            "/metrics",
            "/readyz",
        ] {
            for token in [ADMIN, READER] {
                let text = server.get(path, token).await.text;
                assert!(!text.contains(HIDDEN), "{}: {path}: {text}", server.name);
                public += usize::from(text.contains("marker-in-public"));
            }
        }
        assert_eq!(public, 9, "the answers hold what they should: the admin's event and four readings by both");
        let text = server.post("/v1/admin/events/msg_3/retry", ADMIN).await.text;
        assert!(!text.contains(HIDDEN));
    }
}

#[tokio::test]
async fn a_malformed_token_or_a_role_that_is_not_there() {
    let start = async |tokens: &str, roles: &[Role]| {
        let (folder, url) = services::sqlite();
        let mut config = config(&[("api.tokens", tokens.to_owned())]);
        config.database.url = Secret::from(url.as_str());
        config.clerk.signing_secret = Secret::from(SECRET);
        config.server.port = 0;
        let app = App::connect(config, Clock::system(), true).await.unwrap();
        (app.start(&roles.iter().copied().collect()).await, folder)
    };
    for tokens in ["s3cr3t", "a:read:", ":read:s3cr3t", "a:admin:s3cr3t", "a:read:ok,b:s3cr3t"] {
        let error = start(tokens, &Role::ALL).await.0.unwrap_err().to_string();
        assert!(error.contains("api.tokens") && error.contains("CLERK_SYNC_API_TOKENS"), "{error}");
        assert!(!error.contains("s3cr3t"), "{error}");
    }
    let (running, _folder) = start("a:read:s3cr3t", &[Role::Receive, Role::Sync]).await;
    let url = format!("http://{}", running.as_ref().unwrap().addr);
    let get = async |path: &str| {
        reqwest::Client::new().get(format!("{url}{path}")).bearer_auth("s3cr3t").send().await.unwrap()
    };
    assert_eq!(get("/v1/users").await.status().as_u16(), 404);
    assert_eq!(get("/v1/changes").await.status().as_u16(), 404);
    for path in ["/healthz", "/readyz", "/metrics"] {
        assert_eq!(get(path).await.status().as_u16(), 200, "{path}");
    }
    // No admin token is set: nobody is the admin, an empty token least of all.
    let (running, _folder) = start("a:write:s3cr3t", &Role::ALL).await;
    let url = format!("http://{}/v1/admin/stats", running.unwrap().addr);
    for (header, status) in [("Bearer ", 401), ("Bearer", 401), ("Bearer s3cr3t", 403)] {
        let request = reqwest::Client::new().get(&url).header(header::AUTHORIZATION, header);
        assert_eq!(request.send().await.unwrap().status().as_u16(), status, "{header:?}");
    }
}
