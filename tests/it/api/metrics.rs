//! `/metrics`, `/healthz`, `/readyz`.

use std::{
    net::{IpAddr, UdpSocket},
    time::Duration,
};

use reqwest::Method;
use serde_json::json;

use crate::support::{
    process::{Process, free_port, post},
    server::{ADMIN, READER, Server, WRITER, answer, person},
    services,
};

/// The names of the contract with their kinds.
const NAMES: [(&str, &str, &str); 13] = [
    ("webhooks_total", "counter", "event,outcome"),
    ("events_total", "counter", "event,outcome"),
    ("stage_seconds", "histogram", "stage"),
    ("end_to_end_seconds", "histogram", "sink"),
    ("queue_rows", "gauge", "queue,state"),
    ("queue_oldest_seconds", "gauge", "queue"),
    ("sink_lag", "gauge", "sink"),
    ("deliveries_total", "counter", "sink,outcome"),
    ("ws_connections", "gauge", ""),
    ("ws_dropped_total", "counter", "reason"),
    ("clerk_requests_total", "counter", "endpoint,status"),
    ("drift_total", "counter", "kind"),
    ("token_refusals_total", "counter", "reason"),
];

/// The value of one series.
fn value(text: &str, series: &str) -> Option<f64> {
    let line = text.lines().find(|line| line.strip_prefix(series).is_some_and(|rest| rest.starts_with(' ')))?;
    line.rsplit_once(' ')?.1.parse().ok()
}

#[tokio::test]
async fn every_name_is_there_from_the_start() {
    for server in Server::start_all(&[]).await {
        let answer = server.get("/metrics", "").await;
        assert_eq!(answer.header("content-type"), "text/plain; version=0.0.4; charset=utf-8");
        let text = answer.text;
        for (name, kind, labels) in NAMES {
            let full = format!("clerk_sync_{name}");
            assert_eq!(text.matches(&format!("# TYPE {full} {kind}\n")).count(), 1, "{full}: {text}");
            assert_eq!(text.matches(&format!("# HELP {full} ")).count(), 1, "{full}");
            let mut series = text.lines().filter(|line| line.starts_with(&full) && !line.starts_with('#'));
            let first = series.next().unwrap_or_else(|| panic!("{full} has no series"));
            for label in labels.split(',').filter(|label| !label.is_empty()) {
                assert!(first.contains(&format!("{label}=\"")), "{first}");
            }
        }
        let ours = |line: &&str| line.starts_with("# TYPE ");
        assert_eq!(text.lines().filter(ours).count(), NAMES.len(), "no others");
        for state in ["pending", "rejected", "conflict", "waiting", "held", "dead"] {
            let series = format!("clerk_sync_queue_rows{{queue=\"inbox\",state=\"{state}\"}}");
            assert_eq!(value(&text, &series), Some(0.0), "{}: {series}", server.name);
        }
    }
}

#[tokio::test]
async fn the_service_is_read_from_the_database() {
    for server in Server::start_all(&[("sync.poll", "1h"), ("upkeep.every", "1h")]).await {
        for n in 0..3 {
            let nameless = json!({"first_name": null, "last_name": null});
            server.sync(&format!("msg_{n}"), &person(&format!("user_{n}"), 1, nameless)).await;
        }
        // Due since long ago.
        server.sql("insert into clerk_sync.sink_cursors (sink, seq, available_at, updated_at) select 'a\"b', 1, received_at, received_at from clerk_sync.inbox where seq = 1").await;
        server
            .sql("update clerk_sync.inbox set state = 'pending', available_at = '2020-01-01T00:00:00+00:00' where seq = 1")
            .await;
        let text = server.get("/metrics", "").await.text;
        let rows = |state: &str| value(&text, &format!("clerk_sync_queue_rows{{queue=\"inbox\",state=\"{state}\"}}"));
        assert_eq!((rows("pending"), rows("rejected")), (Some(1.0), Some(2.0)), "{}: {text}", server.name);
        let oldest = value(&text, "clerk_sync_queue_oldest_seconds{queue=\"inbox\"}").unwrap();
        assert!(oldest > 100_000_000.0, "{oldest}");
        assert_eq!(value(&text, "clerk_sync_sink_lag{sink=\"a\\\"b\"}"), Some(2.0), "{text}");
    }
}

