//! What time brings where Clerk can be asked: parents that do not come, and silence.

use std::time::Duration;

use clerk_sync::{
    clerk::simulated::{Endpoint, objects},
    clock::Clock,
    reconcile::{Reconciler, RunError, drift::Options, ensure::Ensured},
    upkeep::{schedule::Schedule, silence},
};

use super::{nobody, pairs, texts, told};
use crate::support::{
    clerk::{Change, Kind},
    dump::number,
    world::World,
};

fn ahead(by: chrono::Duration) -> Clock {
    Clock::from_fn(move || Clock::system().now() + by)
}

fn later(world: &World, by: chrono::Duration) -> Reconciler {
    Reconciler { clock: ahead(by), ..super::reconciler(world) }
}

#[tokio::test]
async fn a_parent_that_does_not_come_is_fetched_once_for_all_who_wait() {
    let at = Clock::system().now() - chrono::Duration::minutes(1);
    for (clerk, world) in pairs(nobody, &[("waiting.deadline", "10m")]).await {
        let owner = clerk.clerk.put_user(objects::user("own", "Er", "owner@example.com", at));
        let organization = clerk.clerk.put_organization(objects::organization("Acme", None, &owner, at));
        let mut members = Vec::new();
        for n in 0..30 {
            let user = clerk.clerk.put_user(objects::user("m", "Ember", &format!("m{n}@example.com"), at));
            members.push(clerk.clerk.put_membership(objects::membership(&organization, &user, "org:member", at)));
            told(&world, &clerk, Kind::User, Change::Created, &user).await;
        }
        for id in &members {
            told(&world, &clerk, Kind::Membership, Change::Created, id).await;
        }
        // One of a person and an organisation that Clerk does not know (any more).
        let ghost = serde_json::json!({"type": "organizationMembership.created", "object": "event", "timestamp": 1_760_000_000_000_u64,
            "data": {"id": "orgmem_ghost", "role": "org:member", "organization": {"id": "org_ghost"},
                "public_user_data": {"user_id": "user_ghost"}, "created_at": 1_760_000_000_000_u64, "updated_at": 1_760_000_000_000_u64}});
        world.deliver("msg_ghost", &ghost).await;
        // One that names no user waits for what no list of Clerk's has by its id.
        let lost = serde_json::json!({"type": "organizationMembership.updated", "object": "event", "timestamp": 1_760_000_000_000_u64,
            "data": {"id": "orgmem_lost", "role": "org:member", "organization": {"id": organization},
                "created_at": 1_760_000_000_000_u64, "updated_at": 1_760_000_000_000_u64}});
        world.deliver("msg_lost", &lost).await;
        world.drain().await;
        clerk.modes.reset_counts();
        let early = later(&world, chrono::Duration::minutes(9)).fetch_parents().await.unwrap();
        assert_eq!((early.came, early.gone), (0, 0), "{}", world.name);
        let due = later(&world, chrono::Duration::minutes(11));
        let fetched = due.fetch_parents().await.unwrap();
        assert_eq!((fetched.came, fetched.gone, fetched.ended), (1, 2, 1), "{}", world.name);
        assert_eq!(clerk.modes.counts().of(Endpoint::Organization), 2, "{}: each once", world.name);
        due.worker.drain().await.unwrap();
        assert_eq!(super::rows(&world).await.2, 30, "{}", world.name);
        assert_eq!(world.inbox("msg_lost").await.state, "waiting", "{}", world.name);
        let row = world.inbox("msg_ghost").await;
        assert_eq!((row.state.as_str(), row.reason.as_deref()), ("rejected", Some("gone at Clerk")));
        let dead = number(&world.app.db, "select count(*) as n from clerk_sync.subjects where deleted").await;
        assert_eq!(dead, 0, "{}: no tombstone", world.name);
        // One of them comes after all: it waits for the other again; then the other.
        clerk.clerk.put_user(serde_json::json!({"id": "user_ghost", "first_name": "G", "last_name": "Host",
            "email_addresses": [{"id": "idn_1", "email_address": "ghost@example.com", "verification": {"status": "verified", "strategy": "email_code"}}]}));
        clerk.clerk.put_organization(serde_json::json!({"id": "org_ghost", "name": "Ghosts"}));
        told(&world, &clerk, Kind::User, Change::Created, "user_ghost").await;
        world.drain().await;
        assert_eq!(world.inbox("msg_ghost").await.state, "waiting", "{}", world.name);
        told(&world, &clerk, Kind::Organization, Change::Created, "org_ghost").await;
        world.drain().await;
        assert_eq!(world.inbox("msg_ghost").await.state, "done", "{}", world.name);
    }
}

