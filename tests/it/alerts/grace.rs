//! Mail and chat hear of a conflict only if it is still open after `conflicts.grace`.

use std::time::Duration;

use clerk_sync::{
    clock::Clock,
    config,
    upkeep::{
        Upkeep,
        conflicts::{Rules, tell},
    },
};
use sea_orm::EntityTrait as _;
use tokio_util::sync::CancellationToken;

use super::{beds, came_once, clash, number, raised, send_all};
use crate::support::{
    people::user,
    smtp::Read,
    world::{World, worlds},
};

const RULES: Rules = Rules { grace: Duration::from_secs(60), repeat: Duration::from_secs(86_400) };

/// The timer's turn, so many seconds from now: how many alerts it told.
async fn turn(world: &World, seconds: i64) -> usize {
    turn_by(world, seconds, RULES).await
}

async fn turn_by(world: &World, seconds: i64, rules: Rules) -> usize {
    let at = world.app.clock.now() + chrono::Duration::seconds(seconds);
    tell(&world.app.db, &Clock::from_fn(move || at), rules).await.unwrap()
}

#[tokio::test]
async fn a_conflict_that_is_settled_within_the_grace_is_no_mail() {
    for (world, smtp, chat) in beds(&[]).await {
        world.deliver("msg_ada", &user("ada", 1)).await;
        clash(&world, "ben", 1, "ada@example.com").await;
        // The websocket and the list of alerts have it at once.
        let kinds = async || {
            let rows = raised(&world.app).await;
            rows.iter().map(|row| row.payload["kind"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(kinds().await, ["conflict.email"]);
        assert_eq!(turn(&world, 55).await, 0, "{}: not yet", world.name);
        clash(&world, "ben", 2, "ben@example.com").await;
        assert_eq!(turn(&world, 120).await, 0, "{}: no longer", world.name);
        send_all(&world.app).await;
        assert_eq!(kinds().await, ["conflict.email"]);
        came_once(&world.app, &[], &smtp, &chat);
    }
}

#[tokio::test]
async fn a_conflict_that_stays_open_is_one_mail() {
    for (world, smtp, chat) in beds(&[]).await {
        world.deliver("msg_ada", &user("ada", 1)).await;
        clash(&world, "ben", 1, "ada@example.com").await;
        send_all(&world.app).await;
        came_once(&world.app, &[], &smtp, &chat);
        // Whichever replica's timer comes first.
        let both = tokio::join!(turn(&world, 61), turn(&world, 61));
        assert_eq!(both.0 + both.1, 1, "{}", world.name);
        for seconds in [62, 3_600, 100_000, 10_000_000] {
            assert_eq!(turn(&world, seconds).await, 0, "{}: after {seconds} s", world.name);
            send_all(&world.app).await;
        }
        let alerts = raised(&world.app).await;
        assert_eq!(alerts.len(), 2);
        came_once(&world.app, &alerts[1..], &smtp, &chat);
        let letter = Read::of(&smtp.letters()[0].raw);
        assert_eq!(letter.header("subject"), "[clerk-sync] warning: conflict.open");
        for part in ["user_ben", "user_ada", "conflict.open:user_ben", "clerk-sync conflicts show"] {
            assert!(letter.body.contains(part), "{part}: {}", letter.body);
        }
        assert!(!letter.body.contains("ada@example.com") && !chat.posts()[0].text().contains("ada@example.com"));
        let row = entity::conflicts::Entity::find().one(&world.app.db.read).await.unwrap().unwrap();
        assert!(row.told_at.unwrap() > row.opened_at);
    }
}

/// People are not told twice within `alerts.repeat`; and no conflict is taken for told that was not.
#[tokio::test]
async fn another_conflict_of_the_same_person_waits_and_is_not_lost() {
    for world in worlds(&[]).await {
        for name in ["ada", "cleo"] {
            world.deliver(&format!("msg_{name}"), &user(name, 1)).await;
        }
        clash(&world, "ben", 1, "ada@example.com").await;
        assert_eq!(turn(&world, 61).await, 1);
        // Settled, and there is another.
        clash(&world, "ben", 2, "cleo@example.com").await;
        assert_eq!(turn(&world, 3_600).await, 0, "{}", world.name);
        assert_eq!(turn(&world, 86_400 + 120).await, 1, "{}", world.name);
        assert_eq!(turn(&world, 86_400 + 240).await, 0);
        let text = raised(&world.app).await.last().unwrap().payload["text"].as_str().unwrap().to_owned();
        assert!(text.contains("user_cleo"), "{text}");
        let count = number(&world.app, "select count as n from clerk_sync.alerts where kind = 'conflict.open'").await;
        assert_eq!(count, 2, "{}: it did not count up while it waited", world.name);
    }
}

#[tokio::test]
async fn very_many_are_told_in_chunks_and_a_grace_without_end_tells_nobody() {
    for world in worlds(&[]).await {
        world.deliver("msg_ada", &user("ada", 1)).await;
        for index in 0..250 {
            let addresses = serde_json::json!([crate::support::people::address("ada@example.com", "idn_x")]);
            let body = crate::support::people::with(user(&format!("u{index}"), 1), "email_addresses", addresses);
            world.deliver(&format!("msg_{index}"), &body).await;
        }
        world.drain().await;
        let forever = Rules { grace: Duration::MAX, ..RULES };
        assert_eq!(turn_by(&world, 1_000_000, forever).await, 0);
        let once = Rules { repeat: Duration::ZERO, ..RULES };
        let turns = [turn_by(&world, 61, once).await, turn_by(&world, 61, once).await, turn_by(&world, 61, once).await];
        assert_eq!(turns, [200, 50, 0], "{}", world.name);
        assert_eq!(number(&world.app, "select count(*) as n from clerk_sync.conflicts where told_at is null").await, 0);
        let gaps = number(&world.app, "select max(seq) - count(*) as n from clerk_sync.outbox").await;
        assert_eq!(gaps, 0, "{}: no number of the feed was lost", world.name);
    }
}

/// The timer itself: tells, and wakes those who wait for the feed.
#[tokio::test]
async fn upkeep_tells_and_wakes() {
    for world in worlds(&[]).await {
        world.deliver("msg_ada", &user("ada", 1)).await;
        clash(&world, "ben", 1, "ada@example.com").await;
        let app = &world.app;
        let mut waiter = app.signals.outbox.waiter();
        let stop = CancellationToken::new();
        let every = config::Upkeep { every: Duration::from_secs(3_600) };
        let rules = Rules { grace: Duration::ZERO, ..RULES };
        let upkeep = Upkeep { config: every, conflicts: rules, ..app.upkeep(&CancellationToken::new()) };
        let upkeep = tokio::spawn(upkeep.run(stop.clone()));
        let started = std::time::Instant::now();
        waiter.wait(Duration::from_secs(30)).await;
        assert!(started.elapsed() < Duration::from_secs(20), "{}: woken", world.name);
        assert_eq!(raised(app).await.len(), 2);
        stop.cancel();
        upkeep.await.unwrap();
    }
}