#[tokio::test]
async fn counts_rise_and_name_nobody() {
    let (_folder, database) = services::sqlite();
    let process = Process::serve(free_port(), &database, &[]).await;
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let scrape = async || client.get(format!("{}/metrics", process.url)).send().await.unwrap().text().await.unwrap();
    let accepted = "clerk_sync_webhooks_total{event=\"user.updated\",outcome=\"accepted\"}";
    let created = "clerk_sync_events_total{event=\"user.updated\",outcome=\"created\"}";
    let odd = "clerk_sync_events_total{event=\"other\",outcome=\"ignored\"}";
    let before = scrape().await;
    assert_eq!(
        (value(&before, accepted), value(&before, created), value(&before, odd)),
        (Some(0.0), Some(0.0), Some(0.0))
    );
    let body = person("user_named", 1, json!({})).to_string();
    assert_eq!(post(&client, &process.url, "msg_named", body.as_bytes()).await, Some(200));
    assert_eq!(post(&client, &process.url, "msg_named", body.as_bytes()).await, Some(200));
    let strange = json!({"type": "user_named.strange", "data": {"id": "user_named"}}).to_string();
    assert_eq!(post(&client, &process.url, "msg_odd", strange.as_bytes()).await, Some(200));
    assert_eq!(client.post(format!("{}/webhooks/clerk", process.url)).send().await.unwrap().status().as_u16(), 400);
    let mut after = String::new();
    for _ in 0..1000 {
        after = scrape().await;
        if value(&after, created) == Some(1.0) && value(&after, odd) == Some(1.0) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(
        (value(&after, accepted), value(&after, created), value(&after, odd)),
        (Some(1.0), Some(1.0), Some(1.0))
    );
    let duplicate = "clerk_sync_webhooks_total{event=\"user.updated\",outcome=\"duplicate\"}";
    let unsigned = "clerk_sync_webhooks_total{event=\"unknown\",outcome=\"missing_headers\"}";
    assert_eq!((value(&after, duplicate), value(&after, unsigned)), (Some(1.0), Some(1.0)));
    assert_eq!(value(&after, "clerk_sync_stage_seconds_count{stage=\"receive\"}"), Some(3.0));
    assert_eq!(value(&after, "clerk_sync_end_to_end_seconds_count{sink=\"database\"}"), Some(2.0));
    assert!(!after.contains("named"), "{after}");
}

/// An address of this machine that is not loopback.
fn own_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    // Nothing is sent: this only asks which address would.
    socket.connect("192.0.2.1:9").ok()?;
    Some(socket.local_addr().ok()?.ip()).filter(|ip| !ip.is_loopback() && !ip.is_unspecified())
}

#[tokio::test]
async fn metrics_are_for_this_machine_and_for_readers() {
    let server = Server::start(&[("server.host", "0.0.0.0")]).await;
    let port = server.url.rsplit_once(':').unwrap().1.to_owned();
    let local = async |header: &'static str| {
        answer(server.request(Method::GET, "/metrics", "").header(header, "127.0.0.1")).await.status
    };
    assert_eq!(server.get("/metrics", "").await.status, 200);
    assert_eq!(server.get("/metrics", "nonsense").await.status, 200);
    // What a proxy on this machine hands on is not from this machine.
    for header in ["x-forwarded-for", "forwarded", "x-real-ip"] {
        assert_eq!(local(header).await, 401, "{header}");
    }
    let Some(ip) = own_address() else {
        eprintln!("left out: this machine has no address but loopback");
        return;
    };
    let far = async |token: &str| {
        let request = server.client.get(format!("http://{ip}:{port}/metrics")).header("x-forwarded-for", "127.0.0.1");
        let request = if token.is_empty() { request } else { request.bearer_auth(token) };
        answer(request).await
    };
    for token in ["", "nonsense"] {
        far(token).await.is_problem(401, "unauthenticated", token);
    }
    for token in [READER, WRITER, ADMIN] {
        assert_eq!(far(token).await.status, 200, "{token}");
    }
    let open = Server::start(&[("server.host", "0.0.0.0"), ("metrics.public", "true")]).await;
    let port = open.url.rsplit_once(':').unwrap().1;
    assert_eq!(answer(open.client.get(format!("http://{ip}:{port}/metrics"))).await.status, 200);
}

#[tokio::test]
async fn readiness_names_each_dependency() {
    for server in Server::start_all(&[]).await {
        assert_eq!(server.get("/healthz", "").await.json(), json!({"status": "ok"}));
        let ready = server.get("/readyz", "").await;
        assert_eq!((ready.status, &ready.json()["status"]), (200, &json!("ok")), "{}", ready.text);
        assert_eq!(ready.json()["dependencies"], json!({"database": "ok", "cache": "ok", "search": "ok"}));
        for name in ["applier", "receipts", "tail", "upkeep", "relay:search:database"] {
            assert_eq!(ready.json()["loops"][name]["status"], "ok", "{name}: {}", ready.text);
        }
        server.app.db.read.close().await.unwrap();
        let down = server.get("/readyz", "").await;
        down.is_problem(503, "not_ready", server.name);
        assert_eq!(down.header("retry-after"), "5");
        assert_eq!(down.json()["dependencies"], json!({"database": "down", "cache": "ok", "search": "down"}));
        assert_eq!(server.get("/healthz", "").await.status, 200);
        server.get("/v1/users", READER).await.is_problem(503, "not_ready", "a list");
        server.get("/v1/users/user_ada", READER).await.is_problem(503, "not_ready", "a person");
        server.get("/v1/changes?wait=20", READER).await.is_problem(503, "not_ready", "changes");
        // The process's own counts are told all the same.
        let metrics = server.get("/metrics", "").await;
        assert_eq!(metrics.status, 200);
        assert!(metrics.text.contains("clerk_sync_events_total") && !metrics.text.contains("clerk_sync_queue_rows"));
    }
}
