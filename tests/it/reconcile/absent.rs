//! What a comparison infers from absence: reversible, limited by share, and apart from what Clerk said itself.

use clerk_sync::{clerk::simulated::objects, clock::Clock, reconcile::drift::Options, reconcile::ensure::Ensured};
use serde_json::{Value, json};

use super::{at_clerk, backfilled, ids, pairs, reconciler, rows, seeded, texts, told};
use crate::support::{
    clerk::{Change, Kind, Simulated},
    dump::number,
    process::run,
    world::World,
};

const FULL: Options = Options { full: true, dry_run: false, scheduled: false, allow_removals: None };

/// Takes users from Clerk; returns their objects and those of their memberships, to be put back.
fn take(clerk: &Simulated, ids: &[String]) -> (Vec<Value>, Vec<Value>) {
    let mut memberships = Vec::new();
    let users = ids.iter().map(|id| {
        let of = clerk.clerk.memberships_of_user(id);
        memberships.extend(of.iter().map(|id| clerk.clerk.membership(id).unwrap()));
        let user = clerk.clerk.user(id).unwrap();
        assert!(clerk.clerk.delete_user(id));
        user
    });
    (users.collect(), memberships)
}

/// What is stored of users: the stable id, and whether they are shown with a name.
async fn shown(world: &World) -> Vec<String> {
    texts(world, "select cast(id as text) || ' ' || clerk_id || ' ' || coalesce(email, '-') || ' ' || status as name from clerk_sync.users order by clerk_id")
        .await
}

#[tokio::test]
async fn a_run_that_would_remove_too_many_removes_nothing() {
    for (clerk, world) in pairs(seeded(300, 20, 400), &[("clerk.confirm", "off")]).await {
        assert!(backfilled(&world).await.proof.holds());
        let before = rows(&world).await;
        // 40 of 300; and one organisation of 20, which is few enough for itself.
        let gone = clerk.clerk.ids(Kind::User, 0, 40);
        take(&clerk, &gone);
        clerk.clerk.delete_organization(&clerk.clerk.nth(Kind::Organization, 3).unwrap());
        let looked = reconciler(&world).reconcile(Options { dry_run: true, ..FULL }).await.unwrap();
        assert_eq!((looked.held.len(), looked.held[0].absent, looked.held[0].live), (1, 40, 300), "{looked:?}");
        assert!(gone.iter().all(|id| ids(&looked.extra).contains(id)), "{}: named", world.name);
        for scheduled in [false, true] {
            let reconciler = clerk_sync::reconcile::Reconciler {
                config: clerk_sync::config::Reconcile {
                    settle: std::time::Duration::ZERO,
                    ..reconciler(&world).config
                },
                ..reconciler(&world)
            };
            let found = reconciler.reconcile(Options { scheduled, ..FULL }).await.unwrap();
            assert_eq!((found.held.len(), found.held[0].kind, found.held[0].allowed), (1, "users", 15), "{found:?}");
            assert!(found.is_unresolved());
            assert_eq!(rows(&world).await, before, "{}: held whole", world.name);
        }
        let alerts = texts(&world, "select text as name from clerk_sync.alerts where kind = 'reconcile.held'").await;
        assert!(alerts.len() == 1 && alerts[0].contains("40 of 300 users"), "{}: {alerts:?}", world.name);
        assert_eq!(
            number(&world.app.db, "select count(*) as n from clerk_sync.subjects where absent_version is not null")
                .await,
            0
        );
        // Fewer than there are: still held. As many: removed, and the organisation with them.
        let allow = async |n| reconciler(&world).reconcile(Options { allow_removals: Some(n), ..FULL }).await.unwrap();
        assert_eq!(allow(39).await.held.len(), 1, "{}", world.name);
        assert_eq!(rows(&world).await, before, "{}", world.name);
        assert!(!allow(40).await.is_unresolved(), "{}", world.name);
        assert_eq!(rows(&world).await, at_clerk(&clerk), "{}", world.name);
        assert_eq!(
            number(&world.app.db, "select count(*) as n from clerk_sync.subjects where deleted").await,
            0,
            "{}",
            world.name
        );
    }
}

