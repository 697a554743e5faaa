//! Coming back: what was missed, once and in order, and when it cannot be had.

use std::sync::Arc;

use futures_util::future::join_all;
use serde_json::{Value, json};

use super::server::{ADMIN, Server};
use crate::support::{people::user, services, ws::Heard};

fn people(names: std::ops::Range<u64>) -> Vec<Value> {
    names.map(|n| user(&format!("p{n}"), n)).collect()
}

#[tokio::test]
async fn resumes_after_the_last_row_seen() {
    for server in Server::each(&[]).await {
        resume_after(server).await;
    }
}

async fn resume_after(server: Server) {
    server.deliver_all(people(0..5)).await;
    server.settle().await;
    let (mut client, welcome) = server.admin().await;
    client.subscribe(&["users"], json!({"after": 2, "epoch": welcome["epoch"]})).await;
    assert_eq!(client.seqs(3).await, [3, 4, 5]);
    server.deliver(&user("later", 1)).await;
    assert_eq!(client.seqs(1).await, [6]);
    assert!(client.rest().await.is_empty());
    // At the head there is nothing to catch up with; each topic resumes by itself.
    client.subscribe(&["user:user_later", "organizations"], json!({"after": 6})).await;
    client.subscribe(&["user:user_p1"], json!({"after": 0})).await;
    let event = client.event().await;
    assert_eq!((event["subject"].as_str(), event["data"]["first_name"].as_str()), (Some("user_p1"), Some("p1")));
    assert_eq!(client.rest().await.len(), 1, "a notice");
    assert!(server.stop().await);
}

#[tokio::test]
async fn a_point_that_means_nothing_here_is_a_reset() {
    for server in Server::each(&[]).await {
        reset(server).await;
    }
}

async fn reset(server: Server) {
    let (mut client, welcome) = server.admin().await;
    let epoch = welcome["epoch"].clone();
    // Nothing was ever told: 0 is where that begins.
    client.subscribe(&["users"], json!({"after": 0, "epoch": epoch})).await;
    assert!(client.rest().await.is_empty());
    server.deliver_all(people(0..6)).await;
    assert_eq!(client.seqs(6).await.len(), 6);
    server.execute("delete from clerk_sync.outbox where seq <= 3").await;
    for (lost, more) in [
        (true, json!({"after": 4, "epoch": "another"})),
        (true, json!({"epoch": "another"})),
        (true, json!({"after": 7, "epoch": epoch})),
        (true, json!({"after": 2, "epoch": epoch})),
        (true, json!({"after": -1})),
        (false, json!({"after": 3, "epoch": epoch})),
        (false, json!({"after": 6, "epoch": epoch})),
    ] {
        let (mut client, _) = server.admin().await;
        client.subscribe(&["users", "admin"], more.clone()).await;
        if lost {
            let reset = |topic| json!({"type": "reset", "topic": topic, "seq": 6});
            assert_eq!(client.rest().await, [reset("users"), reset("admin")], "{more}");
        } else if more["after"] == 3 {
            assert_eq!(client.seqs(3).await, [4, 5, 6]);
        } else {
            assert!(client.rest().await.is_empty());
        }
    }
    // After a reset it goes on from there.
    let (mut client, _) = server.admin().await;
    client.subscribe(&["users"], json!({"after": 100})).await;
    assert_eq!(client.frame().await["type"], "reset");
    server.deliver(&user("later", 1)).await;
    assert_eq!(client.seqs(1).await, [7]);
    assert!(server.stop().await);
}

