//! Rules of the design that scenarios are too small for: many people at once, constraints of an application's own,
//! what is told to whom. On SQLite and on Postgres.

mod access_facts;
mod breaker;
mod clashes;
mod ends;
mod hard;
mod held;
mod owners;
mod returned;
mod roles;
mod storm;
mod told;
mod waiting;

use clerk_sync::db::Stmt;
use sea_orm::ConnectionTrait as _;
use serde_json::Value;

use crate::support::world::World;

/// The one number that a query named `n` answers.
async fn number(world: &World, sql: &str) -> i64 {
    let db = &world.app.db.read;
    Stmt::new(db, "").sql(sql).all(db).await.unwrap()[0].try_get("", "n").unwrap()
}

/// The texts that a query named `t` answers.
async fn texts(world: &World, sql: &str) -> Vec<String> {
    let db = &world.app.db.read;
    let rows = Stmt::new(db, "").sql(sql).all(db).await.unwrap();
    rows.iter().map(|row| row.try_get("", "t").unwrap()).collect()
}

/// Runs statements as an application of the team's own would.
async fn execute(world: &World, sql: &str) {
    world.app.db.write.execute_unprepared(sql).await.unwrap();
}

/// `people` persons `user_{prefix}{n}`, each with a verified address, by SQL: as rows that were synced long ago.
async fn populate(world: &World, prefix: &str, people: usize) {
    let (series, id, time) = if world.name == "postgres" {
        (format!("select n from generate_series(1, {people}) n"), "gen_random_uuid()", "now()")
    } else {
        let series = "with recursive s (n) as (select 1 union all select n + 1 from s where n < ";
        let hex = |bytes: u8| format!("lower(hex(randomblob({bytes})))");
        let id =
            [hex(4), hex(2), format!("'7' || substr({}, 2)", hex(2)), format!("'8' || substr({}, 2)", hex(2)), hex(6)];
        let id = id.join(" || '-' || ").leak();
        (format!("{series}{people}) select n from s"), &*id, "'2026-01-01T00:00:00.000+00:00'")
    };
    execute(
        world,
        &format!(
            "insert into clerk_sync.users (id, clerk_id, first_name, display_name, email, email_verified, status, created_at, updated_at, version)
                select {id}, 'user_{prefix}' || n, 'P' || n, 'P' || n, '{prefix}' || n || '@example.com', true, 'active',
                    {time}, {time}, '000001700000000.000001700000000.0' from ({series}) x;
            insert into clerk_sync.subjects (kind, key, version, entered, deleted)
                select 'user', clerk_id, version, true, false from clerk_sync.users where clerk_id like 'user_{prefix}%';
            insert into clerk_sync.email_addresses (user_id, normalised, email_address, verified, \"primary\")
                select id, email, email, true, true from clerk_sync.users where clerk_id like 'user_{prefix}%'"
        ),
    )
    .await;
}

/// Delivers many at once, as Svix does after an outage: they share their groups.
async fn deliver_all(world: &World, deliveries: &[(String, Value)]) {
    for some in deliveries.chunks(500) {
        futures_util::future::join_all(some.iter().map(|(id, body)| world.deliver(id, body))).await;
    }
}