#[tokio::test]
async fn of_few_ten_may_go() {
    for (clerk, world) in pairs(seeded(30, 0, 0), &[("clerk.confirm", "off"), ("deletion.breaker.max", "3")]).await {
        assert!(backfilled(&world).await.proof.holds());
        take(&clerk, &clerk.clerk.ids(Kind::User, 0, 11));
        assert_eq!(reconciler(&world).reconcile(FULL).await.unwrap().held.len(), 1, "{}", world.name);
        let back = clerk.clerk.put_user(objects::user("back", "Again", "back@example.com", Clock::system().now()));
        let found = reconciler(&world).reconcile(FULL).await.unwrap();
        assert!(ids(&found.missing).contains(&back) && found.held.len() == 1, "{}: eleven of 31", world.name);
    }
    for (clerk, world) in pairs(seeded(30, 0, 0), &[("clerk.confirm", "off"), ("deletion.breaker.max", "3")]).await {
        assert!(backfilled(&world).await.proof.holds());
        take(&clerk, &clerk.clerk.ids(Kind::User, 0, 10));
        let found = reconciler(&world).reconcile(FULL).await.unwrap();
        assert_eq!((found.extra.count, found.held.len()), (10, 0), "{}: not under the breaker", world.name);
        assert_eq!(rows(&world).await.0, 20, "{}", world.name);
    }
}

#[tokio::test]
async fn who_is_absent_comes_back_by_clerks_api_under_the_same_stable_id() {
    for (clerk, world) in pairs(seeded(300, 20, 600), &[("clerk.confirm", "off")]).await {
        assert!(backfilled(&world).await.proof.holds());
        let (all, before) = (rows(&world).await, shown(&world).await);
        let (users, memberships) = take(&clerk, &clerk.clerk.ids(Kind::User, 10, 8));
        let organization = clerk.clerk.organization(&clerk.clerk.nth(Kind::Organization, 2).unwrap()).unwrap();
        let members = clerk.clerk.memberships_of_organization(organization["id"].as_str().unwrap());
        let members: Vec<Value> = members.iter().map(|id| clerk.clerk.membership(id).unwrap()).collect();
        clerk.clerk.delete_organization(organization["id"].as_str().unwrap());
        let alone = clerk.clerk.membership(&clerk.clerk.nth(Kind::Membership, 40).unwrap()).unwrap();
        clerk.clerk.delete_membership(alone["id"].as_str().unwrap());
        let found = reconciler(&world).reconcile(FULL).await.unwrap();
        assert_eq!((found.extra.count, found.is_unresolved()), (8 + 1 + 1, false), "{}: {found:?}", world.name);
        assert_eq!(rows(&world).await, at_clerk(&clerk), "{}", world.name);
        let emptied = "select count(*) as n from clerk_sync.users where status = 'deleted' and email is null and first_name is null";
        assert_eq!(number(&world.app.db, emptied).await, 8, "{}", world.name);
        assert_eq!(
            number(&world.app.db, "select count(*) as n from clerk_sync.subjects where deleted").await,
            0,
            "{}",
            world.name
        );
        // What was delivered before says nothing newer.
        let (late, replayed) = (
            users[0]["id"].as_str().unwrap(),
            json!({"type": "user.updated", "object": "event",
            "timestamp": users[0]["updated_at"], "data": users[0], "instance_id": clerk.clerk.instance_id()}),
        );
        world.deliver("msg_replayed", &replayed).await;
        world.drain().await;
        let row = world.inbox("msg_replayed").await;
        assert_eq!(row.outcome.as_deref(), Some("tombstoned"), "{}: {late} {:?}", world.name, row.reason);
        // Clerk shows them again, as they were.
        users.into_iter().for_each(|user| drop(clerk.clerk.put_user(user)));
        clerk.clerk.put_organization(organization);
        memberships.into_iter().chain(members).chain([alone]).for_each(|it| drop(clerk.clerk.put_membership(it)));
        let found = reconciler(&world).reconcile(FULL).await.unwrap();
        assert_eq!((found.extra.count, found.buried.count), (0, 0), "{}: {found:?}", world.name);
        assert_eq!(rows(&world).await, all, "{}", world.name);
        assert_eq!(shown(&world).await, before, "{}: with what they had", world.name);
        assert_eq!(
            number(&world.app.db, "select count(*) as n from clerk_sync.subjects where absent_version is not null")
                .await,
            0
        );
        let trail = texts(&world, "select action || ' ' || count(*) as name from clerk_sync.audit_log where actor = 'reconcile' and subject like 'user%' group by action order by action").await;
        assert_eq!(trail, ["comparison.user_absent 8", "user.updated 8"], "{}", world.name);
        let events = "select count(*) as n from clerk_sync.outbox where event = 'user.created' and topic = 'users' and effects = 'all'";
        assert_eq!(number(&world.app.db, events).await, 8, "{}: told", world.name);
        assert_eq!(reconciler(&world).reconcile(FULL).await.unwrap().count(), 0, "{}", world.name);
    }
}

