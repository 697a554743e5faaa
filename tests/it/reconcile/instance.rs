//! The pinned instance: a secret key, a database or deliveries of another one are refused by name, before anything changes.

use std::time::Duration;

use clerk_sync::{
    app::{App, Role},
    clerk::api::ApiError,
    clock::Clock,
    instance::InstanceError,
    reconcile::{RunError, drift::Options, ensure::Ensured},
};
use tokio_util::sync::CancellationToken;

use super::{backfilled, pairs, reconciler, rows, seeded, texts, told};
use crate::support::{
    clerk::{Change, Clerk, INSTANCE, Kind, Simulated},
    dump::number,
    people::user,
    process::run,
    world::{World, worlds},
};

const OTHER: &str = "ins_other";
const FULL: Options = Options { full: true, dry_run: false, scheduled: false, allow_removals: None };

/// The API of another instance, which knows nobody of the first.
async fn other() -> Simulated {
    Simulated::of_instance(Clerk::seeded(3, 0, 0, 99, Clock::system()), OTHER).await
}

/// The same database under another key.
async fn swapped(world: &World, other: &Simulated, more: &[(&'static str, &str)]) -> App {
    world.replica(&other.keys(more)).await
}

fn names_both(error: &dyn std::fmt::Display) {
    let error = error.to_string();
    assert!(error.contains(INSTANCE) && error.contains(OTHER), "{error}");
    assert!(error.contains("CLERK_SECRET_KEY") && error.contains("--adopt"), "the remedy: {error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_of_another_instance_removes_nobody() {
    for (clerk, world) in pairs(seeded(300, 10, 200), &[("clerk.confirm", "off")]).await {
        assert!(backfilled(&world).await.proof.holds());
        let before = rows(&world).await;
        let other = other().await;
        let app = swapped(&world, &other, &[]).await;
        let with = app.reconciler(CancellationToken::new()).unwrap();
        for options in
            [FULL, Options { scheduled: true, ..FULL }, Options::default(), Options { dry_run: true, ..FULL }]
        {
            let error = with.reconcile(Options { allow_removals: Some(1_000), ..options }).await.unwrap_err();
            assert!(matches!(error, RunError::Instance(InstanceError::OtherKey { .. })), "{}: {error}", world.name);
            names_both(&error);
        }
        let error = with
            .backfill(clerk_sync::reconcile::backfill::Options { concurrency: 1, restart: false }, Default::default())
            .await;
        names_both(&error.unwrap_err());
        // The schedule of `serve` finds it due, and is refused alike; `serve` itself does not start.
        let error = app.clone().start(&Role::ALL.into()).await.unwrap_err();
        names_both(&error);
        let id = other.clerk.nth(Kind::User, 0).unwrap();
        let ensured = app.ensurer().ensure(&id, Duration::ZERO).await.unwrap();
        assert!(matches!(ensured, Ensured::Unanswered(_)), "{}: {ensured:?}", world.name);
        assert_eq!(rows(&world).await, before, "{}", world.name);
        assert_eq!(
            number(
                &world.app.db,
                "select count(*) as n from clerk_sync.subjects where deleted or absent_version is not null"
            )
            .await,
            0
        );
        let alerts = texts(&world, "select text as name from clerk_sync.alerts where kind = 'instance.mismatch'").await;
        assert_eq!(alerts.len(), 1, "{}: {alerts:?}", world.name);
        names_both(&alerts[0]);
        // The command line says so too.
        let keys = [("CLERK_SECRET_KEY", "sk_test_simulated"), ("CLERK_API_URL", other.url.as_str())];
        let output = run(&world, &["reconcile", "--full"], &keys);
        assert_eq!(output.status.code(), Some(1));
        names_both(&String::from_utf8_lossy(&output.stderr));
        let doctor = run(&world, &["doctor"], &keys);
        let found = String::from_utf8_lossy(&doctor.stdout).into_owned();
        let line =
            found.lines().find(|line| line.starts_with("FAIL") && line.contains("instance ")).unwrap().to_owned();
        assert!(line.contains(INSTANCE) && line.contains(OTHER), "{}: {line}", world.name);
        // With the right key everything is as it was.
        assert_eq!(reconciler(&world).reconcile(FULL).await.unwrap().count(), 0, "{}", world.name);
        drop(clerk);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn new_people_are_not_judged_by_another_instance() {
    for (_clerk, world) in pairs(seeded(5, 0, 0), &[]).await {
        let other = other().await;
        let required = swapped(&world, &other, &[("clerk.confirm", "required")]).await;
        world.deliver("msg_ada", &user("ada", 1)).await;
        required.worker().drain().await.unwrap();
        let row = world.inbox("msg_ada").await;
        assert_eq!(
            (row.state.as_str(), row.reason.as_deref()),
            ("pending", Some("confirm: Clerk cannot be asked now"))
        );
        assert_eq!(other.modes.counts().of(clerk_sync::clerk::simulated::Endpoint::Users), 0, "{}", world.name);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_contact_pins_and_deliveries_never_do() {
    for (clerk, world) in pairs(seeded(5, 0, 0), &[("clerk.confirm", "off")]).await {
        let pinned =
            async || texts(&world, "select value as name from clerk_sync.meta where key = 'instance_id'").await;
        assert_eq!(pinned().await, [INSTANCE], "{}", world.name);
        let mut foreign = user("eve", 1);
        foreign["instance_id"] = OTHER.into();
        world.deliver("msg_eve", &foreign).await;
        world.deliver("msg_ada", &user("ada", 1)).await;
        world.drain().await;
        assert_eq!(world.inbox("msg_eve").await.reason.as_deref(), Some("wrong instance"), "{}", world.name);
        assert_eq!(world.inbox("msg_ada").await.state, "done", "{}", world.name);
        drop(clerk);
    }
    // Without a key nothing is pinned, and deliveries of any instance are applied.
    for world in worlds(&[]).await {
        let mut foreign = user("eve", 1);
        foreign["instance_id"] = OTHER.into();
        world.deliver("msg_eve", &foreign).await;
        world.deliver("msg_ada", &user("ada", 1)).await;
        world.drain().await;
        assert_eq!(
            number(&world.app.db, "select count(*) as n from clerk_sync.meta where key = 'instance_id'").await,
            0
        );
        assert_eq!(number(&world.app.db, "select count(*) as n from clerk_sync.users").await, 2, "{}", world.name);
        let doctor = String::from_utf8(run(&world, &["doctor"], &[]).stdout).unwrap();
        assert!(doctor.lines().any(|line| line.starts_with("warn") && line.contains("nothing pins one")), "{doctor}");
    }
}

/// Clerk is down when `serve` starts with a key of another instance: the first use of its API finds out.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clerk_need_not_be_up_at_the_start() {
    for (clerk, world) in pairs(seeded(20, 0, 0), &[("clerk.confirm", "off")]).await {
        assert!(backfilled(&world).await.proof.holds());
        let other = other().await;
        let app = swapped(&world, &other, &[]).await;
        other.modes.fail_share(1.0, [clerk_sync::clerk::simulated::Failure::Unavailable]);
        let running = app.clone().start(&Role::ALL.into()).await.unwrap();
        other.modes.fail_share(0.0, []);
        tokio::time::sleep(Duration::from_millis(1_100)).await;
        names_both(&app.reconciler(CancellationToken::new()).unwrap().reconcile(FULL).await.unwrap_err());
        assert!(running.stop().await);
        assert_eq!(rows(&world).await.0, 20, "{}", world.name);
        drop(clerk);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_clerk_refuses_is_told_as_such() {
    for (clerk, world) in pairs(seeded(5, 0, 0), &[("clerk.confirm", "off")]).await {
        let app = world.replica(&clerk.keys(&[("clerk.secret_key", "sk_test_revoked")])).await;
        let error = app.reconciler(CancellationToken::new()).unwrap().reconcile(FULL).await.unwrap_err();
        let refused = RunError::Instance(InstanceError::Unanswered(ApiError::Forbidden { status: 401 }));
        assert_eq!(error.to_string(), refused.to_string(), "{}", world.name);
        assert!(error.to_string().contains("401"), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_instance_is_adopted_on_purpose() {
    for (clerk, world) in pairs(seeded(20, 0, 0), &[("clerk.confirm", "off")]).await {
        let other = other().await;
        let keys = [("CLERK_SECRET_KEY", "sk_test_simulated"), ("CLERK_API_URL", other.url.as_str())];
        let shown = run(&world, &["instance", "--json"], &keys);
        let told_of: serde_json::Value = serde_json::from_slice(&shown.stdout).unwrap();
        assert_eq!(
            (shown.status.code(), &told_of["pinned"], &told_of["key"]),
            (Some(1), &INSTANCE.into(), &OTHER.into())
        );
        // Not against what the configuration says.
        let against = [keys[0], keys[1], ("CLERK_SYNC__CLERK__INSTANCE_ID", INSTANCE)];
        let refused = run(&world, &["instance", "--adopt"], &against);
        let complaint = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(!refused.status.success() && complaint.contains(INSTANCE) && complaint.contains(OTHER), "{complaint}");
        assert!(run(&world, &["instance", "--adopt"], &keys).status.success(), "{}", world.name);
        assert!(run(&world, &["instance"], &keys).status.success(), "{}", world.name);
        let trail = texts(&world, "select action as name from clerk_sync.audit_log where subject = 'instance'").await;
        assert_eq!(trail, ["instance.adopted"], "{}", world.name);
        // A server that runs follows: what was its own is another's now.
        tokio::time::sleep(Duration::from_secs(1)).await;
        let id = clerk.clerk.nth(Kind::User, 0).unwrap();
        told(&world, &clerk, Kind::User, Change::Created, &id).await;
        world.drain().await;
        assert_eq!(
            texts(&world, "select reason as name from clerk_sync.inbox").await,
            ["wrong instance"],
            "{}",
            world.name
        );
        names_both(&reconciler(&world).reconcile(FULL).await.unwrap_err());
    }
}
