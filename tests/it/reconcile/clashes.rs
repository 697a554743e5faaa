//! A clash is brought up to date from Clerk before it is a conflict.

use std::time::Duration;

use clerk_sync::{
    clerk::simulated::Failure,
    reconcile::{drift::Options, ensure::Ensured},
};
use sea_orm::EntityTrait as _;
use serde_json::{Value, json};

use super::{backfilled, nobody, number, pairs, reconciler, told};
use crate::support::{
    clerk::{Change, Kind, Simulated},
    people::address,
    world::World,
};

/// A user at Clerk with one verified address.
fn at_clerk(clerk: &Simulated, name: &str, email: &str, created_at: u64) -> String {
    clerk.clerk.put_user(json!({
        "id": format!("user_{name}"), "first_name": name, "last_name": "Tester", "created_at": created_at,
        "updated_at": created_at, "primary_email_address_id": format!("idn_{name}"), "email_addresses": addresses(name, email),
    }))
}

fn addresses(name: &str, email: &str) -> Value {
    json!([address(email, &format!("idn_{name}"))])
}

/// Changes the address at Clerk; no delivery tells of it.
fn moves(clerk: &Simulated, name: &str, email: &str) {
    assert!(clerk.clerk.touch_user(&format!("user_{name}"), |user| user["email_addresses"] = addresses(name, email)));
}

async fn delivered(world: &World, clerk: &Simulated, name: &str, change: Change) {
    told(world, clerk, Kind::User, change, &format!("user_{name}")).await;
}

/// The address that the row of a live user shows.
async fn shown(world: &World, name: &str) -> Option<String> {
    let all = entity::users::Entity::find().all(&world.app.db.read).await.unwrap();
    let row = all.into_iter().find(|row| row.clerk_id.as_deref() == Some(&format!("user_{name}")));
    row.filter(|row| row.status != "deleted").and_then(|row| row.email)
}

async fn conflicts(world: &World) -> i64 {
    number(&world.app.db, "select count(*) as n from clerk_sync.conflicts").await
}

async fn alerts(world: &World) -> Vec<String> {
    let all = entity::alerts::Entity::find().all(&world.app.db.read).await.unwrap();
    all.into_iter().filter(|alert| alert.kind == "conflict.email").map(|alert| alert.text).collect()
}

/// Every inbox row's state, in order.
async fn states(world: &World) -> Vec<String> {
    let mut rows = entity::inbox::Entity::find().all(&world.app.db.read).await.unwrap();
    rows.sort_by_key(|row| row.seq);
    rows.into_iter().map(|row| row.state).collect()
}

const BORN: u64 = 1_760_000_000_000;

/// The old user is here with the address; at Clerk they have another by now, and the newcomer has theirs.
async fn lost_update(world: &World, clerk: &Simulated) {
    at_clerk(clerk, "old", "team@example.com", BORN);
    delivered(world, clerk, "old", Change::Created).await;
    world.drain().await;
    moves(clerk, "old", "old@example.com");
    at_clerk(clerk, "new", "team@example.com", BORN + 1_000);
    clerk.modes.reset_counts();
}

#[tokio::test]
async fn a_lost_update_of_the_blocker_needs_no_operator() {
    for confirm in ["off", "best_effort", "required"] {
        for (clerk, world) in pairs(nobody, &[("clerk.confirm", confirm)]).await {
            let what = format!("{}, clerk.confirm = {confirm}", world.name);
            lost_update(&world, &clerk).await;
            delivered(&world, &clerk, "new", Change::Created).await;
            world.drain().await;
            assert_eq!(shown(&world, "new").await.as_deref(), Some("team@example.com"), "{what}");
            assert_eq!(shown(&world, "old").await.as_deref(), Some("old@example.com"), "{what}");
            assert_eq!((conflicts(&world).await, alerts(&world).await.len()), (0, 0), "{what}: no conflict ever was");
            let existence = usize::from(confirm != "off");
            assert_eq!(clerk.modes.counts().total() as usize, 1 + existence, "{what}: both users in one request");
            let read =
                number(&world.app.db, "select count(*) as n from clerk_sync.audit_log where actor = 'refresh'").await;
            assert!(read > 0, "{what}: the trail says how it came");
            // The lost delivery comes after all.
            delivered(&world, &clerk, "old", Change::Updated).await;
            world.drain().await;
            assert_eq!(states(&world).await, ["done"; 3], "{what}");
        }
    }
}