#[tokio::test]
async fn silence_is_told_where_clerk_has_people_whom_we_do_not_know() {
    for (clerk, world) in pairs(nobody, &[("clerk.confirm", "off")]).await {
        let start = Clock::system().now();
        let first = clerk.clerk.put_user(objects::user("a", "B", "a@example.com", start));
        told(&world, &clerk, Kind::User, Change::Created, &first).await;
        world.drain().await;
        let hours = |n| chrono::Duration::hours(n);
        let after = Duration::from_secs(6 * 3_600);
        let listen = async |n| silence::listen(&later(&world, hours(n)), after, start).await.unwrap();
        assert_eq!(listen(5).await, 0, "not for long enough");
        assert_eq!(listen(7).await, 0, "{}: a quiet night is no alarm", world.name);
        // Somebody signed up, and was brought in by other ways.
        let ensured = clerk.clerk.put_user(objects::user("e", "F", "e@example.com", start + hours(6)));
        assert_eq!(world.app.ensurer().ensure(&ensured, Duration::ZERO).await.unwrap(), Ensured::Live);
        assert_eq!(listen(7).await, 0, "{}: nobody is missing", world.name);
        // Somebody signed up, and nothing came.
        clerk.clerk.put_user(objects::user("c", "D", "c@example.com", start + hours(6) + chrono::Duration::seconds(1)));
        assert_eq!(listen(7).await, 1, "{}", world.name);
        assert_eq!(listen(8).await, 0, "{}: told once", world.name);
        let kinds = texts(&world, "select kind as name from clerk_sync.alerts").await;
        assert_eq!(kinds, ["deliveries.silent"], "{}", world.name);
    }
}

#[tokio::test]
async fn comparisons_are_due_once_there_was_one_over_everybody() {
    for (_clerk, world) in pairs(super::seeded(5, 1, 3), &[]).await {
        let due = async |hours| {
            let with = later(&world, chrono::Duration::hours(hours));
            let due = Schedule { with, silence: Duration::ZERO }.due().await.unwrap();
            due.map(|options| (options.full, options.dry_run, options.scheduled))
        };
        assert_eq!(due(100).await, None, "{}: before a backfill everybody is missing", world.name);
        super::backfilled(&world).await;
        assert_eq!(due(0).await, Some((true, false, true)), "{}: nothing has been compared yet", world.name);
        let options = due(0)
            .await
            .map(|_| Options { full: true, dry_run: false, scheduled: true, allow_removals: None })
            .unwrap();
        assert_eq!(super::reconciler(&world).reconcile(options).await.unwrap().count(), 0, "{}", world.name);
        assert_eq!(due(0).await, None, "{}", world.name);
        assert_eq!(due(2).await, Some((false, false, true)), "{}: what changed lately", world.name);
        assert_eq!(due(25).await, Some((true, false, true)), "{}: everything", world.name);
    }
}

#[tokio::test]
async fn of_two_replicas_one_compares() {
    for (clerk, world) in pairs(super::seeded(5, 1, 3), &[]).await {
        super::backfilled(&world).await;
        clerk.modes.set_latency(Duration::from_secs(1), Duration::ZERO);
        let (one, other) = (super::reconciler(&world), super::reconciler(&world));
        let full = Options { full: true, dry_run: false, scheduled: true, allow_removals: None };
        let first = tokio::spawn(async move { one.reconcile(full).await });
        while number(&world.app.db, "select count(*) as n from clerk_sync.sync_runs where kind = 'reconcile'").await
            == 0
        {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let second = other.reconcile(full).await;
        assert!(matches!(second, Err(RunError::Busy("reconcile"))), "{}: {second:?}", world.name);
        first.await.unwrap().unwrap();
    }
}
