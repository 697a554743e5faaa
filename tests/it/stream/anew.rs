//! Redis loses what it had, or the changes get other numbers: nobody may take what follows for the next change.

use clerk_sync::{
    app::App,
    db::Stmt,
    meta,
    outbox::{cursor, relay::Sink as _},
};

use super::bed::{self, Redis, catches_up, feed_it, holds_all_after, sink};
use crate::support::{
    people::user,
    world::{World, worlds},
};

const CURSOR: &str = "stream:redis";

/// New people, each a change.
async fn arrive(world: &World, names: std::ops::Range<u64>) {
    for n in names {
        world.deliver(&format!("msg_{n}"), &user(&format!("p{n}"), n)).await;
    }
    world.drain().await;
}

/// A world with a stream of six changes, and a group that has read them.
async fn begun(redis: &Redis, world: &World) -> App {
    redis.lose().await;
    let app = redis.feeder(world, &[("relay.batch", "4".to_owned())]).await;
    arrive(world, 0..6).await;
    assert!(feed_it(&app).await);
    holds_all_after(redis, &app, 0, world.name).await;
    let _: () = redis.ask(&["XGROUP", "CREATE", &redis.stream(), "readers", "$"]).await.unwrap();
    app
}

async fn execute(app: &App, statement: &'static str) {
    Stmt::new(&app.db.write, statement).exec(&app.db.write).await.unwrap();
}

#[tokio::test]
async fn another_epoch_is_another_stream() {
    let Some(redis) = Redis::new().await else { return };
    for world in worlds(&[]).await {
        let app = begun(&redis, &world).await;
        let (_, renewed) = meta::renew(&app.db, app.clock.now()).await.unwrap();
        arrive(&world, 6..9).await;
        // Whoever was not started again since: what counts is the epoch that holds now.
        assert_ne!(app.meta.epoch, renewed);
        assert!(feed_it(&app).await);
        holds_all_after(&redis, &app, 6, world.name).await;
        assert_eq!((redis.seqs().await, redis.groups().await), (vec![7, 8, 9], 0), "{}", world.name);
        arrive(&world, 9..11).await;
        assert!(feed_it(&redis.feeder(&world, &[]).await).await);
        holds_all_after(&redis, &app, 6, world.name).await;
    }
}

/// A backup was restored, and nobody said so: the numbers are given again, to other changes.
#[tokio::test]
async fn numbers_that_were_given_before_are_not_swallowed() {
    let Some(redis) = Redis::new().await else { return };
    for world in worlds(&[]).await {
        // Fewer than were given, as many, more.
        for (round, more) in [1, 3, 5].into_iter().enumerate() {
            execute(&world.app, "delete from clerk_sync.outbox").await;
            execute(&world.app, "delete from clerk_sync.sink_cursors").await;
            redis.lose().await;
            let app = redis.feeder(&world, &[]).await;
            let from = 1_000 * (round as u64 + 1);
            arrive(&world, from..from + 6).await;
            assert!(feed_it(&app).await);
            let all = redis.seqs().await;
            assert_eq!(all.len(), 6);
            let kept = all[2];
            execute(&app, "delete from clerk_sync.outbox where seq > 3").await;
            cursor::set_back(&app.db, CURSOR, kept, app.clock.now()).await.unwrap();
            // Its changes were made at another moment.
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            arrive(&world, from + 100..from + 100 + more).await;
            // By a process that has known the stream, and by one that has not.
            let cold = redis.feeder(&world, &[]).await;
            let feeder = if round == 1 { &app } else { &cold };
            assert!(feed_it(feeder).await);
            holds_all_after(&redis, feeder, kept, world.name).await;
            assert_eq!(redis.seqs().await.len(), usize::try_from(more).unwrap(), "{}", world.name);
        }
    }
}

#[tokio::test]
async fn a_redis_that_lost_everything_goes_on_from_the_cursor() {
    let Some(redis) = Redis::new().await else { return };
    for world in worlds(&[]).await {
        let app = begun(&redis, &world).await;
        redis.lose().await;
        arrive(&world, 6..9).await;
        assert!(feed_it(&app).await);
        holds_all_after(&redis, &app, 6, world.name).await;
        // The stream alone is gone: the same.
        let _: i64 = redis.ask(&["UNLINK", &redis.stream()]).await.unwrap();
        arrive(&world, 9..12).await;
        assert!(feed_it(&app).await);
        holds_all_after(&redis, &app, 9, world.name).await;
    }
}