#[tokio::test]
async fn a_clash_that_clerk_has_too_is_a_conflict_and_is_asked_about_once() {
    for (clerk, world) in pairs(nobody, &[("clerk.confirm", "off")]).await {
        at_clerk(&clerk, "old", "team@example.com", BORN);
        at_clerk(&clerk, "new", "team@example.com", BORN + 1_000);
        delivered(&world, &clerk, "old", Change::Created).await;
        delivered(&world, &clerk, "new", Change::Created).await;
        world.drain().await;
        assert_eq!(states(&world).await, ["done", "conflict"], "{}", world.name);
        assert_eq!((conflicts(&world).await, alerts(&world).await.len()), (1, 1), "{}", world.name);
        assert!(!alerts(&world).await[0].contains("gone"), "{}", world.name);
        assert_eq!(clerk.modes.counts().total(), 1, "{}", world.name);
        // Neither a newer snapshot of one of them nor another look asks again about the open conflict.
        for (name, n) in [("new", 1), ("old", 2)] {
            clerk.clerk.touch_user(&format!("user_{name}"), |user| user["last_name"] = format!("Again{n}").into());
            delivered(&world, &clerk, name, Change::Updated).await;
            world.drain().await;
        }
        let seq = entity::inbox::Entity::find().all(&world.app.db.read).await.unwrap();
        let parked = seq.into_iter().find(|row| row.state == "conflict").unwrap();
        clerk_sync::inbox::admin::retry(&world.app.db, &parked.svix_id, world.app.clock.now()).await.unwrap();
        world.drain().await;
        assert_eq!(states(&world).await, ["done", "skipped", "conflict", "done"], "{}", world.name);
        assert_eq!(clerk.modes.counts().total(), 1, "{}", world.name);
        assert_eq!(world.inbox(&parked.svix_id).await.awaits.as_deref(), Some("user_old"), "{}", world.name);
        // Once Clerk has settled it, its own delivery settles it here.
        moves(&clerk, "old", "old@example.com");
        delivered(&world, &clerk, "old", Change::Updated).await;
        world.drain().await;
        assert_eq!(shown(&world, "new").await.as_deref(), Some("team@example.com"), "{}", world.name);
        assert_eq!(
            number(&world.app.db, "select count(*) as n from clerk_sync.conflicts where state = 'open'").await,
            0
        );
    }
}

#[tokio::test]
async fn a_blocker_who_is_gone_at_clerk_is_named_and_not_deleted() {
    for (clerk, world) in pairs(nobody, &[]).await {
        lost_update(&world, &clerk).await;
        assert!(clerk.clerk.delete_user("user_old"));
        delivered(&world, &clerk, "new", Change::Created).await;
        world.drain().await;
        let row = entity::inbox::Entity::find().all(&world.app.db.read).await.unwrap();
        let parked = row.into_iter().find(|row| row.state == "conflict").unwrap();
        assert!(parked.reason.unwrap().contains("gone at Clerk"), "{}", world.name);
        assert!(alerts(&world).await[0].contains("user_old, who is gone at Clerk"), "{}", world.name);
        assert_eq!(shown(&world, "old").await.as_deref(), Some("team@example.com"), "{}: not from here", world.name);
        // What the alert names does it.
        let options = Options { full: true, dry_run: false, scheduled: false, allow_removals: None };
        reconciler(&world).reconcile(options).await.unwrap();
        assert_eq!(shown(&world, "new").await.as_deref(), Some("team@example.com"), "{}", world.name);
        assert_eq!(shown(&world, "old").await, None, "{}", world.name);
    }
}

#[tokio::test]
async fn while_clerk_cannot_be_asked_the_conflict_opens() {
    for (clerk, world) in pairs(nobody, &[("clerk.confirm", "off")]).await {
        lost_update(&world, &clerk).await;
        clerk.modes.fail_share(1.0, [Failure::Unavailable, Failure::Reset, Failure::Html]);
        delivered(&world, &clerk, "new", Change::Created).await;
        world.drain().await;
        assert_eq!(states(&world).await, ["done", "conflict"], "{}", world.name);
        assert_eq!((conflicts(&world).await, alerts(&world).await.len()), (1, 1), "{}", world.name);
        assert_eq!(number(&world.app.db, "select max(attempts) as n from clerk_sync.inbox").await, 0, "{}", world.name);
    }
}

