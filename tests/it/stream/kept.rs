//! What is in the stream, and that it is there once and in order.

use clerk_sync::{
    app::App,
    outbox::{cursor, dead, feed, relay::Sink as _},
    sinks::reindex,
};
use serde_json::{Value, json};

use super::bed::{self, Redis, catches_up, feed_it, holds_all_after, sink};
use crate::{
    cache::proxy::Proxy,
    support::{
        organizations::{member, organization},
        people::{deleted, user, with},
        server::{Server, deletion, person},
        world::{World, worlds},
    },
};

/// Some of everything: people, a refused one, an organisation with a member, a deletion.
async fn life(world: &World) {
    let secret = with(user("ada", 1), "private_metadata", json!({"k": "her-secret"}));
    for (n, body) in [
        secret,
        with(with(user("eve", 1), "first_name", json!(null)), "last_name", json!(null)),
        organization("one", "ada", 2),
        member("one", "ada", 3, "org:admin"),
        with(user("ada", 4), "first_name", json!("Renamed")),
        user("ben", 1),
        deleted("ben", 9),
    ]
    .into_iter()
    .enumerate()
    {
        world.deliver(&format!("msg_{n}"), &body).await;
        world.drain().await;
    }
}

#[tokio::test]
async fn the_stream_holds_what_a_service_that_may_read_is_told() {
    let Some(redis) = Redis::new().await else { return };
    let keys = redis.keys();
    let keys = [(keys[0].0, keys[0].1.as_str()), (keys[1].0, keys[1].1.as_str())];
    // One stream a database: each has its own numbering.
    for server in Server::start_all(&keys).await {
        redis.lose().await;
        let hers = json!({"private_metadata": {"k": "her-secret"}});
        server.sync("msg_1", &person("user_ada", 1, hers)).await;
        server.sync("msg_2", &person("user_eve", 1, json!({"first_name": null, "last_name": null}))).await;
        server.sync("msg_3", &organization("one", "ada", 2)).await;
        server.sync("msg_4", &member("one", "ada", 3, "org:admin")).await;
        server.sync("msg_5", &person("user_ada", 2, json!({"first_name": "Grace"}))).await;
        server.sync("msg_6", &person("user_ben", 1, json!({}))).await;
        server.sync("msg_7", &deletion("user_ben")).await;
        server.caught_up("stream:redis").await;
        let read = server.read("/v1/changes?after=0").await;
        let frames: Vec<Value> = redis.entries().await.iter().map(bed::Entry::frame).collect();
        assert_eq!(json!(frames), read["data"], "{}", server.name);
        assert!(frames.len() >= 7, "{frames:?}");
        let events: Vec<_> = frames.iter().filter_map(|frame| frame["event"].as_str()).collect();
        for event in ["user.created", "user.updated", "user.deleted", "organization.created", "membership.created"] {
            assert!(events.contains(&event), "{event}: {events:?}");
        }
        assert!(frames.iter().all(|frame| frame["topic"] != "admin" && !frame.to_string().contains("her-secret")));
        holds_all_after(&redis, &server.app, 0, server.name).await;
        let ready: Value =
            server.client.get(format!("{}/readyz", server.url)).send().await.unwrap().json().await.unwrap();
        assert_eq!((&ready["status"], &ready["dependencies"]["stream"]), (&json!("ok"), &json!("ok")));
        let metrics = server.get("/metrics", "").await.text;
        assert!(metrics.contains("clerk_sync_sink_lag{sink=\"stream:redis\"} 0"), "{}: {metrics}", server.name);
        assert!(
            metrics.contains("clerk_sync_deliveries_total{sink=\"stream:redis\",outcome=\"delivered\"}"),
            "{metrics}"
        );
        assert!(server.stop().await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_change_is_in_it_once_and_in_order_whoever_feeds_it() {
    let Some(redis) = Redis::new().await else { return };
    for world in worlds(&[]).await {
        redis.lose().await;
        let small = [("relay.batch", "3".to_owned())];
        let (one, two) = (redis.feeder(&world, &small).await, redis.feeder(&world, &small).await);
        life(&world).await;
        for round in 0..20_u64 {
            let arriving = async {
                for n in 0..6 {
                    let body = with(user(&format!("p{n}"), round + 1), "first_name", json!(format!("N{round}")));
                    world.deliver(&format!("msg_{round}_{n}"), &body).await;
                }
                world.drain().await;
            };
            let feed = async |app: &App| app.relay().drain(sink(app)).await.unwrap();
            if world.name == "sqlite" {
                // It belongs to one process.
                arriving.await;
                feed(&one).await;
            } else {
                tokio::join!(arriving, feed(&one), feed(&two));
            }
        }
        assert!(feed_it(&one).await);
        holds_all_after(&redis, &one, 0, world.name).await;
        assert!(redis.seqs().await.len() > 100);
        // From the beginning again, by one who knows where it stood, and by one who does not.
        for app in [&one, &redis.feeder(&world, &small).await] {
            cursor::set_back(&app.db, "stream:redis", 0, app.clock.now()).await.unwrap();
            assert!(feed_it(app).await);
            holds_all_after(&redis, app, 0, world.name).await;
        }
        assert_eq!(dead::list(&one.db, true, 10).await.unwrap().len(), 0);
    }
}

/// The process that added a page was killed before it noted that; another one reads more rows at a time.
#[tokio::test]
async fn a_page_whose_end_was_not_noted_is_not_added_twice() {
    let Some(redis) = Redis::new().await else { return };
    for world in worlds(&[]).await {
        redis.lose().await;
        let (one, two) = (redis.feeder(&world, &[]).await, redis.feeder(&world, &[]).await);
        life(&world).await;
        assert!(feed_it(&one).await);
        let head = bed::cursor(&one, "stream:redis").await.unwrap();
        world.deliver("msg_a", &user("cleo", 1)).await;
        world.drain().await;
        let page = feed::read(&one.db.read, head, 10).await.unwrap();
        assert_eq!(sink(&one).deliver(&page).await, Ok(Vec::new()));
        world.deliver("msg_b", &user("dora", 1)).await;
        world.drain().await;
        assert!(feed_it(&two).await);
        holds_all_after(&redis, &two, 0, world.name).await;
        // Late, from whoever has lost the lease since: nothing happens.
        assert_eq!(sink(&one).deliver(&page).await, Ok(Vec::new()));
        holds_all_after(&redis, &one, 0, world.name).await;
    }
}

#[tokio::test]
async fn what_is_beyond_max_len_goes_about() {
    let Some(redis) = Redis::new().await else { return };
    for world in worlds(&[]).await {
        redis.lose().await;
        let app = redis.feeder(&world, &[("stream.max_len", "10".into()), ("relay.batch", "50".into())]).await;
        for n in 0..400 {
            world.deliver(&format!("msg_{n}"), &user(&format!("p{n}"), n)).await;
            if n % 40 == 39 {
                world.drain().await;
            }
        }
        assert!(feed_it(&app).await);
        let seqs = redis.seqs().await;
        assert!((10..=150).contains(&seqs.len()), "{}: {}", world.name, seqs.len());
        let all: Vec<i64> = bed::told(&app, 0).await.into_iter().map(|(seq, _)| seq).collect();
        assert!(all.len() > 300 && all.ends_with(&seqs), "{}: {seqs:?}", world.name);
    }
}

#[tokio::test]
async fn p6_a_stream_that_is_down_delays_no_other_and_loses_nothing() {
    let Some(redis) = Redis::new().await else { return };
    let proxy = Proxy::start(&redis.url).await;
    for world in worlds(&[]).await {
        redis.lose().await;
        let app = redis.feeder(&world, &[("redis.url", proxy.url())]).await;
        world.deliver("msg_a", &user("zoe", 1)).await;
        world.drain().await;
        assert!(feed_it(&app).await);
        for hung in [false, true] {
            proxy.down(hung);
            world.deliver(&format!("msg_{hung}"), &user(&format!("zoe_{hung}"), 1)).await;
            world.drain().await;
            assert!(!app.relay().drain(sink(&app)).await.unwrap(), "{}: it is down", world.name);
            assert!(catches_up(&app, &app.sinks.search).await, "{}: the search is not", world.name);
            proxy.up();
            assert!(feed_it(&app).await, "{}: it comes back", world.name);
            holds_all_after(&redis, &app, 0, world.name).await;
        }
        life(&world).await;
        assert!(feed_it(&app).await);
        holds_all_after(&redis, &app, 0, world.name).await;
        assert_eq!(dead::list(&app.db, true, 10).await.unwrap().len(), 0, "an outage is nobody's fault");
    }
}

#[tokio::test]
async fn it_can_be_left_out() {
    let Some(redis) = Redis::new().await else { return };
    let keys = redis.keys();
    let keys = [(keys[0].0, keys[0].1.as_str()), (keys[1].0, keys[1].1.as_str()), ("stream.enabled", "false")];
    let server = Server::start(&keys).await;
    server.sync("msg_1", &person("user_ada", 1, json!({}))).await;
    server.caught_up("cache:redis").await;
    server.caught_up("search:database").await;
    assert_eq!(bed::cursor(&server.app, "stream:redis").await, None);
    assert!(redis.entries().await.is_empty());
    let ready: Value = server.client.get(format!("{}/readyz", server.url)).send().await.unwrap().json().await.unwrap();
    assert_eq!(ready["dependencies"], json!({"database": "ok", "cache": "ok", "search": "ok"}));
    assert!(server.stop().await);
}

/// What a replay tells of for those who keep copies is in it too, and says so.
#[tokio::test]
async fn what_is_told_anew_is_marked() {
    let Some(redis) = Redis::new().await else { return };
    for world in worlds(&[]).await {
        redis.lose().await;
        let app = redis.feeder(&world, &[]).await;
        life(&world).await;
        clerk_sync::db::Stmt::new(
            &app.db.write,
            "update clerk_sync.outbox set effects = 'state' where event = 'user.updated'",
        )
        .exec(&app.db.write)
        .await
        .unwrap();
        assert!(feed_it(&app).await);
        holds_all_after(&redis, &app, 0, world.name).await;
        for entry in redis.entries().await {
            let expected = if entry.fields["event"] == "user.updated" { "state" } else { "all" };
            assert_eq!(entry.fields["effects"], expected, "{}: {entry:?}", world.name);
        }
        // The cache is emptied, the stream stays.
        app.sinks.cache.cache.clear().await.unwrap();
        reindex::search(&app.sinks.search, &app.clock, |_| {}).await.unwrap();
        holds_all_after(&redis, &app, 0, world.name).await;
    }
}
