//! What deliveries did not bring: found exactly, repaired, and found no more.

use std::collections::BTreeSet;

use clerk_sync::{clerk::simulated::objects, clock::Clock, reconcile::drift::Options};

use super::{at_clerk, backfilled, ids, pairs, reconciler, rows, seeded, texts, told};
use crate::support::{
    clerk::{Change, Kind, Simulated},
    dump::number,
    world::World,
};

const FULL: Options = Options { full: true, dry_run: false, scheduled: false, allow_removals: None };

/// A history of changes, of which every `lost`th delivery is lost. Answers what that makes differ:
/// (missing, stale, extra).
async fn history(
    world: &World,
    clerk: &Simulated,
    events: usize,
    lost: usize,
) -> (BTreeSet<String>, BTreeSet<String>, BTreeSet<String>) {
    let mut random = fastrand::Rng::with_seed(42);
    let mut last_lost: std::collections::BTreeMap<String, Option<Change>> = Default::default();
    let mut known: BTreeSet<String> = clerk.clerk.ids(Kind::User, 0, u64::MAX).into_iter().collect();
    for n in 0..events {
        let all = clerk.clerk.count(Kind::User);
        let id = clerk.clerk.nth(Kind::User, random.u64(0..all)).unwrap();
        let (id, change) = match random.u8(0..10) {
            0 => {
                clerk.clerk.delete_user(&id);
                (id, Change::Deleted)
            }
            1..=2 => {
                let at = Clock::system().now();
                let user =
                    clerk_sync::clerk::simulated::objects::user("New", "Comer", &format!("n{n}@example.com"), at);
                (clerk.clerk.put_user(user), Change::Created)
            }
            _ => {
                clerk.clerk.touch_user(&id, |user| user["first_name"] = format!("N{n}").into());
                (id, Change::Updated)
            }
        };
        if n % lost == lost - 1 {
            last_lost.insert(id, Some(change));
        } else {
            if change == Change::Deleted || last_lost.contains_key(&id) {
                last_lost.insert(id.clone(), None);
            }
            known.insert(id.clone());
            told(world, clerk, Kind::User, change, &id).await;
        }
    }
    world.drain().await;
    let (mut missing, mut stale, mut extra) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for (id, lost) in last_lost {
        match lost {
            None => {}
            Some(Change::Deleted) if known.contains(&id) => drop(extra.insert(id)),
            // Neither its coming nor its going was told.
            Some(Change::Deleted) => {}
            Some(_) if known.contains(&id) => drop(stale.insert(id)),
            Some(_) => drop(missing.insert(id)),
        }
    }
    (missing, stale, extra)
}

async fn lost_deliveries(users: u64, events: usize, lost: usize) {
    for (clerk, world) in pairs(seeded(users, 0, 0), &[("clerk.confirm", "off")]).await {
        assert!(backfilled(&world).await.proof.holds());
        let (missing, stale, extra) = history(&world, &clerk, events, lost).await;
        assert!(!missing.is_empty() && !stale.is_empty() && !extra.is_empty());
        let looked = reconciler(&world).reconcile(Options { dry_run: true, ..FULL }).await.unwrap();
        let found = reconciler(&world).reconcile(FULL).await.unwrap();
        for drift in [&looked, &found] {
            assert_eq!(ids(&drift.missing), missing, "{}: dry {}", world.name, drift.dry_run);
            assert_eq!(ids(&drift.stale), stale, "{}: dry {}", world.name, drift.dry_run);
            assert_eq!(ids(&drift.extra), extra, "{}: dry {}", world.name, drift.dry_run);
            assert_eq!(drift.conflicting.count, 0);
        }
        assert!(found.stale.items.iter().all(|item| item.fields.contains(&"first_name".to_owned())));
        assert_eq!(rows(&world).await, at_clerk(&clerk), "{}", world.name);
        let again = reconciler(&world).reconcile(FULL).await.unwrap();
        assert_eq!(again.count(), 0, "{}: {again:?}", world.name);
        let alerts = "select count(*) as n from clerk_sync.alerts where kind = 'reconcile.drift'";
        assert_eq!(number(&world.app.db, alerts).await, 1, "{}", world.name);
        let runs =
            texts(&world, "select mode || ' ' || state as name from clerk_sync.sync_runs where kind = 'reconcile'")
                .await;
        assert_eq!(runs, ["full done", "full done"], "{}", world.name);
    }
}