/// The last minutes are missing, in the middle of a stream that looks whole.
#[tokio::test]
async fn what_redis_forgot_is_filled_in() {
    let Some(redis) = Redis::new().await else { return };
    for world in worlds(&[]).await {
        let app = begun(&redis, &world).await;
        redis.snapshot().await;
        arrive(&world, 6..20).await;
        assert!(feed_it(&app).await);
        redis.restore().await;
        assert_eq!(redis.seqs().await.len(), 6);
        arrive(&world, 20..22).await;
        assert!(feed_it(&app).await);
        holds_all_after(&redis, &app, 0, world.name).await;
        assert_eq!(redis.groups().await, 1, "{}: readers go on", world.name);
        // The same where the process is another one.
        redis.restore().await;
        arrive(&world, 22..23).await;
        assert!(feed_it(&redis.feeder(&world, &[]).await).await);
        holds_all_after(&redis, &app, 0, world.name).await;
    }
}

#[tokio::test]
async fn a_hole_that_cannot_be_filled_begins_the_stream_anew() {
    let Some(redis) = Redis::new().await else { return };
    for world in worlds(&[]).await {
        let app = begun(&redis, &world).await;
        redis.snapshot().await;
        arrive(&world, 6..12).await;
        assert!(feed_it(&app).await);
        execute(&app, "delete from clerk_sync.outbox where seq <= 6").await;
        // What the stream has is no longer kept; what follows it is.
        redis.restore().await;
        arrive(&world, 12..13).await;
        assert!(feed_it(&app).await);
        let seqs = redis.seqs().await;
        assert_eq!((seqs.len(), redis.groups().await), (13, 1), "{}: {seqs:?}", world.name);
        execute(&app, "delete from clerk_sync.outbox where seq <= 9").await;
        redis.restore().await;
        arrive(&world, 13..14).await;
        assert!(feed_it(&app).await);
        assert_eq!((redis.seqs().await, redis.groups().await), (vec![14], 0), "{}", world.name);
    }
}

#[tokio::test]
async fn ids_of_somebody_else_hold_the_cursor_and_nobody_else() {
    let Some(redis) = Redis::new().await else { return };
    for world in worlds(&[]).await {
        let app = begun(&redis, &world).await;
        let _: String = redis.ask(&["XADD", &redis.stream(), "*", "event", "not ours"]).await.unwrap();
        arrive(&world, 6..8).await;
        let page = clerk_sync::outbox::feed::read(&app.db.read, 6, 10).await.unwrap();
        let refused = sink(&app).deliver(&page).await.unwrap_err();
        assert!(refused.why.contains("not ours"), "{refused}");
        assert!(!app.relay().drain(sink(&app)).await.unwrap());
        assert!(catches_up(&app, &app.sinks.search).await);
        assert_eq!(bed::cursor(&app, CURSOR).await, Some(6), "{}", world.name);
        // What is no stream at all.
        let _: () = redis.ask(&["SET", &redis.stream(), "text"]).await.unwrap();
        let refused = sink(&app).deliver(&page).await.unwrap_err();
        assert!(refused.why.contains("WRONGTYPE"), "{refused}");
        let _: i64 = redis.ask(&["UNLINK", &redis.stream()]).await.unwrap();
        assert!(feed_it(&app).await);
        holds_all_after(&redis, &app, 6, world.name).await;
    }
}

/// Readers may come first.
#[tokio::test]
async fn a_group_that_was_made_before_the_first_change_stays() {
    let Some(redis) = Redis::new().await else { return };
    for world in worlds(&[]).await {
        redis.lose().await;
        let app = redis.feeder(&world, &[]).await;
        let _: () = redis.ask(&["XGROUP", "CREATE", &redis.stream(), "early", "0", "MKSTREAM"]).await.unwrap();
        arrive(&world, 0..3).await;
        assert!(feed_it(&app).await);
        holds_all_after(&redis, &app, 0, world.name).await;
        assert_eq!(redis.groups().await, 1, "{}", world.name);
    }
}
