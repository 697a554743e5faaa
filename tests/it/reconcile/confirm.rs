//! Whoever has not entered is asked for at Clerk first.

use std::time::{Duration, Instant};

use clerk_sync::{
    clerk::{
        decode::{Stored, decode},
        simulated::Failure,
    },
    clock::Clock,
    domain::Change as Says,
};
use serde_json::json;

use super::{nobody, pairs, seeded, told};
use crate::support::{
    clerk::{Change, Clerk, Kind, Simulated},
    people::user,
    world::{self, World},
};

async fn ended(world: &World, id: &str) -> (String, Option<String>) {
    let row = world.inbox(id).await;
    (row.state, row.reason)
}

#[tokio::test]
async fn who_is_not_at_clerk_does_not_enter() {
    for (clerk, world) in pairs(nobody, &[]).await {
        world.deliver("msg_1", &user("ghost", 1)).await;
        world.drain().await;
        let (state, reason) = ended(&world, "msg_1").await;
        assert_eq!(state, "pending", "{}: perhaps not readable yet", world.name);
        assert_eq!(reason.as_deref(), Some("confirm: Clerk does not know this person yet"));
        // Ten minutes on.
        let mut worker = world.app.worker();
        worker.confirm = world.later(chrono::Duration::minutes(11)).await.worker().confirm;
        worker.clock = ahead(chrono::Duration::minutes(11));
        worker.drain().await.unwrap();
        let (state, reason) = ended(&world, "msg_1").await;
        assert_eq!((state.as_str(), reason.as_deref()), ("rejected", Some("gone at Clerk")), "{}", world.name);
        let facts =
            super::number(&world.app.db, "select count(*) as n from clerk_sync.subjects where key = 'user_ghost'")
                .await;
        assert_eq!(facts, 0, "{}: and raises no facts", world.name);
        // They come after all: another delivery, while Clerk has them; what was refused is looked at again.
        clerk.clerk.put_user(json!({"id": "user_ghost", "first_name": "G", "last_name": "Host"}));
        world.deliver("msg_2", &user("ghost", 2)).await;
        world.drain().await;
        assert_eq!(ended(&world, "msg_2").await.0, "done", "{}", world.name);
        assert_eq!(world.inbox("msg_1").await.outcome.as_deref(), Some("stale"), "{}", world.name);
        clerk.clerk.delete_user("user_ghost");
    }
}

fn ahead(by: chrono::Duration) -> Clock {
    Clock::from_fn(move || Clock::system().now() + by)
}

impl World {
    /// The same with a clock that is ahead.
    async fn later(&self, by: chrono::Duration) -> clerk_sync::app::App {
        clerk_sync::app::App { clock: ahead(by), ..self.app.clone() }
    }
}

#[tokio::test]
async fn a_hundred_are_asked_for_at_once_and_nobody_twice() {
    for (clerk, world) in pairs(seeded(250, 0, 0), &[]).await {
        clerk.modes.reset_counts();
        for id in clerk.clerk.ids(Kind::User, 0, 250) {
            told(&world, &clerk, Kind::User, Change::Created, &id).await;
        }
        world.drain().await;
        let counts = clerk.modes.counts();
        assert_eq!(counts.most_ids, 100);
        assert_eq!(counts.total(), 3, "{}", world.name);
        assert_eq!(super::rows(&world).await.0, 250);
        // Those who have entered are not asked for any more.
        for id in clerk.clerk.ids(Kind::User, 0, 250) {
            clerk.clerk.touch_user(&id, |user| user["last_name"] = "Again".into());
            told(&world, &clerk, Kind::User, Change::Updated, &id).await;
        }
        world.drain().await;
        assert_eq!(clerk.modes.counts().total(), 3, "{}", world.name);
    }
}

#[tokio::test]
async fn while_clerk_is_down_best_effort_goes_on_and_required_waits() {
    for (confirm, state) in [("best_effort", "done"), ("required", "pending")] {
        for (clerk, world) in pairs(seeded(20, 0, 0), &[("clerk.confirm", confirm)]).await {
            let id = clerk.clerk.nth(Kind::User, 0).unwrap();
            clerk.modes.fail_share(1.0, [Failure::Unavailable, Failure::Reset, Failure::Html]);
            let body = clerk.clerk.event(Kind::User, Change::Created, &id).unwrap();
            world.deliver("msg_1", &body).await;
            world.drain().await;
            assert_eq!(ended(&world, "msg_1").await.0, state, "{}: {confirm}", world.name);
            clerk.modes.fail_share(0.0, []);
            let later = world.later(chrono::Duration::minutes(3)).await;
            later.worker().drain().await.unwrap();
            assert_eq!(ended(&world, "msg_1").await.0, "done", "{}: {confirm}", world.name);
            assert_eq!(world.inbox("msg_1").await.attempts, 0, "nobody's failure");
        }
    }
}

#[tokio::test]
async fn ids_that_mean_something_to_clerks_filter_are_nobody() {
    for (clerk, world) in pairs(seeded(20, 0, 0), &[("clerk.confirm", "required")]).await {
        clerk.modes.reset_counts();
        for (n, odd) in ["-user_1", "+user_1", "user_1&limit=1", "user 1"].into_iter().enumerate() {
            let mut body = user("odd", 1);
            body["data"]["id"] = odd.into();
            world.deliver(&format!("msg_{n}"), &body).await;
        }
        world.drain().await;
        assert_eq!(clerk.modes.counts().total(), 0, "{}", world.name);
        let pending = "select count(*) as n from clerk_sync.inbox where state = 'pending'";
        assert_eq!(super::number(&world.app.db, pending).await, 4, "{}", world.name);
    }
}

/// The real limit in force: a thousand requests in ten seconds, of which a process takes half.
#[tokio::test]
async fn ten_seconds_of_two_thousand_new_people_a_second_are_asked_for_in_less() {
    let clerk = Simulated::of(Clerk::seeded(20_000, 0, 0, 9, Clock::system())).await;
    let keys = clerk.keys(&[("clerk.secret_key", "sk_live_simulated"), ("clerk.rate_limit", "0")]);
    clerk.modes.set_key(Some("sk_live_simulated"));
    clerk.modes.set_rate_limit(Some(1_000));
    let world = world::sqlite(&keys).await;
    let confirm = world.app.worker().confirm.unwrap();
    let now = Clock::system().now();
    let ids = clerk.clerk.ids(Kind::User, 0, 20_000);
    let mut spent = Duration::ZERO;
    for chunk in ids.chunks(512) {
        let event = |(seq, id): (i64, &String)| {
            let mut body = user("new", 1);
            body["data"]["id"] = id.as_str().into();
            let body = Some(body.to_string().into_bytes());
            let row = Stored {
                seq,
                svix_id: format!("msg_{id}"),
                event_type: "user.created".into(),
                body,
                instance_id: None,
                occurred_at: None,
                received_at: None,
                subject: None,
                object_id: None,
            };
            decode(row, None)
        };
        let mut events: Vec<_> = (1..).zip(chunk).map(event).collect();
        let mut judged: Vec<_> = events.iter_mut().map(|event| (event, now)).collect();
        let started = Instant::now();
        assert!(confirm.judge(&mut judged).await.unwrap().is_empty());
        spent += started.elapsed();
        assert!(events.iter().all(|event| matches!(event.change, Says::User(_))));
    }
    let counts = clerk.modes.counts();
    assert_eq!((counts.most_ids, counts.answered(429)), (100, 0), "{counts:?}");
    assert!(counts.total() <= 240 && counts.peak <= 1_000, "{counts:?}");
    assert!(spent < Duration::from_secs(10), "{spent:?}");
}
