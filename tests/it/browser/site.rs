//! The page's own server, on an origin of its own: the page under a strict policy, and the tokens that its people get.

use std::{
    path::Path,
    sync::{Arc, Mutex},
};

use axum::{
    Json, Router,
    extract::{Path as Segment, Query, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::support::{
    issuer::{Issuer, now},
    server::ADMIN,
};

/// A running one; ends with the test's runtime.
pub(super) struct Site {
    pub(super) origin: String,
    shared: Arc<Shared>,
}

struct Shared {
    policy: String,
    /// Seconds that a token lives.
    life: i64,
    minted: Mutex<Vec<String>>,
}

#[derive(serde::Deserialize)]
struct Asked {
    who: String,
}

impl Site {
    /// One whose page may speak with `api`, and whose tokens live for so many seconds.
    pub(super) async fn start(api: &str, life: i64) -> Self {
        // Nothing inline, nothing evaluated, nobody else.
        let policy = format!(
            "default-src 'none'; script-src 'self' {api}; connect-src 'self' {api} {}; style-src 'self'; img-src data:",
            api.replace("http", "ws")
        );
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        let shared = Arc::new(Shared { policy, life, minted: Mutex::default() });
        let router = Router::new().route("/token", get(token)).route("/{name}", get(file));
        let router = router.with_state(shared.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { origin, shared }
    }

    /// Every token that was given out.
    pub(super) fn minted(&self) -> Vec<String> {
        self.shared.minted.lock().unwrap().clone()
    }
}

/// As the application's own way to Clerk: a new token of the session, each time.
async fn token(State(shared): State<Arc<Shared>>, Query(Asked { who }): Query<Asked>) -> Json<Value> {
    let changes = json!({"exp": now() + shared.life});
    let token = match who.as_str() {
        "admin" => ADMIN.to_owned(),
        name => Issuer::ours().session(&format!("user_{name}"), &format!("sess_{name}"), changes),
    };
    shared.minted.lock().unwrap().push(token.clone());
    Json(json!({ "token": token }))
}

async fn file(State(shared): State<Arc<Shared>>, Segment(name): Segment<String>) -> Response {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/browser/pages").join(&name);
    let kind = match path.extension().and_then(|ext| ext.to_str()) {
        Some("html") => "text/html; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        _ => return StatusCode::NOT_FOUND.into_response(),
    };
    match std::fs::read(path) {
        Ok(bytes) => {
            let headers = [(header::CONTENT_TYPE, kind), (header::CONTENT_SECURITY_POLICY, &shared.policy)];
            (headers, bytes).into_response()
        }
        Err(_) => StatusCode::NOT_FOUND.into_response(),
    }
}
