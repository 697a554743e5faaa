//! Slow clients, silent ones, and the end of the process.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use super::server::{ADMIN, Server};
use crate::support::{
    people::{user, with},
    process::{Process, free_port},
    services,
    ws::{self, Heard},
};

/// People whose whole objects are large.
fn heavy(version: u64) -> Value {
    with(user("heavy", version), "public_metadata", json!({"padding": "x".repeat(30_000), "version": version}))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_client_is_closed_with_4408_and_resumes_while_others_go_on() {
    let server = Server::start(&[("gateway.queue", "16"), ("gateway.write_timeout", "1h"), ("sync.batch", "8")]).await;
    let topic = &["user:user_heavy"];
    let mut slow = server.open(&[], Some(4096)).await.unwrap();
    slow.auth(ADMIN).await;
    slow.subscribe(topic, json!({})).await;
    let (mut brisk, _) = server.admin().await;
    brisk.subscribe(topic, json!({})).await;
    // One that comes and goes, so that somebody joins while the slow one is in the way.
    let brisk = tokio::spawn(async move {
        let mut seen = Vec::new();
        while seen.last() != Some(&400) {
            seen.push(brisk.event().await["seq"].as_i64().unwrap());
        }
        seen
    });
    for version in 1..=400 {
        server.deliver(&heavy(version)).await;
        if version % 4 == 0 {
            server.settle().await;
        }
    }
    assert_eq!(brisk.await.unwrap(), (1..=400).collect::<Vec<_>>());
    // The slow one reads again: whole frames in order, then why it was closed.
    let (frames, code) = slow.closed().await;
    assert_eq!(code, 4408);
    let events = frames.iter().filter(|frame| frame["type"] == "event");
    let mut seen: Vec<i64> = events.map(|frame| frame["seq"].as_i64().unwrap()).collect();
    let last = *seen.last().unwrap();
    assert!(last < 400);
    let (mut again, _) = server.admin().await;
    again.subscribe(topic, json!({"after": last})).await;
    seen.extend(again.seqs(usize::try_from(400 - last).unwrap()).await);
    assert_eq!(seen, (1..=400).collect::<Vec<_>>());
    assert!(server.stop().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_burst_that_is_longer_than_the_queue_ends_nobody_who_reads() {
    let server = Server::start(&[("gateway.queue", "4"), ("tail.poll", "1h")]).await;
    let mut clients = Vec::new();
    for _ in 0..10 {
        let (mut client, _) = server.admin().await;
        client.subscribe(&["users"], json!({})).await;
        clients.push(client);
    }
    let people = (0..500).map(|n| user(&format!("p{n}"), n));
    let arriving = tokio::spawn(server.deliver_all(people));
    let reading = clients.iter_mut().map(|client| client.seqs(500));
    let expected: Vec<i64> = (1..=500).collect();
    for seen in futures_util::future::join_all(reading).await {
        assert_eq!(seen, expected);
    }
    arriving.await.unwrap();
    assert!(server.stop().await);
}

#[tokio::test]
async fn a_client_that_takes_nothing_for_long_is_closed_with_4408() {
    let server = Server::start(&[("gateway.write_timeout", "300ms")]).await;
    let mut slow = server.open(&[], Some(4096)).await.unwrap();
    slow.auth(ADMIN).await;
    slow.subscribe(&["user:user_heavy"], json!({})).await;
    // Far fewer than its queue holds.
    for version in 1..=150 {
        server.deliver(&heavy(version)).await;
    }
    server.settle().await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    let (frames, code) = slow.closed().await;
    assert_eq!(code, 4408);
    assert!(frames.iter().filter(|frame| frame["type"] == "event").count() < 150);
    assert!(server.stop().await);
}

#[tokio::test]
async fn a_client_that_answers_no_ping_is_closed() {
    let server = Server::start(&[("gateway.ping_every", "100ms")]).await;
    let (mut silent, _) = server.admin().await;
    let (mut lively, _) = server.admin().await;
    // Reading is what answers pings.
    let still = tokio::time::timeout(Duration::from_millis(700), lively.hear()).await;
    assert!(still.is_err(), "{still:?}");
    assert_eq!(silent.hear().await, Heard::Closed(4408));
    assert!(lively.rest().await.is_empty());
    assert!(server.stop().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_terminated_process_takes_leave_of_everybody_before_it_is_gone() {
    let (_folder, database) = services::sqlite();
    let port = free_port();
    let process = Process::serve(port, &database, &[("CLERK_SYNC_ADMIN_TOKEN", ADMIN)]).await;
    let mut clients = Vec::new();
    for n in 0..50 {
        let mut client = ws::Client::open(SocketAddr::from(([127, 0, 0, 1], port)), &[], None).await.unwrap();
        if n > 0 {
            client.auth(ADMIN).await;
            client.subscribe(&["users"], json!({})).await;
        }
        clients.push(client);
    }
    let terminated = tokio::task::spawn_blocking(|| process.terminate());
    for client in &mut clients {
        assert_eq!(client.hear().await, Heard::Closed(1001));
    }
    assert!(terminated.await.unwrap());
}

#[tokio::test]
async fn the_end_of_the_process_closes_everybody_with_1001() {
    let server = Server::start(&[]).await;
    let (mut reading, _) = server.admin().await;
    reading.subscribe(&["users"], json!({})).await;
    let mut stuck = server.open(&[], Some(4096)).await.unwrap();
    stuck.auth(ADMIN).await;
    stuck.subscribe(&["user:user_heavy"], json!({})).await;
    for version in 1..=150 {
        server.deliver(&heavy(version)).await;
    }
    server.settle().await;
    let mut stranger = server.stranger().await;
    let started = Instant::now();
    let stopping = tokio::spawn(server.stop());
    assert_eq!(reading.closed().await.1, 1001);
    assert_eq!(stranger.closed().await.1, 1001);
    assert!(stopping.await.unwrap());
    // The one who is stuck was waited for, but not for long.
    assert!((500..5_000).contains(&started.elapsed().as_millis()), "{:?}", started.elapsed());
}