#[tokio::test]
async fn exactly_what_was_lost_is_found_and_found_no_more() {
    lost_deliveries(150, 400, 10).await;
}

#[tokio::test]
#[ignore = "minutes: tests/run --long"]
async fn one_in_a_hundred_of_twenty_thousand() {
    lost_deliveries(4_000, 20_000, 100).await;
}

#[tokio::test]
async fn an_incremental_run_looks_at_what_changed_lately() {
    for (clerk, world) in pairs(seeded(550, 10, 50), &[("clerk.confirm", "off")]).await {
        assert!(backfilled(&world).await.proof.holds());
        assert_eq!(reconciler(&world).reconcile(FULL).await.unwrap().count(), 0, "{}", world.name);
        let id = clerk.clerk.nth(Kind::User, 3).unwrap();
        clerk.clerk.touch_user(&id, |user| user["last_name"] = "Lost".into());
        let organization = clerk.clerk.nth(Kind::Organization, 3).unwrap();
        clerk.clerk.touch_organization(&organization, |it| it["name"] = "Lost".into());
        clerk.modes.reset_counts();
        let found = reconciler(&world).reconcile(Options::default()).await.unwrap();
        assert_eq!(ids(&found.stale), [id, organization].into(), "{}", world.name);
        assert!(clerk.modes.counts().total() <= 4, "{:?}", clerk.modes.counts());
        assert_eq!(reconciler(&world).reconcile(Options::default()).await.unwrap().count(), 0, "{}", world.name);
    }
}

#[tokio::test]
async fn organisations_and_memberships_too() {
    for (clerk, world) in pairs(seeded(300, 20, 500), &[("clerk.confirm", "off")]).await {
        assert!(backfilled(&world).await.proof.holds());
        let gone = clerk.clerk.nth(Kind::Organization, 1).unwrap();
        clerk.clerk.delete_organization(&gone);
        let left = clerk.clerk.nth(Kind::Membership, 8).unwrap();
        let pair = |membership: &serde_json::Value| {
            let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
            format!("{}/{}", text(&membership["organization"]["id"]), text(&membership["public_user_data"]["user_id"]))
        };
        let left_pair = pair(&clerk.clerk.membership(&left).unwrap());
        clerk.clerk.delete_membership(&left);
        let promoted = clerk.clerk.nth(Kind::Membership, 20).unwrap();
        clerk.clerk.touch_membership(&promoted, |it| it["role"] = "org:chair".into());
        let promoted_pair = pair(&clerk.clerk.membership(&promoted).unwrap());
        let found = reconciler(&world).reconcile(FULL).await.unwrap();
        assert_eq!(ids(&found.extra), [gone, left_pair].into(), "{}", world.name);
        assert_eq!(ids(&found.stale), [promoted_pair].into(), "{}", world.name);
        assert_eq!(rows(&world).await, at_clerk(&clerk), "{}", world.name);
        assert_eq!(reconciler(&world).reconcile(FULL).await.unwrap().count(), 0, "{}", world.name);
    }
}

