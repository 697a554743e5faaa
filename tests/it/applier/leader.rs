//! One replica applies at a time, and another takes over at once when it ends; two at once are safe.

use std::time::Duration;

use clerk_sync::lease::{self, Held};
use tokio_util::sync::CancellationToken;

use super::{deliver, execute, number, until};
use crate::support::{
    people::user,
    world::{World, worlds},
};

const DONE: &str = "select count(*) as n from clerk_sync.inbox where state = 'done'";

/// Without the lease: each event is applied once, and nothing is counted as a failure.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_appliers_at_once_are_safe() {
    for world in worlds(&[("sync.batch", "16".into())]).await {
        for index in 0..300 {
            world.deliver(&format!("msg_{index}"), &user(&format!("u{}", index % 100), index)).await;
        }
        let (one, two) = (world.app.worker(), world.replica(&[("sync.batch", "23".into())]).await.worker());
        let (one, two) =
            (tokio::spawn(async move { one.drain().await }), tokio::spawn(async move { two.drain().await }));
        let ended = one.await.unwrap().unwrap() + two.await.unwrap().unwrap();
        let db = &world.app.db;
        assert_eq!(ended, 300, "{}: each event ends once", world.name);
        assert_eq!(number(db, "select count(*) as n from clerk_sync.users").await, 100, "{}", world.name);
        let applied =
            number(db, "select count(*) as n from clerk_sync.inbox where outcome in ('created', 'updated')").await;
        assert_eq!(number(db, "select count(*) as n from clerk_sync.outbox where topic = 'users'").await, applied);
        assert_eq!(
            number(db, "select max(seq) - count(*) as n from clerk_sync.outbox").await,
            0,
            "no hole in the feed"
        );
        assert_eq!(number(db, "select max(attempts) as n from clerk_sync.inbox").await, 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_replica_that_ends_hands_over_at_once() {
    for world in worlds(&[]).await {
        let db = &world.app.db;
        let stop = [CancellationToken::new(), CancellationToken::new()];
        let replica = world.replica(&[]).await;
        let first = tokio::spawn(world.app.worker().run(stop[0].clone()));
        deliver(&world, &["ada"]).await;
        world.app.signals.inbox.wake();
        until(db, DONE, 1, Duration::from_secs(10)).await;
        let second = tokio::spawn(replica.worker().run(stop[1].clone()));
        assert_eq!(
            number(db, "select count(*) as n from clerk_sync.applier_progress where tries = 1").await,
            1,
            "{}",
            world.name
        );
        stop[0].cancel();
        first.await.unwrap();
        assert_eq!(
            number(db, "select count(*) as n from clerk_sync.leases where name = 'applier' and owner = 'x'").await,
            0
        );
        deliver(&world, &["ben"]).await;
        until(db, DONE, 2, Duration::from_secs(3)).await;
        stop[1].cancel();
        second.await.unwrap();
        assert_eq!(number(db, "select count(*) as n from clerk_sync.leases").await, 0, "{}: given up", world.name);
        assert_eq!(
            number(db, "select count(*) as n from clerk_sync.applier_progress").await,
            0,
            "{}: nothing left",
            world.name
        );
    }
}

/// The lease of a process that was killed ends by the database's clock, whatever this process's clock says.
#[tokio::test(flavor = "multi_thread")]
async fn a_lease_ends_by_the_databases_clock() {
    for world in worlds(&[]).await {
        let db = &world.app.db;
        let take = async |owner: &str, ms| {
            lease::take_by_database_clock(db, "applier", owner, Duration::from_millis(ms)).await.unwrap()
        };
        assert_eq!(take("one", 60_000).await, Held::Here, "{}", world.name);
        let Held::Elsewhere(left) = take("two", 60_000).await else { panic!("{}: two leaders", world.name) };
        assert!(left > Duration::from_secs(50) && left <= Duration::from_secs(60), "{}: {left:?}", world.name);
        assert_eq!(take("one", 300).await, Held::Here, "{}: renewed, and shortened", world.name);
        assert!(matches!(take("two", 60_000).await, Held::Elsewhere(_)), "{}", world.name);
        tokio::time::sleep(Duration::from_millis(350)).await;
        assert_eq!(take("two", 60_000).await, Held::Here, "{}", world.name);
        lease::release(db, "applier", "one").await.unwrap();
        assert!(matches!(take("one", 1).await, Held::Elsewhere(_)), "{}: another's is not given up", world.name);
        lease::release(db, "applier", "two").await.unwrap();
        assert_eq!(take("one", 1).await, Held::Here, "{}", world.name);
    }
}

/// The state that processes which died left behind is put there: how often each range was begun decides.
async fn left_behind(world: &World, slot: i64, first: &str, last: &str, tries: i64) {
    let sql = format!(
        "insert into clerk_sync.applier_progress (slot, owner, first_seq, last_seq, tries) select {slot}, 'dead process',
            (select seq from clerk_sync.inbox where svix_id = 'msg_{first}'), (select seq from clerk_sync.inbox where svix_id = 'msg_{last}'), {tries}"
    );
    execute(&world.app.db, &sql).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_was_begun_alone_three_times_ends_dead() {
    for world in worlds(&[]).await {
        let db = &world.app.db;
        deliver(&world, &["ada", "ben", "cleo", "dora", "eve"]).await;
        left_behind(&world, 0, "ada", "dora", 3).await;
        left_behind(&world, 2, "ben", "ben", 3).await;
        left_behind(&world, 1, "eve", "eve", 2).await;
        let stop = CancellationToken::new();
        let running = tokio::spawn(world.app.worker().run(stop.clone()));
        until(db, "select count(*) as n from clerk_sync.inbox where state = 'pending'", 0, Duration::from_secs(10))
            .await;
        stop.cancel();
        running.await.unwrap();
        let ben = world.inbox("msg_ben").await;
        assert_eq!(ben.state, "dead", "{}", world.name);
        assert!(ben.reason.unwrap().starts_with("attempts:"));
        assert_eq!(number(db, DONE).await, 4, "{}: the others are applied", world.name);
        assert_eq!(number(db, "select max(attempts) as n from clerk_sync.inbox").await, 0, "{}", world.name);
        // Each alone, since their range had been begun three times.
        let batches = "select count(distinct rev) as n from clerk_sync.users";
        assert_eq!(number(db, batches).await, 4, "{}", world.name);
        assert_eq!(number(db, "select count(*) as n from clerk_sync.alerts where kind = 'event.dead'").await, 1);
        assert_eq!(number(db, "select count(*) as n from clerk_sync.outbox where event = 'event.dead'").await, 1);
        assert_eq!(number(db, "select count(*) as n from clerk_sync.applier_progress").await, 0, "{}", world.name);
    }
}
