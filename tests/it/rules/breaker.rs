//! **Breaker**: a storm of deletions stops at what the operator allows within a window, by the events' own time.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::{deliver_all, number, populate};
use crate::support::{
    people::{address, deleted, user, with},
    world::{World, worlds},
};

const PEOPLE: usize = 20_000;
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

async fn after_the_storm(world: &World, step: u64) -> Duration {
    populate(world, "p", PEOPLE).await;
    deliver_all(world, &storm(step)).await;
    let started = Instant::now();
    world.drain().await;
    started.elapsed()
}

#[tokio::test]
async fn a_storm_of_deletions_stops_at_the_breaker() {
    let keys = [("deletion.breaker.max", ALLOWED.to_string()), ("deletion.breaker.window", "10m".into())];
    for world in worlds(&keys).await {
        after_the_storm(&world, STEP).await;
        let count = async |what: &str| number(&world, &format!("select count(*) as n from {what}")).await;
        let (allowed, held) = (ALLOWED as i64, DELETED as i64 - ALLOWED as i64);
        assert_eq!(count("users").await, PEOPLE as i64, "{}: nobody's row is gone", world.name);
        assert_eq!(count("users where status = 'deleted'").await, allowed, "{}", world.name);
        assert_eq!(count("users where deletion_held_at is not null and status = 'active'").await, held);
        assert_eq!(
            count("users where deletion_held_at is not null and (email is null or first_name is null)").await,
            0
        );
        assert_eq!(count("inbox where state = 'held' and reason like 'hold.breaker%'").await, held);
        assert_eq!(count("alerts where kind = 'deletion.held'").await, 1, "{}: a storm is one alert", world.name);
        assert_eq!(count("inbox where state = 'done' and outcome = 'deleted'").await, allowed);
        assert_eq!(count("subjects where deleted").await, allowed, "facts know of no deletion that is not applied");
        assert_eq!(count("outbox where event = 'user.deleted'").await, allowed);
        assert_eq!(count("outbox where event = 'user.updated' and topic = 'users'").await, held, "locked out at once");
        assert_eq!(count("email_addresses").await, PEOPLE as i64 - allowed);
        // The addresses of those who are held are free, whoever comes for them; those of others are not.
        let mut rows = entity_held(&world).await.into_iter();
        let (taken, free) = ("p20000@example.com".to_owned(), rows.next().unwrap());
        let newcomer = |name: &str, email: &str| {
            with(user(name, 9), "email_addresses", serde_json::json!([address(email, &format!("idn_{name}"))]))
        };
        world.deliver("msg_free", &newcomer("free", &free)).await;
        world.deliver("msg_taken", &newcomer("taken", &taken)).await;
        world.drain().await;
        assert_eq!(world.inbox("msg_free").await.state, "done", "{}", world.name);
        assert_eq!(world.inbox("msg_taken").await.state, "conflict", "{}", world.name);
        // What comes outside of every full window is not held.
        world.deliver("msg_later", &deleted("p15000", STEP * DELETED + 601_000)).await;
        world.deliver("msg_near", &deleted("p15001", STEP * DELETED / 2)).await;
        world.drain().await;
        assert_eq!(world.inbox("msg_later").await.state, "done", "{}", world.name);
        assert_eq!(world.inbox("msg_near").await.state, "held", "{}", world.name);
    }
}

async fn entity_held(world: &World) -> Vec<String> {
    super::texts(world, "select email as t from users where deletion_held_at is not null order by clerk_id limit 3")
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
        let sql = "select deleted_at as at from subjects where deleted order by deleted_at";
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

#[tokio::test]
async fn without_a_breaker_a_storm_goes_through_quickly() {
    for world in worlds(&[]).await {
        let took = after_the_storm(&world, STEP).await;
        assert_eq!(number(&world, "select count(*) as n from users where status = 'deleted'").await, DELETED as i64);
        assert_eq!(number(&world, "select count(*) as n from users").await, PEOPLE as i64);
        assert_eq!(number(&world, "select count(*) as n from inbox where state <> 'done'").await, 0);
        assert!(took < Duration::from_secs(20), "{}: {took:?}", world.name);
    }
}
