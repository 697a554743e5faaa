//! **Breaker**: a storm of deletions stops at what the operator allows within a window, by the events' own time.

use serde_json::Value;

use super::{deliver_all, number, populate};
use crate::support::{
    people::{address, deleted, user, with},
    world::{World, worlds},
};

const PEOPLE: usize = 2_000;
const DELETED: u64 = 1_000;
const ALLOWED: usize = 100;
/// Between two deletions of the storm, by their own time: together they last a little less than the window.
const STEP: u64 = 500;

/// Deletions of the first thousand, `step` ms after one another, in random order.
fn storm(step: u64) -> Vec<(String, Value)> {
    let one = |n: u64| (format!("msg_gone{n}"), deleted(&format!("p{n}"), n * step));
    let mut all: Vec<_> = (1..=DELETED).map(one).collect();
    fastrand::Rng::with_seed(11).shuffle(&mut all);
    all
}

#[tokio::test]
async fn a_storm_of_deletions_stops_at_the_breaker() {
    let keys = [("deletion.breaker.max", ALLOWED.to_string()), ("deletion.breaker.window", "10m".into())];
    for world in worlds(&keys).await {
        populate(&world, "p", PEOPLE).await;
        deliver_all(&world, &storm(STEP)).await;
        world.drain().await;
        let count = async |what: &str| number(&world, &format!("select count(*) as n from clerk_sync.{what}")).await;
        let (allowed, held) = (ALLOWED as i64, DELETED as i64 - ALLOWED as i64);
        assert_eq!(count("users").await, PEOPLE as i64, "{}: nobody's row is gone", world.name);
        assert_eq!(count("users where status = 'deleted'").await, allowed, "{}", world.name);
        assert_eq!(count("users where deletion_held_at is not null and status = 'active'").await, held);
        assert_eq!(
            count("users where deletion_held_at is not null and (email is null or first_name is null)").await,
            0
        );
        assert_eq!(count("outbox where event = 'user.deleted'").await, allowed);
        assert_eq!(count("outbox where event = 'user.updated' and topic = 'users'").await, held, "locked out at once");
        assert_eq!(count("email_addresses").await, PEOPLE as i64 - allowed);
        // The addresses of those who are held are free, whoever comes for them; those of others are not.
        let mut rows = entity_held(&world).await.into_iter();
        let (taken, free) = ("p2000@example.com".to_owned(), rows.next().unwrap());
        let newcomer = |name: &str, email: &str| {
            with(user(name, 9), "email_addresses", serde_json::json!([address(email, &format!("idn_{name}"))]))
        };
        world.deliver("msg_free", &newcomer("free", &free)).await;
        world.deliver("msg_taken", &newcomer("taken", &taken)).await;
        world.drain().await;
        assert_eq!(world.inbox("msg_free").await.state, "done", "{}", world.name);
        assert_eq!(world.inbox("msg_taken").await.state, "conflict", "{}", world.name);
        // What comes outside of every full window is not held.
        world.deliver("msg_later", &deleted("p1500", STEP * DELETED + 601_000)).await;
        world.deliver("msg_near", &deleted("p1501", STEP * DELETED / 2)).await;
        world.drain().await;
        assert_eq!(world.inbox("msg_later").await.state, "done", "{}", world.name);
        assert_eq!(world.inbox("msg_near").await.state, "held", "{}", world.name);
    }
}

async fn entity_held(world: &World) -> Vec<String> {
    super::texts(
        world,
        "select email as t from clerk_sync.users where deletion_held_at is not null order by clerk_id limit 3",
    )
    .await
}

/// In whatever order a long storm arrives: no window anywhere has more than the breaker allows.
#[tokio::test]
async fn a_storm_longer_than_the_window_is_let_through_window_by_window() {
    let keys = [("deletion.breaker.max", "20".into()), ("deletion.breaker.window", "1m".into())];
    for world in worlds(&keys).await {
        populate(&world, "p", DELETED as usize).await;
        // A thousand in ten minutes: a hundred a window.
        deliver_all(&world, &storm(600)).await;
        world.drain().await;
        let sql = "select deleted_at as at from clerk_sync.subjects where deleted order by deleted_at";
        let rows = clerk_sync::db::Stmt::new(&world.app.db.read, sql).all(&world.app.db.read).await.unwrap();
        let times: Vec<clerk_sync::clock::Time> = rows.iter().map(|row| row.try_get("", "at").unwrap()).collect();
        let window = chrono::Duration::minutes(1);
        let within =
            |from: clerk_sync::clock::Time| times.iter().filter(|at| **at >= from && **at < from + window).count();
        let most = times.iter().map(|at| within(*at)).max().unwrap();
        assert_eq!(most, 20, "{}: within a minute", world.name);
        assert!((100..=200).contains(&times.len()), "{}: {} went", world.name, times.len());
    }
}

/// What was let through before counts for what comes after it, on both sides of its time and once.
#[tokio::test]
async fn deletions_of_earlier_batches_are_counted_once_on_both_sides() {
    let keys = [("deletion.breaker.max", "3".into()), ("deletion.breaker.window", "1m".into())];
    for world in worlds(&keys).await {
        populate(&world, "p", 10).await;
        let second = 1_000;
        for (batch, states) in [
            (vec![(1, 100), (2, 110)], vec!["done", "done"]),
            // Two of which each has the two before in its window: one more is allowed, not two.
            (vec![(3, 120), (4, 121)], vec!["done", "held"]),
            // Earlier by its own time, and in one window with all three; and one that is not.
            (vec![(5, 70), (6, 50)], vec!["held", "done"]),
        ] {
            for (n, at) in &batch {
                world.deliver(&format!("msg_{n}"), &deleted(&format!("p{n}"), at * second)).await;
            }
            world.drain().await;
            for ((n, at), state) in batch.iter().zip(states) {
                assert_eq!(world.inbox(&format!("msg_{n}")).await.state, state, "{}: at {at} s", world.name);
            }
        }
    }
}