/// The change feed as another replica would leave it: rows that this one has not been woken for.
async fn tell_quietly(server: &Server, rows: std::ops::RangeInclusive<i64>, padding: usize) {
    let tx = server.app.db.begin_commit().await.unwrap();
    for seq in rows {
        let payload = json!({"id": "7", "padding": "x".repeat(padding)});
        clerk_sync::db::Stmt::new(
            &tx,
            "insert into clerk_sync.outbox (id, event, topic, subject, routing, changed, created_at, seq, payload) values
                ('00000000-0000-7000-8000-000000000001', 'user.updated', 'users', 'user_seven', '[\"user:7\"]', '[]', '2026-11-21 09:00:00+00:00', ",
        )
        .val(seq)
        .sql(", ")
        .val(payload)
        .sql(")")
        .exec(&tx)
        .await
        .unwrap();
    }
    tx.commit().await.unwrap();
}

#[tokio::test]
async fn a_row_that_another_replica_has_shown_is_no_reset() {
    let server = Server::start(&[("tail.poll", "1h")]).await;
    // What the tail reads as it starts it may still find; after that nothing wakes it.
    let mut newest = 0;
    let (mut client, welcome) = loop {
        tell_quietly(&server, newest + 1..=newest + 5, 0).await;
        newest += 5;
        let (client, welcome) = server.admin().await;
        if welcome["seq"].as_i64().unwrap() < newest {
            break (client, welcome);
        }
    };
    client.subscribe(&["users"], json!({"after": newest - 1, "epoch": welcome["epoch"]})).await;
    // This replica catches up: what the client has is not told again, and nothing is a reset.
    server.app.signals.outbox.wake();
    assert_eq!(client.seqs(1).await, [newest]);
    tell_quietly(&server, newest + 1..=newest + 1, 0).await;
    server.app.signals.outbox.wake();
    assert_eq!(client.seqs(1).await, [newest + 1]);
    assert!(client.rest().await.is_empty());
    assert!(server.stop().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_trimmed_while_it_is_being_replayed_is_a_reset() {
    let server = Server::start(&[("gateway.write_timeout", "1h")]).await;
    tell_quietly(&server, 1..=600, 30_000).await;
    server.app.signals.outbox.wake();
    while server.admin().await.1["seq"] != 600 {
        tokio::task::yield_now().await;
    }
    let mut client = server.open(&[], Some(4096)).await.unwrap();
    client.auth(ADMIN).await;
    // All of it is more than the sockets hold: the end is not read before the client reads.
    client.subscribe(&["user:user_seven"], json!({"after": 0})).await;
    let mut seqs = client.seqs(1).await;
    server.execute("delete from clerk_sync.outbox where seq <= 500").await;
    let reset = loop {
        let frame = client.frame().await;
        match frame["type"].as_str() {
            Some("event") => seqs.push(frame["seq"].as_i64().unwrap()),
            Some("notice") => {}
            _ => break frame,
        }
    };
    assert_eq!(reset, json!({"type": "reset", "topic": "user:user_seven", "seq": 600}));
    assert_eq!(seqs, (1..=seqs.len() as i64).collect::<Vec<_>>());
    tell_quietly(&server, 601..=601, 0).await;
    server.app.signals.outbox.wake();
    assert_eq!(client.seqs(1).await, [601]);
    assert!(server.stop().await);
}

#[tokio::test]
async fn subscribing_again_repeats_nothing_and_loses_nothing() {
    let server = Server::start(&[]).await;
    server.deliver_all(people(0..20)).await;
    server.settle().await;
    // What is committed may not have been read yet by who serves.
    let mut client = loop {
        let (client, welcome) = server.admin().await;
        if welcome["seq"] == 20 {
            break client;
        }
    };
    // Live from 20 on.
    client.subscribe(&["users"], json!({})).await;
    server.deliver_all(people(20..25)).await;
    assert_eq!(client.seqs(5).await, [21, 22, 23, 24, 25]);
    // Without a point, or with one that is covered: nothing changes.
    for more in [json!({}), json!({"after": 22}), json!({"after": 20})] {
        client.subscribe(&["users"], more).await;
        assert!(client.rest().await.is_empty());
    }
    // Further back: what was not sent yet, and only that.
    client.say(json!({"type": "subscribe", "topics": ["users"], "after": 15})).await;
    client.say(json!({"type": "subscribe", "topics": ["users"], "after": 10})).await;
    server.deliver_all(people(25..30)).await;
    let mut seqs = Vec::new();
    while seqs.len() < 15 {
        let frame = client.frame().await;
        if frame["type"] == "event" {
            seqs.push(frame["seq"].as_i64().unwrap());
        }
    }
    seqs.sort_unstable();
    assert_eq!(seqs, (11..=20).chain(26..=30).collect::<Vec<_>>());
    assert!(client.rest().await.iter().all(|frame| frame["type"] == "subscribed"));
    // A topic that was given up and taken up again is a new one.
    client.say(json!({"type": "unsubscribe", "topics": ["users"]})).await;
    client.subscribe(&["users"], json!({"after": 28})).await;
    assert_eq!(client.seqs(2).await, [29, 30]);
    assert!(server.stop().await);
}

#[tokio::test]
async fn a_restarted_server_goes_on_where_the_last_one_was() {
    let server = Server::start(&[]).await;
    let (mut client, welcome) = server.admin().await;
    client.subscribe(&["users"], json!({})).await;
    server.deliver_all(people(0..3)).await;
    assert_eq!(client.seqs(3).await, [1, 2, 3]);
    server.deliver_all(people(3..6)).await;
    server.settle().await;
    let server = server.restart().await;
    assert!(matches!(client.closed().await, (_, 1001)));
    let (mut client, again) = server.admin().await;
    assert_eq!((&again["epoch"], &again["seq"]), (&welcome["epoch"], &json!(6)));
    client.subscribe(&["users"], json!({"after": 3, "epoch": welcome["epoch"]})).await;
    assert_eq!(client.seqs(3).await, [4, 5, 6]);
    assert!(server.stop().await);
}

/// Follows `users` from `after` until `last` has come, leaving at random and coming back.
async fn wander(server: &Server, mut after: i64, last: i64) -> Vec<i64> {
    let mut seen = Vec::new();
    while after < last {
        let (mut client, welcome) = server.admin().await;
        client.subscribe(&["users"], json!({"after": after, "epoch": welcome["epoch"]})).await;
        let mut patience = fastrand::usize(1..120);
        while patience > 0 && after < last {
            match client.hear().await {
                Heard::Frame(frame) if frame["type"] == "event" => {
                    after = frame["seq"].as_i64().unwrap();
                    seen.push(after);
                    patience -= 1;
                }
                Heard::Frame(frame) => panic!("{frame}"),
                other => panic!("{other:?}"),
            }
        }
    }
    seen
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_come_and_go_see_every_change_once_in_order() {
    // Small pages of the tail and a small buffer, so that followers fall behind and read again, too.
    let small = [("tail.batch", "16"), ("tail.buffer", "8"), ("sync.batch", "32")];
    let server = Server::start(&small).await;
    server.deliver_all(people(0..300)).await;
    server.settle().await;
    let arriving = tokio::spawn(server.deliver_all(people(300..700)));
    let seen = join_all((0..8).map(|n| wander(&server, n * 40, 700))).await;
    arriving.await.unwrap();
    let expected = server.seqs("users").await;
    assert_eq!(expected.len(), 700);
    for (n, seen) in seen.iter().enumerate() {
        assert_eq!(*seen, expected[n * 40..], "client {n}");
    }
    assert!(server.stop().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_of_any_replica_sees_every_change_once_in_order() {
    let Some(postgres) = services::postgres() else { return };
    let (url, keep) = (postgres.url().to_owned(), Arc::new(postgres));
    let (one, two) = (Server::on(&url, keep.clone(), &[]).await, Server::on(&url, keep, &[]).await);
    let (mut first, welcome) = one.admin().await;
    let (mut second, other) = two.admin().await;
    assert_eq!(welcome["epoch"], other["epoch"]);
    first.subscribe(&["users"], json!({})).await;
    second.subscribe(&["users"], json!({})).await;
    let wandering = async { futures_util::join!(wander(&one, 0, 400), wander(&two, 0, 400)) };
    let arriving = async {
        futures_util::join!(one.deliver_all(people(0..200)), two.deliver_all(people(200..400)));
    };
    let reading = async { futures_util::join!(first.seqs(400), second.seqs(400)) };
    let (_, (first_saw, second_saw), (left_saw, right_saw)) = futures_util::join!(arriving, reading, wandering);
    let expected = one.seqs("users").await;
    assert_eq!(expected.len(), 400);
    assert_eq!(first_saw, expected);
    assert_eq!(second_saw, expected);
    assert_eq!((left_saw, right_saw), (expected.clone(), expected.clone()));
    // What one replica has shown is a point that the other knows, whether or not it has read so far itself.
    let mut last = 400;
    for n in 400..440 {
        one.deliver(&user(&format!("p{n}"), n)).await;
        let seq = first.seqs(1).await[0];
        let (mut client, _) = two.admin().await;
        client.subscribe(&["users"], json!({"after": last})).await;
        assert_eq!(client.seqs(1).await, [seq]);
        client.subscribe(&["organizations"], json!({"after": seq})).await;
        assert!(client.rest().await.is_empty());
        last = seq;
    }
    assert!(one.stop().await);
    assert!(two.stop().await);
}
