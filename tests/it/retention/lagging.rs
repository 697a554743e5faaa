//! A process that stood still for longer than changes are kept.

use std::time::Duration;

use clerk_sync::{
    app::App,
    backends::cache::{Lookup, Watermarks},
    db::Stmt,
    outbox::tail::{Follower, Next, Tail},
};
use serde_json::json;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::{execute, number, round};
use crate::support::{
    server::{ADMIN, Server, person},
    world::worlds,
    ws::Client,
};

/// Changes of somebody as another replica would leave them, of which this one hears nothing.
async fn tell_quietly(app: &App, subject: &str, seqs: std::ops::RangeInclusive<i64>) {
    let tx = app.db.begin_commit().await.unwrap();
    for seq in seqs {
        Stmt::new(
            &tx,
            "insert into clerk_sync.outbox (event, topic, routing, payload, changed, created_at, id, subject, seq) values
                ('user.updated', 'users', '[]', '{}', '[]', '2020-01-01T00:00:00+00:00', ",
        )
        .val(uuid::Uuid::from_u128(seq.unsigned_abs().into()))
        .sql(", ")
        .val(subject)
        .sql(", ")
        .val(seq)
        .sql(")")
        .exec(&tx)
        .await
        .unwrap();
    }
    tx.commit().await.unwrap();
}

/// What comes next, in short: a row's seq, or what was lost as a negative number.
async fn take(follower: &mut Follower, count: usize) -> Vec<i64> {
    let mut taken = Vec::new();
    while taken.len() < count {
        let next = timeout(Duration::from_secs(20), follower.next()).await.expect("nothing comes");
        taken.push(match next.unwrap() {
            Next::Row(entry) => entry.seq,
            Next::Lost(upto) => -upto,
        });
    }
    taken
}

#[tokio::test]
async fn followers_are_told_what_was_trimmed_unread() {
    let keys = [("tail.batch", "4"), ("tail.buffer", "3"), ("tail.poll", "1h")];
    for world in worlds(&keys.map(|(key, value)| (key, value.to_owned()))).await {
        let (app, signals) = (&world.app, &world.app.signals);
        tell_quietly(app, "user_ada", 1..=5).await;
        let tail = Tail::new(
            app.db.clone(),
            signals.clone(),
            app.config.tail.clone(),
            Watermarks::default(),
            &app.meta.epoch,
            CancellationToken::new(),
        )
        .await
        .unwrap();
        let (mut brisk, mut idle) = (tail.follow("brisk"), tail.follow("idle"));
        tell_quietly(app, "user_ada", 6..=9).await;
        // Up to 8, which nobody has read; 9 is the newest.
        assert_eq!(round(app, 31).await.changes, 8, "{}", world.name);
        let stop = CancellationToken::new();
        let running = tokio::spawn(tail.clone().run(stop.clone()));
        assert_eq!(take(&mut brisk, 2).await, [-8, 9], "{}", world.name);
        // One that begins after the loss has lost nothing.
        let mut late = tail.follow("late");
        tell_quietly(app, "user_ada", 10..=29).await;
        signals.outbox.wake();
        // The process has read them; the ring has not got room for what the idle one leaves there.
        while *tail.head().borrow() < 29 {
            tokio::task::yield_now().await;
        }
        assert_eq!(take(&mut late, 20).await, (10..=29).collect::<Vec<_>>(), "{}", world.name);
        assert_eq!(round(app, 31).await.changes, 20, "{}", world.name);
        assert_eq!(take(&mut idle, 2).await, [-28, 29], "{}", world.name);
        // Having everything up to the last row that went is no loss.
        tell_quietly(app, "user_ada", 30..=31).await;
        execute(app, "delete from clerk_sync.outbox where seq <= 29").await;
        signals.outbox.wake();
        assert_eq!(take(&mut idle, 2).await, [30, 31], "{}", world.name);
        // Nor is a hole: what was taken out of the middle was not trimmed.
        tell_quietly(app, "user_ada", 34..=35).await;
        signals.outbox.wake();
        assert_eq!(take(&mut idle, 2).await, [34, 35], "{}", world.name);
        stop.cancel();
        running.await.unwrap();
    }
}

#[tokio::test]
async fn clients_are_reset_and_the_cache_is_emptied() {
    for server in Server::start_all(&[("tail.poll", "1h"), ("relay.poll", "1h"), ("upkeep.every", "1h")]).await {
        let app = &server.app;
        server.sync("msg_1", &person("user_ada", 1, json!({}))).await;
        server.caught_up("search:database").await;
        assert_eq!(server.read("/v1/users/user_ada").await["last_name"], "Quill");
        let address = server.url.trim_start_matches("http://").parse().unwrap();
        let mut client = Client::open(address, &[], None).await.unwrap();
        while client.auth(ADMIN).await["seq"] != 1 {}
        client.subscribe(&["users", "admin"], json!({})).await;
        // Another replica changes Ada; this one hears of it only when the change is gone.
        execute(app, "update clerk_sync.users set last_name = 'Byron', rev = 20 where clerk_id = 'user_ada'").await;
        tell_quietly(app, "user_ada", 2..=20).await;
        tell_quietly(app, "user_ben", 21..=21).await;
        execute(app, "update clerk_sync.sink_cursors set seq = 21").await;
        assert_eq!(round(app, 31).await.changes, 20, "{}", server.name);
        assert_eq!(server.read("/v1/users/user_ada").await["last_name"], "Quill", "the cache knows nothing yet");
        app.signals.outbox.wake();
        let mut topics = Vec::new();
        while topics.len() < 2 {
            let frame = client.frame().await;
            assert_eq!(frame["type"], "reset", "{}: {frame}", server.name);
            assert!((20..=21).contains(&frame["seq"].as_i64().unwrap()), "{frame}");
            topics.push(frame["topic"].as_str().unwrap().to_owned());
        }
        topics.sort();
        assert_eq!(topics, ["admin", "users"], "{}", server.name);
        let loaded_anew = async {
            while server.read("/v1/users/user_ada").await["last_name"] != "Byron" {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(Duration::from_secs(20), loaded_anew).await.expect("the cache keeps what is outdated");
        assert!(matches!(app.sinks.cache.cache.get("user:user_ada").await.unwrap(), Lookup::Hit { rev: 20, .. }));
        // Live again.
        tell_quietly(app, "user_ben", 22..=22).await;
        app.signals.outbox.wake();
        let mut next = client.event().await["seq"].as_i64().unwrap();
        if next == 21 {
            next = client.event().await["seq"].as_i64().unwrap();
        }
        assert_eq!(
            (next, number(app, "select max(seq) as n from clerk_sync.outbox").await),
            (22, 22),
            "{}",
            server.name
        );
        assert!(server.stop().await);
    }
}