#[tokio::test]
async fn what_clerk_no_longer_has_never_goes_all_at_once() {
    let keys = [("clerk.confirm", "off"), ("reconcile.extras_max", "12"), ("reconcile.max_removal_share", "1")];
    for (clerk, world) in pairs(seeded(60, 0, 0), &keys).await {
        assert!(backfilled(&world).await.proof.holds());
        let all = clerk.clerk.count(Kind::User);
        for id in clerk.clerk.ids(Kind::User, 0, 30) {
            clerk.clerk.delete_user(&id);
        }
        for (extra, left) in [(12, 18), (12, 6), (6, 0), (0, 0)] {
            let found = reconciler(&world).reconcile(FULL).await.unwrap();
            assert_eq!((found.extra.count, found.left), (extra, left), "{}", world.name);
        }
        assert_eq!(rows(&world).await.0, i64::try_from(all).unwrap() - 30, "{}", world.name);
    }
}

#[tokio::test]
async fn a_list_that_lacks_somebody_proves_nothing() {
    for (clerk, world) in pairs(seeded(120, 4, 100), &[("clerk.confirm", "off")]).await {
        assert!(backfilled(&world).await.proof.holds());
        let before = rows(&world).await;
        // The lists skip whoever is fresh; asked for by name they are still there, once they are readable.
        clerk.modes.set_freshness(std::time::Duration::from_secs(100 * 365 * 86_400));
        let modes = clerk.modes.clone();
        clerk.modes.after_requests(3, move |_| modes.set_freshness(std::time::Duration::ZERO));
        let found = reconciler(&world).reconcile(FULL).await.unwrap();
        assert_eq!(found.extra.count, 0, "{}: {found:?}", world.name);
        assert_eq!(rows(&world).await, before, "{}", world.name);
        clerk.modes.set_freshness(std::time::Duration::ZERO);
    }
}

#[tokio::test]
async fn a_delivery_that_is_about_to_be_applied_is_not_lost() {
    for (clerk, world) in pairs(seeded(50, 0, 0), &[("clerk.confirm", "off")]).await {
        assert!(backfilled(&world).await.proof.holds());
        let id = clerk.clerk.nth(Kind::User, 3).unwrap();
        clerk.clerk.touch_user(&id, |user| user["last_name"] = "Late".into());
        told(&world, &clerk, Kind::User, Change::Updated, &id).await;
        let found = reconciler(&world).reconcile(FULL).await.unwrap();
        assert_eq!((found.count(), found.in_flight), (0, 1), "{}", world.name);
        assert_eq!(number(&world.app.db, "select count(*) as n from clerk_sync.alerts").await, 0, "{}", world.name);
    }
}

#[tokio::test]
async fn who_is_kept_out_by_a_rule_is_no_difference_and_what_waits_for_them_only_once() {
    for (clerk, world) in pairs(seeded(5, 2, 4), &[("clerk.confirm", "off")]).await {
        assert!(backfilled(&world).await.proof.holds());
        let at = Clock::system().now();
        let nameless = clerk.clerk.put_user(objects::user("x", "y", "nameless@example.com", at));
        clerk.clerk.touch_user(&nameless, |user| {
            user["first_name"] = serde_json::Value::Null;
            user["last_name"] = serde_json::Value::Null;
        });
        let organization = clerk.clerk.nth(Kind::Organization, 0).unwrap();
        clerk.clerk.put_membership(objects::membership(&organization, &nameless, "org:member", at));
        let found = reconciler(&world).reconcile(FULL).await.unwrap();
        assert_eq!((found.refused, found.missing.count), (1, 1), "{}: {found:?}", world.name);
        assert_eq!(found.missing.items[0].kind, "memberships", "{}", world.name);
        for _ in 0..2 {
            let again = reconciler(&world).reconcile(FULL).await.unwrap();
            assert_eq!((again.count(), again.refused), (0, 0), "{}: {again:?}", world.name);
        }
        let parked = "select count(*) as n from clerk_sync.inbox where origin = 'reconcile'";
        assert_eq!(number(&world.app.db, parked).await, 2, "{}: a row each, however often it is asked", world.name);
        let proof = backfilled(&world).await.proof;
        assert!(proof.holds() && proof.second_pass.is_none(), "{}: parked, and accounted for: {proof:?}", world.name);
    }
}
