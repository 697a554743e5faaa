//! What time brings: memberships whose parents do not come, and the end of `deletion.erase_after`.

use std::{collections::BTreeSet, time::Duration};

use clerk_sync::{
    clock::Clock,
    upkeep::{erase::Erasing, waiting},
};
use serde_json::{Value, json};

use crate::support::{
    dump::{naming, number},
    people::{deleted, user, with},
    world::{World, worlds},
};

const AT: u64 = 1_760_000_000_000;

fn member(organization: &str, person: &str) -> Value {
    json!({"type": "organizationMembership.created", "object": "event", "timestamp": AT, "data": {"id": format!("orgmem_{organization}_{person}"),
        "role": "org:member", "permissions": [], "organization": {"id": organization}, "public_user_data": {"user_id": format!("user_{person}")},
        "created_at": AT, "updated_at": AT}})
}

/// A clock that is so many seconds ahead.
fn ahead(seconds: i64) -> Clock {
    let at = Clock::system().now() + chrono::Duration::seconds(seconds);
    Clock::from_fn(move || at)
}

async fn turn(world: &World, seconds: i64) -> usize {
    waiting::tell(&world.app.db, &ahead(seconds), Duration::from_secs(86_400), Duration::from_secs(86_400))
        .await
        .unwrap()
}

async fn waiting_rows(world: &World) -> i64 {
    number(&world.app.db, "select count(*) as n from clerk_sync.inbox where state = 'waiting'").await
}

#[tokio::test]
async fn one_alert_a_parent_that_does_not_come() {
    for world in worlds(&[("waiting.deadline", "10m".into())]).await {
        world.deliver("msg_ada", &user("ada", 1)).await;
        for (n, (organization, person)) in
            [("org_late", "ada"), ("org_late", "ben"), ("org_late", "cleo"), ("org_never", "ada")]
                .into_iter()
                .enumerate()
        {
            world.deliver(&format!("msg_{n}"), &member(organization, person)).await;
        }
        world.drain().await;
        assert_eq!(waiting_rows(&world).await, 4, "{}", world.name);
        assert_eq!(turn(&world, 9 * 60).await, 0, "before the deadline nobody is told");
        // org_late, org_never, ben and cleo; not ada, who is here.
        assert_eq!(turn(&world, 11 * 60).await, 4, "{}", world.name);
        assert_eq!(
            number(
                &world.app.db,
                "select count(*) as n from clerk_sync.alerts where kind = 'waiting.parent' and subject = 'org_late'"
            )
            .await,
            1
        );
        assert_eq!(
            number(&world.app.db, "select count(*) as n from clerk_sync.alerts where subject = 'user_ada'").await,
            0
        );
        assert_eq!(turn(&world, 12 * 60).await, 0, "once is enough");
        assert_eq!(waiting_rows(&world).await, 4, "and they wait on");
        // As long as it goes on it is told again, of those who are still missing.
        let organization = json!({"type": "organization.created", "object": "event", "timestamp": AT, "data": {"id": "org_late", "name": "Late", "created_at": AT, "updated_at": AT}});
        world.deliver("msg_org", &organization).await;
        world.drain().await;
        assert_eq!(waiting_rows(&world).await, 3, "{}: ada is a member now", world.name);
        assert_eq!(turn(&world, 13 * 60 + 86_400).await, 3, "{}: org_never, ben and cleo", world.name);
    }
}

#[tokio::test]
async fn who_is_deleted_long_enough_is_erased() {
    for world in worlds(&[]).await {
        for name in ["ada", "ben", "cleo"] {
            world
                .deliver(&format!("msg_{name}"), &with(user(name, 1), "last_name", json!(format!("Marker{name}"))))
                .await;
        }
        for name in ["ada", "ben"] {
            world.deliver(&format!("msg_{name}_gone"), &deleted(name, 9)).await;
        }
        world.drain().await;
        let erasing = |after: u64, seconds: i64| {
            let mut eraser = world.app.eraser();
            eraser.clock = ahead(seconds);
            Erasing { eraser, after: Duration::from_secs(after), owner: format!("replica {seconds}") }
        };
        assert_eq!(erasing(86_400, 3_600).round().await.unwrap(), 0, "{}: not yet", world.name);
        assert!(!naming(&world.app.db, "Markerada").await.is_empty());
        assert_eq!(erasing(86_400, 90_000).round().await.unwrap(), 2, "{}", world.name);
        for gone in ["Markerada", "Markerben"] {
            assert_eq!(naming(&world.app.db, gone).await, [""; 0], "{}: {gone}", world.name);
        }
        assert!(!naming(&world.app.db, "Markercleo").await.is_empty(), "who is live is not touched");
        assert_eq!(erasing(86_400, 200_000).round().await.unwrap(), 0, "{}: once", world.name);
        let both = BTreeSet::from(["user_ada".to_owned(), "user_ben".to_owned()]);
        assert!(world.app.eraser().left(&both).await.unwrap().values().all(|left| *left == 0));
    }
}
