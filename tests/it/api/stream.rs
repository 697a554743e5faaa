//! `/v1/changes` as server-sent events, for services.

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{
    server::{ADMIN, READER, Server, person},
    sse::Events,
};

/// A person without a name: refused, which only operators are told.
fn nameless(id: &str) -> Value {
    person(id, 1, json!({"first_name": null, "last_name": null}))
}

/// Opens a stream that goes on after what was told last.
async fn again(server: &Server, query: &str, last: &str) -> Result<Events, crate::support::server::Answer> {
    let request = server.request(Method::GET, &format!("/v1/changes{query}"), READER);
    Events::open(request.header("last-event-id", last)).await
}

#[tokio::test]
async fn a_stream_brings_the_same_frames_as_they_come_and_from_wherever_it_is_asked_to_begin() {
    for server in Server::start_all(&[]).await {
        server.sync("msg_1", &person("user_ada", 1, json!({}))).await; // 1
        let mut live = server.stream("", READER).await;
        for (name, value) in [
            ("content-type", "text/event-stream"),
            ("cache-control", "private, no-cache"),
            ("x-accel-buffering", "no"),
            ("vary", "authorization, origin"),
        ] {
            assert_eq!(live.head.header(name), value);
        }
        // From the present on, which it names.
        let ready = live.next().await.unwrap();
        assert_eq!(ready.data, json!({"seq": 1, "epoch": server.app.meta.epoch}), "{}", server.name);
        assert_eq!((ready.kind.as_deref(), ready.id), (Some("ready"), Some(1)));
        server.sync("msg_2", &nameless("user_eve")).await; // 2, admin
        server.sync("msg_3", &person("user_ada", 2, json!({"first_name": "Grace"}))).await; // 3
        let change = live.next().await.unwrap();
        assert_eq!((change.id, &change.kind), (Some(3), &None), "{}", server.name);
        let mut admin = server.stream("?after=0", ADMIN).await;
        assert_eq!(admin.ready().await, 0);
        for expected in server.admin("/v1/changes").await["data"].as_array().unwrap() {
            assert_eq!(admin.change().await, *expected);
        }
        assert_eq!(change.data, server.read("/v1/changes?after=1").await["data"][0]);
        // What was told last is newer than what the address says.
        let mut resumed = again(&server, "?after=3", "1").await.unwrap();
        assert_eq!((resumed.ready().await, resumed.seqs(1).await), (1, vec![3]));
        let mut present = server.stream(&format!("?after=3&epoch={}", server.app.meta.epoch), READER).await;
        assert_eq!(present.ready().await, 3);
        server.sync("msg_4", &person("user_ada", 3, json!({"first_name": "Ada"}))).await; // 4
        for stream in [&mut live, &mut resumed, &mut present, &mut admin] {
            assert_eq!(stream.seqs(1).await, [4], "{}", server.name);
        }
    }
}

#[tokio::test]
async fn a_stream_goes_over_from_the_past_to_the_present_without_a_gap() {
    for server in Server::start_all(&[("tail.buffer", "16"), ("tail.batch", "8")]).await {
        // More than a page, and then changes while it is read.
        server.feed(1..=900, "users", json!(["user:7"]), json!({"id": "7"})).await;
        let mut stream = server.stream("?after=0", READER).await;
        stream.ready().await;
        let mut seen = stream.seqs(3).await;
        for first in (901..1300).step_by(40) {
            server.feed(first..=first + 39, "users", json!(["user:7"]), json!({"id": "7"})).await;
            server.app.signals.outbox.wake();
        }
        seen.extend(stream.seqs(1297).await);
        assert_eq!(seen, (1..=1300).collect::<Vec<_>>(), "{}", server.name);
    }
}

