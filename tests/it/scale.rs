//! P11: an event's cost does not grow with the size of the tables or of the backlog. Measured before and after the tables
//! are filled; a statement that lost its index costs many times as much, which no noise of a machine does.

use std::time::{Duration, Instant};

use sea_orm::{ConnectionTrait, DbBackend};

use crate::support::{
    people::{deleted, user, with},
    world::{World, worlds},
};
use serde_json::json;

const EVENTS: usize = 120;

/// Half new people, half changes, some deletions: the median of five such rounds.
async fn cost(world: &World, tag: &str) -> Duration {
    let mut rounds = Vec::new();
    for round in 0..5 {
        for n in 0..EVENTS / 2 {
            let name = format!("{tag}{round}x{n}");
            world.deliver(&format!("msg_{name}_1"), &user(&name, 1)).await;
            let change = if n % 10 == 0 { deleted(&name, 9) } else { with(user(&name, 2), "first_name", json!("New")) };
            world.deliver(&format!("msg_{name}_2"), &change).await;
        }
        let started = Instant::now();
        assert_eq!(world.drain().await, EVENTS);
        rounds.push(started.elapsed());
    }
    rounds.sort();
    rounds[2]
}

/// 60,000 people with everything that hangs on them, as many finished deliveries and changes, 20,000 parked rows, and
/// 30,000 due ones of a far future: a backlog that stands before nobody.
async fn fill(world: &World) {
    let postgres = world.app.db.backend() == DbBackend::Postgres;
    let (numbers, id) = if postgres {
        ("generate_series(1, 60000) n", "cast(lpad(to_hex(n), 32, '0') as uuid)")
    } else {
        (
            "(with recursive c(n) as (select 1 union all select n + 1 from c where n < 60000) select n from c)",
            "printf('aaaaaaaa-aaaa-4aaa-8aaa-%012x', n)",
        )
    };
    let now = if postgres { "now()" } else { "strftime('%Y-%m-%dT%H:%M:%f+00:00', 'now')" };
    let later =
        if postgres { "now() + interval '10 days'" } else { "strftime('%Y-%m-%dT%H:%M:%f+00:00', 'now', '+10 days')" };
    let body = if postgres { "'{}'::bytea" } else { "cast('{}' as blob)" };
    for sql in [
        format!("insert into clerk_sync.users (id, clerk_id, status, email, email_verified, password_enabled, two_factor_enabled, created_at, updated_at, version)
            select {id}, 'user_bulk' || n, 'active', 'bulk' || n || '@example.com', true, false, false, {now}, {now}, '000' from {numbers}"),
        format!("insert into clerk_sync.email_addresses (user_id, normalised, email_address, verified, \"primary\")
            select {id}, 'bulk' || n || '@example.com', 'bulk' || n || '@example.com', true, true from {numbers}"),
        format!("insert into clerk_sync.federated_identities (user_id, provider, provider_subject_id, current) select {id}, 'google', 'g' || n, true from {numbers}"),
        format!("insert into clerk_sync.subjects (kind, key, version, entered, deleted) select 'user', 'user_bulk' || n, '000', true, false from {numbers}"),
        format!("insert into clerk_sync.inbox (svix_id, event_type, subject, user_ids, body, received_at, available_at, state, outcome, finished_at)
            select 'msg_bulk' || n, 'user.updated', 'user_bulk' || n, '[]', {body}, {now}, {now}, 'done', 'updated', {now} from {numbers}"),
        format!("insert into clerk_sync.inbox (svix_id, event_type, subject, user_ids, body, received_at, available_at, state, awaits, awaits_too)
            select 'msg_wait' || n, 'organizationMembership.created', 'org_bulk/user_wait' || n, '[]', {body}, {now}, {later}, 'waiting', 'user_wait' || n, 'org_bulk' || n from {numbers} where n <= 20000"),
        format!("insert into clerk_sync.inbox (svix_id, event_type, subject, user_ids, body, received_at, available_at)
            select 'msg_due' || n, 'user.updated', 'user_due' || n, '[]', {body}, {now}, {later} from {numbers} where n <= 30000"),
        format!("insert into clerk_sync.outbox (seq, id, event, topic, subject, routing, payload, changed, created_at)
            select (select max(seq) from clerk_sync.outbox) + n, {id}, 'user.updated', 'users', 'user_bulk' || n, '[]', '{{}}', '[]', {now} from {numbers}"),
    ] {
        world.app.db.write.execute_unprepared(&sql).await.unwrap();
    }
    if postgres {
        world.app.db.write.execute_unprepared("analyze").await.unwrap();
    }
}

#[tokio::test]
async fn p11_an_event_costs_the_same_in_full_tables() {
    for world in worlds(&[]).await {
        let empty = cost(&world, "empty").await;
        fill(&world).await;
        let full = cost(&world, "full").await;
        let ratio = full.as_secs_f64() / empty.as_secs_f64();
        println!("{}: {EVENTS} events took {empty:?} in empty tables, {full:?} in full ones", world.name);
        assert!(ratio < 4.0, "{}: {empty:?} became {full:?}", world.name);
    }
}
