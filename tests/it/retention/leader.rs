//! One replica at a time.

use chrono::Duration;
use clerk_sync::{clock::Clock, upkeep::retention::Retention};
use tokio_util::sync::CancellationToken;

use super::{after_days, number};
use crate::support::{people::user, world::worlds};

#[tokio::test]
async fn one_replica_at_a_time_does_it() {
    for world in worlds(&[]).await {
        let start = world.app.clock.now() + Duration::days(31);
        let at = |owner: &str, seconds: i64| Retention {
            owner: owner.into(),
            clock: Clock::from_fn(move || start + Duration::seconds(seconds)),
            ..after_days(&world.app, 0)
        };
        world.deliver("msg_ada", &user("ada", 1)).await;
        world.drain().await;
        assert!(at("one", 0).round().await.unwrap().is_some(), "{}", world.name);
        world.deliver("msg_ben", &user("ben", 1)).await;
        world.drain().await;
        assert!(at("two", 30).round().await.unwrap().is_none(), "{}", world.name);
        assert!(world.inbox("msg_ben").await.body.is_some());
        assert!(at("one", 50).round().await.unwrap().is_some(), "it renews its own");
        assert!(at("two", 100).round().await.unwrap().is_none(), "{}", world.name);
        assert!(at("two", 111).round().await.unwrap().is_some(), "the other is gone");
        assert!(at("one", 112).round().await.unwrap().is_none(), "{}", world.name);
        assert_eq!(number(&world.app, "select count(*) as n from clerk_sync.leases").await, 1);
    }
}

#[tokio::test]
async fn a_replica_that_ends_leaves_the_work_to_the_next_at_once() {
    for world in worlds(&[]).await {
        let stop = CancellationToken::new();
        let running = tokio::spawn(world.app.upkeep(&stop).run(stop.clone()));
        while number(&world.app, "select count(*) as n from clerk_sync.leases").await == 0 {
            tokio::task::yield_now().await;
        }
        assert!(after_days(&world.app, 0).round().await.unwrap().is_none(), "{}", world.name);
        stop.cancel();
        running.await.unwrap();
        assert!(after_days(&world.app, 0).round().await.unwrap().is_some(), "{}", world.name);
    }
}