#[tokio::test]
async fn what_cannot_be_gone_on_from_is_refused_before_the_stream_begins() {
    for server in Server::start_all(&[]).await {
        server.feed(1..=4, "users", json!([]), json!({})).await;
        server.sql("delete from clerk_sync.outbox where seq <= 2").await;
        let open = async |query: &str, token: &str| {
            Events::open(server.request(Method::GET, &format!("/v1/changes{query}"), token)).await.err()
        };
        for query in ["?after=0", "?after=1", "?after=5", "?after=2&epoch=another"] {
            let answer = open(query, READER).await.unwrap();
            answer.is_problem(422, "invalid_request", &format!("{} {query}", server.name));
            assert_eq!((&answer.json()["next"], &answer.json()["epoch"]), (&json!(4), &json!(server.app.meta.epoch)));
        }
        // The same for whoever asks for a page.
        let page = server.get("/v1/changes?after=2&epoch=another", READER).await;
        page.is_problem(422, "invalid_request", "another epoch");
        assert_eq!(page.json()["next"], 4);
        for query in ["?after=-1", "?after=x", "?limit=1", "?wait=1", "?after=2&after=2"] {
            open(query, READER).await.unwrap().is_problem(422, "invalid_request", query);
        }
        for last in ["0", "5", "x", "-1"] {
            again(&server, "?after=2", last).await.err().unwrap().is_problem(422, "invalid_request", last);
        }
        assert!(open("?after=2", READER).await.is_none());
        open("", "").await.unwrap().is_problem(401, "unauthenticated", "no token");
        open("", "nonsense").await.unwrap().is_problem(401, "unauthenticated", "a wrong token");
    }
}

