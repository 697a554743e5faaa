//! Erasing people reaches the stream, and what is on its way to it.

use std::collections::BTreeSet;

use clerk_sync::{
    erasure::Store,
    outbox::{feed, relay::Sink as _},
};
use serde_json::json;

use super::bed::{Redis, feed_it, sink};
use crate::support::{
    organizations::{member, organization},
    people::{deleted, user, with},
    world::{World, worlds},
};

fn ada(at: u64) -> serde_json::Value {
    with(with(user("ada", at), "first_name", json!("Adalovelace")), "last_name", json!(format!("No{at}")))
}

fn her() -> BTreeSet<String> {
    BTreeSet::from(["user_ada".to_owned()])
}

async fn tell(world: &World, id: &str, body: &serde_json::Value) {
    world.deliver(id, body).await;
    world.drain().await;
}

async fn life(world: &World) {
    tell(world, "msg_1", &ada(1)).await;
    tell(world, "msg_2", &user("ben", 1)).await;
    tell(world, "msg_3", &organization("one", "ada", 2)).await;
    tell(world, "msg_4", &member("one", "ada", 3, "org:admin")).await;
    tell(world, "msg_5", &member("one", "ben", 4, "org:member")).await;
    tell(world, "msg_6", &ada(5)).await;
}

#[tokio::test]
async fn what_is_left_of_somebody_erased_are_ids() {
    let Some(redis) = Redis::new().await else { return };
    for world in worlds(&[]).await {
        redis.lose().await;
        let name = world.name;
        let app = redis.feeder(&world, &[]).await;
        life(&world).await;
        assert!(feed_it(&app).await);
        assert!(redis.entries().await.iter().any(|entry| entry.fields["frame"].contains("Adalovelace")));
        tell(&world, "msg_9", &deleted("ada", 9)).await;
        assert!(feed_it(&app).await);
        let before = redis.entries().await;
        // Also where nothing is added to it any more.
        let eraser = redis.feeder(&world, &[("stream.enabled", "false".into())]).await.eraser();
        let left = eraser.left(&her()).await.unwrap();
        assert_eq!(redis.entries().await, before, "{name}: looking changes nothing");
        let removed = eraser.erase(&her()).await.unwrap();
        assert!(removed[&Store::Stream] >= 3, "{name}: {removed:?}");
        assert_eq!(removed[&Store::Stream], left[&Store::Stream], "{name}");
        assert!(eraser.left(&her()).await.unwrap().values().all(|count| *count == 0), "{name}");
        let after = redis.entries().await;
        assert!(after.iter().all(|entry| !entry.fields["frame"].contains("Adalovelace")), "{name}");
        assert_eq!(before.len() - after.len(), usize::try_from(removed[&Store::Stream]).unwrap(), "{name}");
        // That she is gone is told to those who have not heard it, and nobody else has lost anything.
        let about = |subject: &str| -> Vec<&str> {
            let about = after.iter().filter(|entry| entry.fields["subject"] == subject);
            about.map(|entry| entry.fields["event"].as_str()).collect()
        };
        assert_eq!(about("user_ada"), ["user.deleted"], "{name}");
        assert_eq!((about("user_ben").len(), about("org_one/user_ben").len()), (1, 1), "{name}");
        assert!(!about("org_one").is_empty(), "{name}");
        // And it goes on.
        tell(&world, "msg_10", &user("later", 1)).await;
        assert!(feed_it(&app).await);
        assert_eq!(redis.entries().await.len(), after.len() + 1, "{name}");
    }
}

/// A page that was read before the erasure comes to Redis after it.
#[tokio::test]
async fn what_was_read_before_is_not_added_after() {
    let Some(redis) = Redis::new().await else { return };
    for world in worlds(&[]).await {
        redis.lose().await;
        let (warm, cold) = (redis.feeder(&world, &[]).await, redis.feeder(&world, &[]).await);
        life(&world).await;
        assert!(feed_it(&warm).await);
        let head = redis.seqs().await.pop().unwrap();
        tell(&world, "msg_7", &ada(7)).await;
        tell(&world, "msg_9", &deleted("ada", 9)).await;
        let page = feed::read(&warm.db.read, head, 10).await.unwrap();
        assert!(page.iter().any(|row| row.payload.to_string().contains("Adalovelace")));
        world.replica(&redis.keys()).await.eraser().erase(&her()).await.unwrap();
        for app in [&warm, &cold] {
            assert_eq!(sink(app).deliver(&page).await, Ok(Vec::new()));
            let entries = redis.entries().await;
            assert!(entries.iter().all(|entry| !entry.fields["frame"].contains("Adalovelace")), "{}", world.name);
            assert_eq!(entries.last().unwrap().seq(), page.last().unwrap().seq, "{}", world.name);
            assert!(entries.iter().any(|entry| entry.fields["event"] == "user.deleted"), "{}", world.name);
        }
        assert!(warm.eraser().left(&her()).await.unwrap().values().all(|count| *count == 0), "{}", world.name);
    }
}
