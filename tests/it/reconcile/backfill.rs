//! Everybody in: complete, once, also through kills and failures, while deliveries go on.

use std::{sync::Arc, time::Duration};

use clerk_sync::{
    clerk::simulated::{Failure, RetryAfter},
    reconcile::{
        RunError,
        backfill::{Meter, Options},
    },
};
use tokio_util::sync::CancellationToken;

use super::{at_clerk, backfilled, pairs, reconciler, rows, seeded, told};
use crate::support::{
    clerk::{Change, Kind},
    dump::number,
};

/// Every way in which Clerk, a proxy or the network fails; all of them pass.
pub(super) fn failures() -> Vec<Failure> {
    vec![
        Failure::TooMany(RetryAfter::Seconds(1)),
        Failure::TooMany(RetryAfter::Text("soon".into())),
        Failure::TooMany(RetryAfter::Nothing),
        Failure::Internal,
        Failure::BadGateway,
        Failure::Unavailable,
        Failure::EmptyNotFound,
        Failure::Html,
        Failure::Garbled,
        Failure::OtherShape,
        Failure::Truncated,
        Failure::Reset,
        Failure::Hang(Duration::from_secs(4)),
    ]
}

#[tokio::test]
async fn everybody_is_there_and_it_adds_up() {
    for (clerk, world) in pairs(seeded(700, 20, 600), &[]).await {
        let done = backfilled(&world).await;
        assert!(done.proof.holds() && done.proof.second_pass.is_none(), "{}: {:?}", world.name, done.proof);
        assert_eq!(rows(&world).await, at_clerk(&clerk), "{}", world.name);
        assert_eq!(number(&world.app.db, "select count(*) as n from clerk_sync.inbox").await, 0, "nothing was parked");
        let wrong = "select count(*) as n from clerk_sync.organizations o where o.members_count <>
            (select count(*) from clerk_sync.organization_memberships m where m.organization_id = o.id)";
        assert_eq!(number(&world.app.db, wrong).await, 0, "{}", world.name);
        let mailed =
            "select count(*) as n from clerk_sync.outbox where effects <> 'state' and event <> 'sync.finished'";
        assert_eq!(number(&world.app.db, mailed).await, 0, "{}: it is no news", world.name);
        // Again: nothing to do, nothing told.
        let before = number(&world.app.db, "select max(seq) as n from clerk_sync.outbox").await;
        let again = backfilled(&world).await;
        assert!(again.proof.holds() && !again.resumed);
        assert_eq!(
            number(&world.app.db, "select max(seq) as n from clerk_sync.outbox").await,
            before + 1,
            "but that it ended"
        );
        let created = again.outcomes.0["users"].get("created");
        assert_eq!(created, None, "{:?}", again.outcomes);
    }
}

#[tokio::test]
async fn deliveries_go_on_meanwhile_and_the_newer_stands() {
    for (clerk, world) in pairs(seeded(1_100, 10, 100), &[]).await {
        let (users, members) = (clerk.clerk.ids(Kind::User, 0, 60), clerk.clerk.ids(Kind::Membership, 0, 20));
        // Told before it is read: changes, deletions, and one that is created behind the cursor.
        for (n, id) in users.iter().enumerate() {
            if n % 3 == 0 {
                clerk.clerk.delete_user(id);
                told(&world, &clerk, Kind::User, Change::Deleted, id).await;
            } else {
                clerk.clerk.touch_user(id, |user| user["first_name"] = "Changed".into());
                told(&world, &clerk, Kind::User, Change::Updated, id).await;
            }
        }
        for id in &members {
            if clerk.clerk.delete_membership(id) {
                told(&world, &clerk, Kind::Membership, Change::Deleted, id).await;
            }
        }
        world.drain().await;
        // While it runs: deletions shift pages, and a cursor's person goes.
        let hook = clerk.clerk.clone();
        clerk.modes.every_requests(3, move |world| {
            if let Some(id) = world.ids(Kind::User, 499, 1).pop() {
                world.delete_user(&id);
            }
            let _ = hook.count(Kind::User);
        });
        let done = backfilled(&world).await;
        // Whoever was deleted at Clerk meanwhile and not told is what a second pass names.
        let found = done.proof.second_pass;
        let missing = found.as_ref().map_or(0, |drift| drift.missing.count + drift.stale.count);
        assert_eq!(missing, 0, "{}: {found:?}", world.name);
        clerk.modes.fail_share(0.0, []);
        let drift = reconciler(&world)
            .reconcile(clerk_sync::reconcile::drift::Options { full: true, ..Default::default() })
            .await
            .unwrap();
        assert_eq!((drift.missing.count, drift.stale.count), (0, 0), "{}: {drift:?}", world.name);
        let changed = "select count(*) as n from clerk_sync.users where first_name = 'Changed'";
        assert_eq!(number(&world.app.db, changed).await, 40, "{}", world.name);
    }
}