#[tokio::test]
async fn what_is_trimmed_before_it_is_told_is_a_reset_and_it_goes_on() {
    for server in Server::start_all(&[("tail.poll", "1h")]).await {
        server.sync("msg_1", &person("user_ada", 1, json!({}))).await; // 1
        let mut stream = server.stream("?after=0", READER).await;
        stream.ready().await;
        assert_eq!(stream.seqs(1).await, [1]);
        // Once this one has come live, nothing is on its way any more.
        server.sync("msg_2", &person("user_ada", 2, json!({"first_name": "Grace"}))).await;
        assert_eq!(stream.seqs(1).await, [2]);
        server.feed(9..=9, "users", json!([]), json!({})).await;
        server.sql("delete from clerk_sync.outbox where seq < 9").await;
        server.app.signals.outbox.wake();
        let reset = stream.next().await.unwrap();
        assert_eq!((reset.kind.as_deref(), reset.id, &reset.data), (Some("reset"), Some(8), &json!({"seq": 8})));
        assert_eq!(stream.seqs(1).await, [9], "{}", server.name);
        server.feed(10..=10, "users", json!([]), json!({})).await;
        server.app.signals.outbox.wake();
        assert_eq!(stream.seqs(1).await, [10], "{}", server.name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_trimmed_while_the_past_is_sent_is_a_reset_too() {
    let server = Server::start(&[("gateway.write_timeout", "1h")]).await;
    // All of it is more than what lies between here and there holds: the end is not read before the reader reads.
    server.feed(1..=600, "admin", json!([]), json!({"padding": "x".repeat(30_000)})).await;
    let mut stream = server.stream("?after=0", ADMIN).await;
    stream.ready().await;
    let mut seen = stream.seqs(1).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    server.sql("delete from clerk_sync.outbox where seq <= 590").await;
    let reset = loop {
        let event = stream.next().await.unwrap();
        match event.kind {
            None => seen.push(event.id.unwrap()),
            Some(_) => break event,
        }
    };
    assert!(seen.len() < 590 && seen.iter().copied().eq(1..=seen.len() as i64), "{seen:?}");
    assert_eq!((reset.kind.as_deref(), reset.id), (Some("reset"), Some(600)));
    server.feed(601..=601, "admin", json!([]), json!({})).await;
    server.app.signals.outbox.wake();
    assert_eq!(stream.seqs(1).await, [601]);
}

#[tokio::test]
async fn no_more_streams_are_opened_than_may_be_and_one_that_ends_makes_room() {
    for server in Server::start_all(&[("api.max_streams", "2")]).await {
        let open = async || Events::open(server.request(Method::GET, "/v1/changes", READER)).await;
        // One that is refused takes no room.
        for _ in 0..3 {
            let refused = Events::open(server.request(Method::GET, "/v1/changes?after=7", READER)).await;
            refused.err().unwrap().is_problem(422, "invalid_request", server.name);
        }
        let (mut first, _second) = (open().await.unwrap(), open().await.unwrap());
        let refused = open().await.err().unwrap();
        refused.is_problem(503, "not_ready", server.name);
        assert_eq!(refused.header("retry-after"), "5");
        // Pages are answered all the same, and whoever reads goes on.
        server.sync("msg_1", &person("user_ada", 1, json!({}))).await;
        assert_eq!(server.read("/v1/changes").await["next"], 1);
        first.ready().await;
        assert_eq!(first.seqs(1).await, [1]);
        drop(first);
        let started = Instant::now();
        let mut third = loop {
            match open().await {
                Ok(stream) => break stream,
                Err(_) => assert!(started.elapsed() < Duration::from_secs(5), "no room is made"),
            }
        };
        assert_eq!(third.ready().await, 1);
    }
}

#[tokio::test]
async fn streams_end_with_the_process() {
    let server = Server::start(&[]).await;
    let mut stream = server.stream("", READER).await;
    stream.ready().await;
    let started = Instant::now();
    let (stopped, rest) = tokio::join!(server.stop(), stream.rest());
    assert!(stopped && rest.is_empty() && !stream.broken);
    assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_takes_nothing_for_long_is_dropped() {
    let server = Server::start(&[("gateway.write_timeout", "500ms"), ("api.max_streams", "1")]).await;
    server.feed(1..=600, "admin", json!([]), json!({"padding": "x".repeat(30_000)})).await;
    let mut stuck = server.stream("?after=0", ADMIN).await;
    stuck.ready().await;
    assert_eq!(stuck.seqs(1).await, [1]);
    let started = Instant::now();
    let mut other = loop {
        match Events::open(server.request(Method::GET, "/v1/changes", ADMIN)).await {
            Ok(stream) => break stream,
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
        assert!(started.elapsed() < Duration::from_secs(20), "the place is never free");
    };
    assert_eq!(other.ready().await, 600);
    // The connection, too, is not waited for.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let started = Instant::now();
    assert!(server.stop().await);
    assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
    let seen = stuck.rest().await.len();
    assert!(stuck.broken && seen < 599, "{seen}");
}

/// There the connection is not what waits, and others may be on it.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_takes_nothing_for_long_makes_room_over_http2_too() {
    let server = Server::start(&[("gateway.write_timeout", "500ms"), ("api.max_streams", "1")]).await;
    server.feed(1..=600, "admin", json!([]), json!({"padding": "x".repeat(30_000)})).await;
    let client = reqwest::Client::builder().http2_prior_knowledge().no_proxy().build().unwrap();
    let ask = client.get(format!("{}/v1/changes?after=0", server.url)).bearer_auth(ADMIN);
    let mut stuck = Events::open(ask).await.unwrap_or_else(|answer| panic!("{}", answer.text));
    stuck.ready().await;
    assert_eq!(stuck.seqs(1).await, [1]);
    let started = Instant::now();
    while Events::open(server.request(Method::GET, "/v1/changes", ADMIN)).await.is_err() {
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert!(started.elapsed() < Duration::from_secs(20), "the place is never free");
    }
    let seen = stuck.rest().await.len();
    assert!(seen < 599, "{seen}");
}

/// Whoever reads slowly, and reads, is not dropped.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_reads_slowly_gets_all_of_it() {
    let server = Server::start(&[("gateway.write_timeout", "1s")]).await;
    server.feed(1..=600, "admin", json!([]), json!({"padding": "x".repeat(30_000)})).await;
    let mut stream = server.stream("?after=0", ADMIN).await;
    stream.ready().await;
    for n in 1..=600 {
        assert_eq!(stream.seqs(1).await, [n]);
        if n % 100 == 0 {
            tokio::time::sleep(Duration::from_millis(400)).await;
        }
    }
}

#[tokio::test]
async fn a_silent_stream_gives_signs_of_life_with_the_point_it_has_reached() {
    let server = Server::start(&[]).await;
    let mut stream = server.stream("", READER).await;
    assert_eq!(stream.ready().await, 0);
    server.sync("msg_1", &nameless("user_eve")).await; // 1, admin
    let started = Instant::now();
    let sign = stream.next().await.unwrap();
    assert_eq!((sign.comment, sign.id, &sign.kind, &sign.data), (true, Some(1), &None, &Value::Null));
    assert!((10..20).contains(&started.elapsed().as_secs()), "{:?}", started.elapsed());
}

/// Longer than any other answer may take.
#[tokio::test]
#[ignore = "long: tests/run --long"]
async fn a_stream_outlives_the_time_that_requests_may_take() {
    let server = Server::start(&[("api.request_timeout", "1s")]).await;
    let mut stream = server.stream("", READER).await;
    stream.ready().await;
    tokio::time::sleep(Duration::from_secs(35)).await;
    server.sync("msg_1", &person("user_ada", 1, json!({}))).await;
    assert_eq!(stream.seqs(1).await, [1]);
}
