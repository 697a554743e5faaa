//! **Waiting** by the ten thousand: the transaction that brings a parent wakes no more than a chunk of those who wait,
//! the others follow, and nobody is woken without end.

use std::time::Duration;

use clerk_sync::{
    clerk::decode::decode,
    domain::{Event, State},
    inbox::due::{self, Bounds},
    sync::commit::commit,
};

use super::{execute, number, populate};
use crate::support::{
    organizations::{dissolved, organization},
    people::deleted,
    world::{World, worlds},
};

/// What one transaction wakes.
const CHUNK: u64 = 5_000;

/// Memberships of `user_p1…` in `org_books` that have been waiting for long.
async fn waiting(world: &World, members: usize) {
    let body = r#"{"type":"organizationMembership.created","data":{"id":"orgmem_' || n || '","role":"org:member","permissions":[],"created_at":17600000' || (10000 + n) || ',"updated_at":17600000' || (10000 + n) || ',"organization":{"id":"org_books"},"public_user_data":{"user_id":"user_p' || n || '"}}}"#;
    // Thirteen digits whatever `n` is.
    let body = body.replace("17600000' || (10000 + n) || '", "' || (1760000000000 + n) || '");
    let (series, bytes, time) = if world.name == "postgres" {
        (format!("select n from generate_series(1, {members}) n"), format!("convert_to('{body}', 'UTF8')"), "now()")
    } else {
        let series = format!(
            "with recursive s (n) as (select 1 union all select n + 1 from s where n < {members}) select n from s"
        );
        (series, format!("cast('{body}' as blob)"), "'2026-01-01T00:00:00.000+00:00'")
    };
    execute(
        world,
        &format!(
            "insert into clerk_sync.inbox (svix_id, event_type, subject, user_ids, body, received_at, state, outcome, reason, available_at, awaits, awaits_too, finished_at)
                select 'msg_m' || n, 'organizationMembership.created', 'org_books/user_p' || n, '[]', {bytes}, {time}, 'waiting', 'waiting',
                    'waiting: put here by a test', {time}, 'user_p' || n, 'org_books', {time} from ({series}) x"
        ),
    )
    .await;
}

/// One batch, as a replica runs it; answers how many parked rows it woke.
async fn one_batch(world: &World) -> u64 {
    let app = &world.app;
    let bounds = Bounds { rows: 512, bytes: usize::MAX };
    let rows = due::read(&app.db, None, bounds, app.clock.now()).await.unwrap();
    let events: Vec<Event> = rows.into_iter().map(|row| decode(row.stored, None)).collect();
    let events: Vec<&Event> = events.iter().collect();
    commit(&app.db, State::Pending, &events, &app.policy, &app.clock).await.unwrap().woken
}

async fn states(world: &World, state: &str) -> i64 {
    number(world, &format!("select count(*) as n from clerk_sync.inbox where state = '{state}'")).await
}

async fn all_apply(members: usize) {
    for world in worlds(&[]).await {
        populate(&world, "p", members).await;
        waiting(&world, members).await;
        world.deliver("msg_org", &organization("books", "p7", 1)).await;
        let woken = one_batch(&world).await;
        assert_eq!(woken, CHUNK, "{}: the transaction that brings it is short", world.name);
        assert_eq!(states(&world, "waiting").await, members as i64 - CHUNK as i64);
        world.drain().await;
        assert_eq!(states(&world, "done").await, members as i64 + 1, "{}", world.name);
        assert_eq!(
            number(&world, "select count(*) as n from clerk_sync.organization_memberships").await,
            members as i64
        );
        let count = "select members_count as n from clerk_sync.organizations o join clerk_sync.users u on u.id = o.owner_id where u.clerk_id = 'user_p7'";
        assert_eq!(number(&world, count).await, members as i64, "{}", world.name);
        assert_eq!(number(&world, "select count(*) as n from clerk_sync.wakes").await, 0, "{}", world.name);
        assert_eq!(number(&world, "select max(attempts) as n from clerk_sync.inbox").await, 0);
    }
}

#[tokio::test]
async fn an_organisation_that_thousands_wait_for() {
    all_apply(5_600).await;
}

#[tokio::test]
#[ignore = "long: tests/run --long"]
async fn an_organisation_that_fifty_thousand_wait_for() {
    all_apply(50_000).await;
}

/// The organisation comes, the people do not: each of the memberships is looked at, goes on waiting, and that is all.
#[tokio::test]
async fn who_waits_for_somebody_else_too_is_not_woken_without_end() {
    for world in worlds(&[]).await {
        let members = CHUNK as usize + 100;
        waiting(&world, members).await;
        world.deliver("msg_org", &organization("books", "p7", 1)).await;
        let drained = tokio::time::timeout(Duration::from_secs(50), world.drain()).await;
        let drained = drained.unwrap_or_else(|_| panic!("{}: it never comes to rest", world.name));
        assert!(drained <= 2 * members + 1, "{}: {drained} looked at", world.name);
        assert_eq!(states(&world, "waiting").await, members as i64, "{}", world.name);
        assert_eq!(number(&world, "select count(*) as n from clerk_sync.wakes").await, 0, "{}", world.name);
        // The last of them comes after all, and their membership with them.
        populate(&world, "p", 3).await;
        world.deliver("msg_gone", &deleted("p9", 1)).await;
        world.drain().await;
        assert_eq!(world.inbox("msg_m9").await.outcome.as_deref(), Some("tombstoned"), "{}", world.name);
        // And the organisation goes: so do all who wait for it, those too that its coming had been told already.
        let far = "insert into clerk_sync.wakes (parent, since, woken_to) values ('org_books', '2026-01-01T00:00:00.000+00:00', 1000000)";
        execute(&world, far).await;
        world.deliver("msg_dissolved", &dissolved("books", 1)).await;
        world.drain().await;
        assert_eq!(states(&world, "waiting").await, 0, "{}", world.name);
        assert_eq!(states(&world, "skipped").await, members as i64, "{}", world.name);
    }
}
