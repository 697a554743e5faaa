//! The change feed and the audit trail: what may go, and what readers at the trimmed point are told.

use clerk_sync::{
    db::Stmt,
    outbox::{cursor, feed},
    sinks::reindex::{self, ReindexError},
    upkeep::retention::Holder,
};
use serde_json::{Value, json};

use super::{execute, number, round};
use crate::support::{
    people::user,
    server::{ADMIN, READER, Server, person},
    world::{World, worlds},
    ws::Client,
};

async fn seqs(world: &World) -> Vec<i64> {
    feed::read(&world.app.db.read, 0, 100).await.unwrap().iter().map(|entry| entry.seq).collect()
}

async fn people(world: &World, names: std::ops::RangeInclusive<u64>) {
    for n in names {
        world.deliver(&format!("msg_{n}"), &user(&format!("p{n}"), 1)).await;
    }
    world.drain().await;
}

#[tokio::test]
async fn changes_go_but_for_what_a_sink_or_an_operator_needs_and_the_newest() {
    for world in worlds(&[]).await {
        let (app, db, now) = (&world.app, &world.app.db, world.app.clock.now());
        people(&world, 1..=6).await;
        assert_eq!(round(app, 29).await.changes, 0, "{}: not yet", world.name);
        cursor::ensure(db, "search:database", now).await.unwrap();
        cursor::ensure(db, "cache:redis", now).await.unwrap();
        let slow = || Some(Holder::Sink("search:database".into()));
        execute(app, "update clerk_sync.sink_cursors set seq = 6 where sink = 'cache:redis'").await;
        let removed = round(app, 31).await;
        assert_eq!((removed.changes, removed.holder), (0, slow()), "{}", world.name);
        execute(app, "update clerk_sync.sink_cursors set seq = 2 where sink = 'search:database'").await;
        let removed = round(app, 31).await;
        assert_eq!((removed.changes, removed.holder), (2, slow()), "{}", world.name);
        assert_eq!(seqs(&world).await, [3, 4, 5, 6]);
        execute(app, "update clerk_sync.sink_cursors set seq = 6").await;
        execute(app, "insert into clerk_sync.dead_letters (id, sink, seq, event, subject, reason, created_at) select id, 'search:database', 4, event, subject, 'refused', created_at from clerk_sync.outbox where seq = 4").await;
        let removed = round(app, 31).await;
        assert_eq!((removed.changes, removed.holder), (1, Some(Holder::DeadLetter(4))), "{}", world.name);
        assert_eq!(seqs(&world).await, [4, 5, 6]);
        execute(app, "update clerk_sync.dead_letters set state = 'discarded'").await;
        let removed = round(app, 31).await;
        assert_eq!((removed.changes, removed.holder), (2, None), "{}", world.name);
        assert_eq!(seqs(&world).await, [6], "{}", world.name);
        assert_eq!(round(app, 31).await.changes, 0);
        people(&world, 7..=7).await;
        assert_eq!(seqs(&world).await, [6, 7], "{}: no seq is given twice", world.name);
    }
}

/// A clock that ran ahead makes no hole.
#[tokio::test]
async fn changes_go_from_the_beginning_on_or_not_at_all() {
    for world in worlds(&[]).await {
        people(&world, 1..=6).await;
        execute(&world.app, "update clerk_sync.outbox set created_at = '2100-01-01T00:00:00+00:00' where seq = 4")
            .await;
        assert_eq!(round(&world.app, 31).await.changes, 3, "{}", world.name);
        assert_eq!(seqs(&world).await, [4, 5, 6], "{}", world.name);
    }
}

#[tokio::test]
async fn entries_of_the_audit_trail_go() {
    for world in worlds(&[]).await {
        people(&world, 1..=3).await;
        assert_eq!(round(&world.app, 399).await.entries, 0, "{}", world.name);
        let later = "update clerk_sync.audit_log set at = '2100-01-01T00:00:00+00:00' where subject = 'user_p2'";
        execute(&world.app, later).await;
        assert_eq!(round(&world.app, 401).await.entries, 2, "{}", world.name);
        assert_eq!(number(&world.app, "select seq as n from clerk_sync.audit_log").await, 2);
    }
}

/// Follows `users` from `after` on a connection of its own; what comes first.
async fn resume(server: &Server, after: i64) -> Vec<Value> {
    let address = server.url.trim_start_matches("http://").parse().unwrap();
    let mut client = Client::open(address, &[], None).await.unwrap();
    let welcome = client.auth(ADMIN).await;
    client.subscribe(&["users"], json!({"after": after, "epoch": welcome["epoch"]})).await;
    let mut frames = Vec::new();
    while frames.len() < 3 && !frames.iter().any(|frame: &Value| frame["type"] == "reset") {
        let frame = client.frame().await;
        if frame["type"] != "notice" {
            frames.push(frame);
        }
    }
    frames
}

fn told(answer: &Value) -> Vec<i64> {
    answer["data"].as_array().unwrap().iter().map(|frame| frame["seq"].as_i64().unwrap()).collect()
}

#[tokio::test]
async fn the_trimmed_point_is_told_at_its_exact_edge() {
    for server in Server::start_all(&[]).await {
        for n in 1..=6 {
            server.sync(&format!("msg_{n}"), &person("user_ada", n, json!({"first_name": format!("A{n}")}))).await;
        }
        server.caught_up("search:database").await;
        server.sql("update clerk_sync.outbox set created_at = '2100-01-01T00:00:00+00:00' where seq >= 4").await;
        assert_eq!(round(&server.app, 31).await.changes, 3, "{}", server.name);
        // 3 is the last that went: whoever has it has missed nothing.
        assert_eq!(told(&server.read("/v1/changes?after=3").await), [4, 5, 6], "{}", server.name);
        assert_eq!(told(&server.read("/v1/changes").await), [4, 5, 6]);
        let seqs: Vec<_> = resume(&server, 3).await.iter().map(|frame| frame["seq"].clone()).collect();
        assert_eq!(seqs, [4, 5, 6], "{}", server.name);
        for lost in [2, 0] {
            let answer = server.get(&format!("/v1/changes?after={lost}"), READER).await;
            answer.is_problem(422, "invalid_request", &format!("{} {lost}", server.name));
            assert_eq!(answer.json()["next"], 6);
            let reset = json!({"type": "reset", "topic": "users", "seq": 6});
            assert_eq!(resume(&server, lost).await, [reset], "{} {lost}", server.name);
        }
        assert!(server.stop().await);
    }
}

/// What changed during a rebuild is delivered again after it; where that is not kept, the rebuild was in vain.
#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_that_outlasts_retention_says_so() {
    for world in worlds(&[]).await {
        let app = &world.app;
        people(&world, 1..=2).await;
        app.relay().drain(&app.sinks.search).await.unwrap();
        let meanwhile = async |days| {
            people(&world, 3..=5).await;
            app.relay().drain(&app.sinks.search).await.unwrap();
            round(app, days).await
        };
        let rebuilt = reindex::search(&app.sinks.search, &app.clock, |_| {
            tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(meanwhile(31)));
        });
        assert!(matches!(rebuilt.await, Err(ReindexError::Trimmed)), "{}", world.name);
        let again = reindex::search(&app.sinks.search, &app.clock, |_| {}).await.unwrap();
        assert_eq!(again, (5, 0), "{}", world.name);
        let cursor =
            Stmt::new(&app.db.read, "select seq as n from clerk_sync.sink_cursors").all(&app.db.read).await.unwrap();
        assert_eq!(cursor.len(), 1);
    }
}
