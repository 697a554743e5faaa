//! One alert a key, told when it is new and again while it goes on.

use clerk_sync::{app::App, clock::Clock, domain::plan::Alert, sync::raise::raise};
use sea_orm::EntityTrait as _;
use serde_json::json;

use super::raised;
use crate::support::{
    people::{user, with},
    world::{World, worlds},
};

/// The same process, so many hours later.
fn later(app: &App, hours: i64) -> App {
    let at = app.clock.now() + chrono::Duration::hours(hours);
    App { clock: Clock::from_fn(move || at), ..app.clone() }
}

/// Events that raise the alert about Ada, applied together.
async fn raise_through(world: &World, app: &App, ats: &[u64]) {
    for at in ats {
        let body = with(user("ada", *at), "public_metadata", json!({"roles": ["boss"]}));
        world.deliver(&format!("msg_{at}"), &body).await;
    }
    assert_eq!(app.worker().drain().await.unwrap(), ats.len());
}

#[tokio::test]
async fn an_alert_that_goes_on_is_told_again_after_a_while() {
    for world in worlds(&[]).await {
        let start = later(&world.app, 1);
        // At the very same moment too: merged, and told once.
        raise_through(&world, &start, &[1, 2]).await;
        raise_through(&world, &start, &[3]).await;
        assert_eq!(raised(&world.app).await.len(), 1, "{}", world.name);
        let day = chrono::Duration::days(1);
        let mut expected = (1, start.clock.now());
        for (hours, at, tells) in [(23, 4, false), (24, 5, true), (25, 6, false), (47, 7, false), (49, 8, true)] {
            let app = later(&start, hours);
            raise_through(&world, &app, &[at]).await;
            if tells {
                expected = (expected.0 + 1, app.clock.now());
            }
            let row = entity::alerts::Entity::find().one(&world.app.db.read).await.unwrap().unwrap();
            assert_eq!(
                (raised(&world.app).await.len(), row.told_at),
                (expected.0, Some(expected.1)),
                "{}: after {hours} h",
                world.name
            );
            assert_eq!((row.first_at, row.last_at), (start.clock.now(), app.clock.now()));
            assert!(app.clock.now() - row.told_at.unwrap() < day);
        }
        let rows = entity::alerts::Entity::find().all(&world.app.db.read).await.unwrap();
        assert_eq!(
            rows.iter().map(|row| (row.key.as_str(), row.count)).collect::<Vec<_>>(),
            [("role.not_grantable:user_ada", 8)]
        );
        let last = raised(&world.app).await.pop().unwrap();
        assert_eq!(
            (last.payload["key"].as_str(), last.payload["kind"].as_str(), last.payload["level"].as_str()),
            (Some("role.not_grantable:user_ada"), Some("role.not_grantable"), Some("warning"))
        );
        assert!(last.payload["text"].as_str().unwrap().contains("user_ada"));
        assert_eq!((last.subject.as_str(), last.topic.as_str(), last.effects.as_str()), ("user_ada", "admin", "all"));
    }
}

#[tokio::test]
async fn zero_means_once() {
    for world in worlds(&[("alerts.repeat", "0s".into())]).await {
        raise_through(&world, &world.app, &[1]).await;
        raise_through(&world, &later(&world.app, 24 * 365 * 20), &[2]).await;
        assert_eq!(raised(&world.app).await.len(), 1, "{}", world.name);
    }
}

/// Alerts of timers are merged with those of plans, told in one go, and numbered above the head.
#[tokio::test]
async fn a_timer_raises_alerts_like_a_plan() {
    for world in worlds(&[]).await {
        raise_through(&world, &world.app, &[1]).await;
        let alert = |kind, subject: &str| Alert { kind, level: "error", subject: subject.into(), text: "t".into() };
        let alerts = [
            alert("role.not_grantable", "user_ada"),
            alert("waiting.deadline", "org_1"),
            alert("waiting.deadline", "org_2"),
            alert("waiting.deadline", "org_1"),
        ];
        for told in [2, 0] {
            let (clock, db) = (&world.app.clock, &world.app.db);
            let tx = db.begin_commit().await.unwrap();
            let written = raise(&tx, &alerts, chrono::Duration::days(1), clock, clock.now()).await.unwrap();
            tx.commit().await.unwrap();
            assert_eq!(written, told, "{}", world.name);
        }
        let tx = world.app.db.begin_commit().await.unwrap();
        assert_eq!(
            raise(&tx, &[], chrono::Duration::days(1), &world.app.clock, world.app.clock.now()).await.unwrap(),
            0
        );
        tx.rollback().await.unwrap();
        let rows = raised(&world.app).await;
        let told: Vec<_> = rows.iter().map(|row| (row.seq, row.subject.as_str())).collect();
        assert_eq!(told, [(2, "user_ada"), (3, "org_1"), (4, "org_2")]);
        let mut counts: Vec<_> = entity::alerts::Entity::find()
            .all(&world.app.db.read)
            .await
            .unwrap()
            .into_iter()
            .map(|row| (row.subject.unwrap(), row.count))
            .collect();
        counts.sort();
        assert_eq!(counts, [("org_1".into(), 4), ("org_2".into(), 2), ("user_ada".into(), 3)]);
    }
}