#[tokio::test]
async fn it_goes_on_where_it_was_killed() {
    for (clerk, world) in pairs(seeded(1_600, 10, 600), &[]).await {
        clerk.modes.reset_counts();
        let mut kills = 0;
        for after in [12, 9] {
            let stop = CancellationToken::new();
            let kill = stop.clone();
            clerk.modes.after_requests(after, move |_| kill.cancel());
            let killed = world.app.reconciler(stop).unwrap();
            let options = Options { concurrency: 2, restart: false };
            let ended = killed.backfill(options, Arc::new(Meter::default())).await;
            assert!(matches!(ended, Err(RunError::Interrupted)), "{}: {ended:?}", world.name);
            kills += 1;
        }
        let done = backfilled(&world).await;
        assert!(done.resumed && done.proof.holds(), "{}: {:?}", world.name, done.proof);
        assert_eq!(rows(&world).await, at_clerk(&clerk), "{}", world.name);
        let total = clerk.modes.counts().total();
        assert!(total < 70, "{}: {kills} kills, {total} requests: what was read is not read again", world.name);
        let runs = number(&world.app.db, "select count(*) as n from clerk_sync.sync_runs where state = 'done'").await;
        assert_eq!(runs, 1, "{}: one run, by three processes", world.name);
    }
}

#[tokio::test]
async fn the_person_after_whom_a_page_begins_may_be_gone() {
    for (clerk, world) in pairs(seeded(1_100, 0, 0), &[]).await {
        // Three requests count, the fourth is the first page; its last person goes before the second is asked for.
        clerk.modes.after_requests(4, |world| {
            let last = world.nth(Kind::User, 499).unwrap();
            world.delete_user(&last);
        });
        let options = Options { concurrency: 1, restart: false };
        let done = reconciler(&world).backfill(options, Arc::default()).await.unwrap();
        assert_eq!(clerk.modes.counts().answered(422), 1, "{}: the cursor was refused", world.name);
        // One too many here, whose deletion no delivery has told: that is what the second look names.
        let found = done.proof.second_pass.unwrap();
        assert_eq!((found.missing.count, found.stale.count, found.extra.count), (0, 0, 1), "{}", world.name);
        assert_eq!(rows(&world).await.0, at_clerk(&clerk).0 + 1, "{}", world.name);
    }
}

#[tokio::test]
async fn no_failure_of_clerks_loses_anybody() {
    for (clerk, world) in pairs(seeded(600, 10, 100), &[("clerk.timeout", "2s")]).await {
        clerk.modes.reset_counts();
        clerk.modes.fail_share(0.3, failures());
        let started = std::time::Instant::now();
        let done = backfilled(&world).await;
        clerk.modes.fail_share(0.0, []);
        assert!(done.proof.holds(), "{}: {:?}", world.name, done.proof);
        assert_eq!(rows(&world).await, at_clerk(&clerk), "{}", world.name);
        let (requests, took) = (clerk.modes.counts().total(), started.elapsed());
        assert!(requests < 150, "{}: {requests} requests in {took:?}: no busy loop", world.name);
    }
}

#[tokio::test]
async fn a_refused_key_ends_it_with_a_clear_word() {
    for (_clerk, world) in pairs(seeded(10, 1, 5), &[("clerk.secret_key", "sk_test_of_another")]).await {
        let reconciler = reconciler(&world);
        let options = Options { concurrency: 1, restart: false };
        let ended = tokio::time::timeout(Duration::from_secs(10), reconciler.backfill(options, Arc::default()));
        let error = ended.await.unwrap().unwrap_err().to_string();
        assert!(error.contains("refuses the secret key (401)") && !error.contains("sk_test"), "{error}");
    }
}
