//! **Breaker**: a storm of deletions stops at what the operator allows within a window, by the events' own time.

use serde_json::Value;

use super::{deliver_all, number, populate, texts};
use crate::support::{
    organizations::{member, organization},
    people::{address, deleted, user, with},
    process::run,
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

fn dissolved(name: &str, at: u64) -> Value {
    serde_json::json!({"type": "organization.deleted", "object": "event", "timestamp": 1_760_000_000_000 + at, "instance_id": "ins_tests",
        "data": {"id": format!("org_{name}"), "object": "organization", "deleted": true}})
}

/// Organisations are counted apart from people; a member's end is never held.
#[tokio::test]
async fn a_storm_of_dissolutions_stops_too_and_is_released_or_cancelled() {
    let keys = [("deletion.breaker.max", "3".into()), ("deletion.breaker.window", "10m".into())];
    for world in worlds(&keys).await {
        populate(&world, "p", 2).await;
        for n in 0..8 {
            world.deliver(&format!("msg_o{n}"), &organization(&format!("o{n}"), "p1", 1)).await;
            world.deliver(&format!("msg_m{n}"), &member(&format!("o{n}"), "p1", 2, "org:admin")).await;
        }
        world.drain().await;
        for n in 0..8 {
            world.deliver(&format!("msg_gone{n}"), &dissolved(&format!("o{n}"), 100 + n)).await;
        }
        world.deliver("msg_p2", &deleted("p2", 100)).await;
        world.drain().await;
        let count = async |what: &str| number(&world, &format!("select count(*) as n from clerk_sync.{what}")).await;
        assert_eq!(count("organizations where status = 'deleted'").await, 3, "{}", world.name);
        assert_eq!(count("inbox where state = 'held' and event_type = 'organization.deleted'").await, 5);
        assert_eq!(count("organization_memberships").await, 5, "{}: nothing of theirs is gone", world.name);
        assert_eq!(world.inbox("msg_p2").await.state, "done", "{}: people are counted apart", world.name);
        let alerts = texts(&world, "select key || ' ' || count as t from clerk_sync.alerts").await;
        assert_eq!(alerts, ["deletion.held:deletions 5"], "{}", world.name);
        let held = texts(&world, "select subject as t from clerk_sync.inbox where state = 'held' order by seq").await;
        let environment = [("CLERK_SYNC__DELETION__BREAKER__MAX", "3")];
        let listed = run(&world, &["deletions", "list", "--json"], &environment);
        assert_eq!(String::from_utf8(listed.stdout).unwrap().lines().count(), 5, "{}", world.name);
        // Cancelled: it does not happen, whichever delivery or replay says it again.
        assert!(run(&world, &["deletions", "cancel", &held[0]], &environment).status.success(), "{}", world.name);
        let row = texts(&world, &format!("select state || ': ' || reason as t from clerk_sync.inbox where subject = '{}' and event_type = 'organization.deleted'", held[0])).await;
        assert_eq!(row, ["discarded: cancelled by an operator"], "{}", world.name);
        // Released: it does.
        assert!(run(&world, &["deletions", "release", &held[1]], &environment).status.success(), "{}", world.name);
        assert_eq!(count("organizations where status = 'deleted'").await, 4, "{}", world.name);
        assert!(run(&world, &["deletions", "release", "--all"], &environment).status.success(), "{}", world.name);
        assert_eq!(
            count("organizations where status = 'deleted'").await,
            7,
            "{}: all but the cancelled one",
            world.name
        );
        assert_eq!(count("organization_memberships").await, 1, "{}", world.name);
        // A decision can be taken back.
        assert!(run(&world, &["deletions", "release", &held[0]], &environment).status.success(), "{}", world.name);
        assert_eq!(count("organizations where status = 'deleted'").await, 8, "{}", world.name);
        assert_eq!(run(&world, &["deletions", "release", &held[0]], &environment).status.code(), Some(1));
    }
}

/// What an operator decided is not planned again: neither by a replay of everything, nor by another delivery that says it.
#[tokio::test]
async fn replay_never_plans_what_an_operator_decided() {
    for world in worlds(&[("deletion.breaker.max", "1".into())]).await {
        populate(&world, "p", 4).await;
        for n in 1..=3 {
            world.deliver(&format!("msg_gone{n}"), &deleted(&format!("p{n}"), 100 + n)).await;
        }
        world.drain().await;
        let held = texts(&world, "select subject as t from clerk_sync.inbox where state = 'held' order by seq").await;
        assert_eq!(held.len(), 2, "{}", world.name);
        let on = [("CLERK_SYNC__DELETION__BREAKER__MAX", "1")];
        assert!(run(&world, &["deletions", "cancel", &held[0]], &on).status.success(), "{}", world.name);
        let svix = texts(&world, "select svix_id as t from clerk_sync.inbox where state = 'discarded'").await;
        let state = async || {
            texts(&world, &format!("select status as t from clerk_sync.users where clerk_id = '{}'", held[0])).await
        };
        // The breaker off: nothing else would keep it.
        let off = [("CLERK_SYNC__DELETION__BREAKER__MAX", "0")];
        for selection in
            [vec!["--all"], vec!["--type", "user.deleted"], vec!["--state", "discarded"], vec!["--id", &svix[0]]]
        {
            let output = run(&world, &[vec!["replay", "--json"], selection.clone()].concat(), &off);
            assert!(output.status.success(), "{}: {}", world.name, String::from_utf8_lossy(&output.stderr));
            assert_eq!(state().await, ["active"], "{}: {selection:?}", world.name);
            assert_eq!(world.inbox(&svix[0]).await.state, "discarded", "{}: {selection:?}", world.name);
        }
        // Nor by a second delivery of it, nor by what was stored under another id.
        let n: u64 = held[0].trim_start_matches("user_p").parse().unwrap();
        world.deliver("msg_twin", &deleted(&format!("p{n}"), 100 + n)).await;
        world.drain().await;
        let twin = world.inbox("msg_twin").await;
        assert_eq!((twin.state.as_str(), twin.reason.as_deref()), ("discarded", Some("cancelled by an operator")));
        // A deletion that is later by its own time is another one.
        world.deliver("msg_later", &deleted(&format!("p{n}"), 900_000_000)).await;
        world.drain().await;
        assert_eq!(state().await, ["deleted"], "{}", world.name);
    }
}
