//! The simulated API over real connections: what goes wrong on the way, and what every client meets first.

use std::{
    error::Error as _,
    time::{Duration, Instant},
};

use clerk_sync::{
    clerk::simulated::{Endpoint, Failure, Kind, Modes, World, serve},
    clock::Clock,
};
use reqwest::Client;
use serde_json::Value;
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::CancellationToken;

const KEY: &str = "sk_test_simulated";

struct Api {
    world: World,
    modes: Modes,
    base: String,
    client: Client,
    stop: CancellationToken,
    served: JoinHandle<std::io::Result<()>>,
}

async fn api(users: u64) -> Api {
    let world = World::seeded(users, 10, users, 5, Clock::system());
    let (modes, stop) = (Modes::default(), CancellationToken::new());
    modes.set_key(Some(KEY));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}/v1", listener.local_addr().unwrap());
    let served = tokio::spawn(serve(world.clone(), modes.clone(), listener, stop.clone()));
    let client = Client::builder().no_proxy().build().unwrap();
    Api { world, modes, base, client, stop, served }
}

impl Api {
    fn get(&self, path: &str) -> reqwest::RequestBuilder {
        self.client
            .get(format!("{}{path}", self.base))
            .bearer_auth(KEY)
            .header("clerk-api-version", "2026-05-12")
            .timeout(Duration::from_secs(20))
    }

    async fn list(&self, path: &str) -> Vec<Value> {
        self.get(path).send().await.unwrap().error_for_status().unwrap().json().await.unwrap()
    }
}

/// Whether a reset of the connection is what lies beneath an error.
fn is_reset(error: &reqwest::Error) -> bool {
    let mut source = error.source();
    while let Some(inner) = source {
        if inner.downcast_ref::<std::io::Error>().is_some_and(|io| io.kind() == std::io::ErrorKind::ConnectionReset) {
            return true;
        }
        source = inner.source();
    }
    false
}

#[tokio::test]
async fn a_client_reads_everybody() {
    let api = api(1_200).await;
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = api.list(&format!("/users?limit=500&order_by=%2Bcreated_at{cursor}")).await;
        seen.extend(page.iter().map(|user| user["id"].as_str().unwrap().to_owned()));
        if page.len() < 500 {
            break;
        }
        cursor = format!("&starting_after={}", seen.last().unwrap());
    }
    assert_eq!(seen, api.world.ids(Kind::User, 0, 2_000));
    let counts = api.modes.counts();
    assert_eq!((counts.total(), counts.of(Endpoint::Users), counts.answered(200)), (3, 3, 3));
    let refused = api.client.get(format!("{}/users", api.base)).send().await.unwrap();
    assert_eq!((refused.status(), refused.headers().contains_key("cf-ray")), (401.try_into().unwrap(), true));
}

#[tokio::test]
async fn half_an_answer_is_an_error() {
    let api = api(500).await;
    for limit in [1, 500] {
        api.modes.fail_next([Failure::Truncated]);
        let response = api.get(&format!("/users?limit={limit}")).send().await.unwrap();
        assert_eq!(response.status(), 200);
        assert!(response.content_length().unwrap() > 1_000 * limit);
        let error = response.bytes().await.unwrap_err();
        assert!(error.is_body() || error.is_decode(), "{error:?}");
        assert_eq!(api.list("/users?limit=500").await.len(), 500, "the next request is served");
    }
    assert_eq!(api.modes.counts().answered(0), 2);
}

#[tokio::test]
async fn a_reset_comes_before_the_answer() {
    let api = api(5).await;
    for warm in [false, true] {
        if warm {
            // Also on a connection that has served.
            api.list("/users").await;
        }
        api.modes.fail_next([Failure::Reset]);
        let error = api.get("/users").send().await.unwrap_err();
        assert!(error.is_request() && is_reset(&error), "{error:?}");
    }
    assert_eq!(api.list("/users").await.len(), 5);
}

#[tokio::test]
async fn slow_answers_come_late_and_hanging_ones_too_late() {
    let api = api(5).await;
    api.modes.set_latency(Duration::from_millis(60), Duration::from_millis(30));
    let start = Instant::now();
    api.list("/users").await;
    assert!(start.elapsed() >= Duration::from_millis(60));
    api.modes.set_latency(Duration::ZERO, Duration::ZERO);
    api.modes.fail_next([Failure::Hang(Duration::from_secs(3600)), Failure::Hang(Duration::from_millis(50))]);
    let error = api.get("/users").timeout(Duration::from_millis(200)).send().await.unwrap_err();
    assert!(error.is_timeout(), "{error:?}");
    assert_eq!(api.list("/users").await.len(), 5, "one that hangs shorter than the client waits is only late");
}

#[tokio::test]
async fn it_stops_although_somebody_hangs() {
    let api = api(5).await;
    api.modes.fail_next([Failure::Hang(Duration::from_secs(3600))]);
    let hanging = tokio::spawn(api.get("/users").send());
    while api.modes.counts().total() == 0 {
        tokio::task::yield_now().await;
    }
    api.stop.cancel();
    tokio::time::timeout(Duration::from_secs(10), api.served).await.unwrap().unwrap().unwrap();
    // Whoever waited is answered or cut off, not left.
    let _ = tokio::time::timeout(Duration::from_secs(10), hanging).await.unwrap().unwrap();
}