#[tokio::test]
async fn who_is_absent_comes_back_by_a_newer_webhook_or_ensure_until_erased() {
    for (clerk, world) in pairs(seeded(40, 0, 0), &[("clerk.confirm", "off")]).await {
        assert!(backfilled(&world).await.proof.holds());
        let before = shown(&world).await;
        let (users, _) = take(&clerk, &clerk.clerk.ids(Kind::User, 0, 4));
        assert_eq!(reconciler(&world).reconcile(FULL).await.unwrap().extra.count, 4, "{}", world.name);
        let id = |n: usize| users[n]["id"].as_str().unwrap().to_owned();
        users.iter().for_each(|user| drop(clerk.clerk.put_user(user.clone())));
        // By a newer webhook.
        clerk.clerk.touch_user(&id(0), |user| user["username"] = "back".into());
        told(&world, &clerk, Kind::User, Change::Updated, &id(0)).await;
        world.drain().await;
        // By whoever needs them now.
        assert_eq!(world.app.ensurer().ensure(&id(1), std::time::Duration::ZERO).await.unwrap(), Ensured::Live);
        let live = |rows: &[String]| {
            rows.iter().filter(|row| row.ends_with(" active")).cloned().collect::<std::collections::BTreeSet<_>>()
        };
        let of = |n: usize| before.iter().find(|row| row.contains(&id(n))).unwrap().clone();
        let now = live(&shown(&world).await);
        assert!(now.contains(&of(0)) && now.contains(&of(1)) && !now.contains(&of(2)), "{}: {now:?}", world.name);
        // Erased is for good.
        let erased = run(&world, &["erase", &id(2)], &[]);
        assert!(erased.status.success(), "{}: {}", world.name, String::from_utf8_lossy(&erased.stderr));
        let answer = world.app.ensurer().ensure(&id(2), std::time::Duration::ZERO).await.unwrap();
        assert_eq!(answer, Ensured::Deleted, "{}", world.name);
        // And so is what Clerk says of somebody absent.
        clerk.clerk.delete_user(&id(3));
        told(&world, &clerk, Kind::User, Change::Deleted, &id(3)).await;
        world.drain().await;
        clerk.clerk.put_user(users[3].clone());
        let answer = world.app.ensurer().ensure(&id(3), std::time::Duration::ZERO).await.unwrap();
        assert_eq!(answer, Ensured::Deleted, "{}", world.name);
    }
}

#[tokio::test]
async fn who_is_deleted_here_and_alive_at_clerk_is_buried() {
    for (clerk, world) in pairs(seeded(40, 5, 60), &[("clerk.confirm", "off")]).await {
        assert!(backfilled(&world).await.proof.holds());
        let user = clerk.clerk.nth(Kind::User, 4).unwrap();
        let organization = clerk.clerk.nth(Kind::Organization, 1).unwrap();
        for (n, event_type, id) in [(1, "user.deleted", &user), (2, "organization.deleted", &organization)] {
            let body = json!({"type": event_type, "object": "event", "data": {"id": id, "deleted": true},
                "timestamp": Clock::system().now().timestamp_millis(), "instance_id": clerk.clerk.instance_id()});
            world.deliver(&format!("msg_{n}"), &body).await;
        }
        world.drain().await;
        for dry_run in [true, false] {
            let found = reconciler(&world).reconcile(Options { dry_run, ..FULL }).await.unwrap();
            assert_eq!(ids(&found.buried), [user.clone(), organization.clone()].into(), "{}: {found:?}", world.name);
            assert!(found.is_unresolved() && found.count() == 2, "{}: {found:?}", world.name);
        }
        let alerts = texts(&world, "select kind as name from clerk_sync.alerts").await;
        assert_eq!(alerts, ["reconcile.buried"], "{}", world.name);
        let proof = backfilled(&world).await.proof;
        assert!(!proof.holds() && proof.users.buried == 1 && proof.organizations.buried == 1, "{proof:?}");
        // A list that is older than the deletion is no proof.
        clerk.clerk.delete_user(&user);
        clerk.clerk.delete_organization(&organization);
        assert_eq!(reconciler(&world).reconcile(FULL).await.unwrap().buried.count, 0, "{}", world.name);
    }
}
