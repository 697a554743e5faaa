//! The API as a client sees it, asked in process; what needs a network is in `tests/it/simulated.rs`.

mod filters;
mod lists;
mod rules;
mod worlds;

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use axum::{
    Router,
    body::Body,
    http::{Request, Response},
};
use http_body_util::BodyExt as _;
use serde_json::Value;
use tower::ServiceExt as _;

use crate::clock::{Clock, from_millis};

use super::{Modes, World, router};

const NOW: i64 = 1_790_000_000_000;

/// A simulated API and the time it believes in.
struct Sim {
    world: World,
    modes: Modes,
    router: Router,
    time: Arc<AtomicI64>,
}

impl Sim {
    fn new(users: u64, organizations: u64, memberships: u64) -> Self {
        let time = Arc::new(AtomicI64::new(NOW));
        let read = time.clone();
        let clock = Clock::from_fn(move || from_millis(read.load(Ordering::Relaxed)).unwrap());
        let (world, modes) = (World::seeded(users, organizations, memberships, 9, clock), Modes::default());
        Self { router: router(world.clone(), modes.clone()), world, modes, time }
    }

    fn pass(&self, ms: i64) {
        self.time.fetch_add(ms, Ordering::Relaxed);
    }

    async fn ask(&self, path: &str, headers: &[(&str, &str)]) -> Response<Body> {
        let mut request = Request::get(format!("http://clerk/v1{path}"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap()
    }

    async fn get(&self, path: &str) -> (u16, Value) {
        read(self.ask(path, &[]).await).await
    }

    /// The list at a path, whichever shape it has.
    async fn list(&self, path: &str) -> Vec<Value> {
        let (status, body) = self.get(path).await;
        assert_eq!(status, 200, "{path}: {body}");
        let list = if body.is_array() { &body } else { &body["data"] };
        list.as_array().unwrap().clone()
    }

    async fn ids(&self, path: &str) -> Vec<String> {
        self.list(path).await.iter().map(id).collect()
    }

    /// Status and code of a refusal.
    async fn refused(&self, path: &str) -> (u16, String) {
        let (status, body) = self.get(path).await;
        assert!(body["clerk_trace_id"].as_str().is_some_and(|trace| trace.len() == 32), "{path}: {body}");
        assert!(body["errors"][0]["message"].is_string() && body["errors"][0]["long_message"].is_string());
        (status, body["errors"][0]["code"].as_str().unwrap().to_owned())
    }
}

async fn read(response: Response<Body>) -> (u16, Value) {
    let status = response.status().as_u16();
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    (status, serde_json::from_slice(&bytes).unwrap())
}

fn id(object: &Value) -> String {
    object["id"].as_str().unwrap().to_owned()
}

fn person(email: &str, at: i64) -> Value {
    super::objects::user("Nova", "Kerr", email, from_millis(at).unwrap())
}