#[tokio::test]
async fn a_batch_of_clashes_is_read_together() {
    for (clerk, world) in pairs(nobody, &[("clerk.confirm", "off")]).await {
        for n in 0..60 {
            at_clerk(&clerk, &format!("old{n}"), &format!("team{n}@example.com"), BORN);
            delivered(&world, &clerk, &format!("old{n}"), Change::Created).await;
        }
        world.drain().await;
        clerk.modes.reset_counts();
        for n in 0..60 {
            moves(&clerk, &format!("old{n}"), &format!("old{n}@example.com"));
            at_clerk(&clerk, &format!("new{n}"), &format!("team{n}@example.com"), BORN + 1_000);
            delivered(&world, &clerk, &format!("new{n}"), Change::Created).await;
        }
        world.drain().await;
        let counts = clerk.modes.counts();
        assert_eq!((counts.total(), counts.most_ids), (2, 100), "{}: 120 users", world.name);
        assert_eq!(conflicts(&world).await, 0, "{}", world.name);
        assert_eq!(number(&world.app.db, "select count(*) as n from clerk_sync.users").await, 120, "{}", world.name);
    }
}

#[tokio::test]
async fn of_a_swap_one_delivery_is_enough() {
    for (clerk, world) in pairs(nobody, &[("clerk.confirm", "off")]).await {
        for (name, email) in [("a", "a@example.com"), ("b", "b@example.com")] {
            at_clerk(&clerk, name, email, BORN);
            delivered(&world, &clerk, name, Change::Created).await;
        }
        world.drain().await;
        moves(&clerk, "a", "b@example.com");
        moves(&clerk, "b", "a@example.com");
        delivered(&world, &clerk, "a", Change::Updated).await;
        world.drain().await;
        let both = (shown(&world, "a").await, shown(&world, "b").await);
        assert_eq!(both, (Some("b@example.com".into()), Some("a@example.com".into())), "{}", world.name);
        assert_eq!((conflicts(&world).await, clerk.modes.counts().total()), (0, 1), "{}", world.name);
    }
}

/// The deliveries of one hand-over settle it alone, whatever their order.
#[tokio::test]
async fn nobody_is_asked_about_what_the_next_delivery_settles() {
    for (clerk, world) in pairs(nobody, &[("clerk.confirm", "off")]).await {
        lost_update(&world, &clerk).await;
        delivered(&world, &clerk, "new", Change::Created).await;
        delivered(&world, &clerk, "old", Change::Updated).await;
        world.drain().await;
        assert_eq!(shown(&world, "new").await.as_deref(), Some("team@example.com"), "{}", world.name);
        assert_eq!((conflicts(&world).await, clerk.modes.counts().total()), (0, 0), "{}", world.name);
    }
}

#[tokio::test]
async fn what_clerks_api_says_is_refreshed_too() {
    for (clerk, world) in pairs(nobody, &[]).await {
        lost_update(&world, &clerk).await;
        assert_eq!(ensured(&world, "user_new").await, Ensured::Live, "{}", world.name);
        assert_eq!(conflicts(&world).await, 0, "{}", world.name);
    }
    // A clash that Clerk has too: the caller gets the conflict, not a moment in between.
    for (clerk, world) in pairs(nobody, &[]).await {
        at_clerk(&clerk, "old", "team@example.com", BORN);
        delivered(&world, &clerk, "old", Change::Created).await;
        world.drain().await;
        at_clerk(&clerk, "new", "team@example.com", BORN + 5_000);
        let refused = ensured(&world, "user_new").await;
        let Ensured::Refused(why) = &refused else { panic!("{}: {refused:?}", world.name) };
        assert!(why.starts_with("conflict.email: "), "{}: {why}", world.name);
        assert_eq!(conflicts(&world).await, 1, "{}", world.name);
    }
    // A backfill reads the newcomer, who is older at Clerk, before the one who blocks them.
    for (clerk, world) in pairs(nobody, &[]).await {
        at_clerk(&clerk, "new", "team@example.com", BORN - 5_000);
        at_clerk(&clerk, "old", "team@example.com", BORN);
        delivered(&world, &clerk, "old", Change::Created).await;
        world.drain().await;
        moves(&clerk, "old", "old@example.com");
        backfilled(&world).await;
        assert_eq!(shown(&world, "new").await.as_deref(), Some("team@example.com"), "{}", world.name);
        assert_eq!((conflicts(&world).await, alerts(&world).await.len()), (0, 0), "{}", world.name);
    }
}

/// What `ensure` returns to a caller who does not wait, while events are applied beside it.
async fn ensured(world: &World, clerk_id: &str) -> Ensured {
    let ensurer = world.app.ensurer();
    let applying = async {
        loop {
            world.drain().await;
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::select! {
        ensured = ensurer.ensure(clerk_id, Duration::ZERO) => ensured.unwrap(),
        () = applying => unreachable!("it does not end"),
    }
}
