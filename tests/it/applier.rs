//! The single applier: who leads, what a batch may hold, and that one event delays no other without bound (P13).

mod faults;
mod killed;
mod leader;
mod memory;

use std::time::{Duration, Instant};

use clerk_sync::{
    db::{Db, Stmt},
    inbox::due::{self, Bounds},
};
use sea_orm::ConnectionTrait as _;
use serde_json::json;

use crate::support::{
    people::{user, with},
    steps,
    world::{World, worlds},
};

async fn number(db: &Db, sql: &str) -> i64 {
    Stmt::new(&db.read, "").sql(sql).all(&db.read).await.unwrap()[0].try_get("", "n").unwrap()
}

async fn execute(db: &Db, sql: &str) {
    db.write.execute_unprepared(sql).await.unwrap();
}

/// Waits until a count is there; fails after this long. Returns how long it took.
async fn until(db: &Db, sql: &str, wanted: i64, most: Duration) -> Duration {
    let started = Instant::now();
    loop {
        let found = number(db, sql).await;
        if found == wanted {
            return started.elapsed();
        }
        assert!(started.elapsed() < most, "{sql}: {found}, not {wanted}, after {most:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn deliver(world: &World, names: &[&str]) {
    for name in names {
        world.deliver(&format!("msg_{name}"), &user(name, 1)).await;
    }
}

#[tokio::test]
async fn a_page_of_due_rows_is_bounded_by_rows_and_by_bytes() {
    for world in worlds(&[]).await {
        let (db, clock) = (&world.app.db, &world.app.clock);
        for name in ["a", "b", "c", "d", "e"] {
            let long = with(user(name, 1), "public_metadata", json!({"padding": "x".repeat(10_000)}));
            world.deliver(&format!("msg_{name}"), &long).await;
        }
        let read = async |after, rows, bytes| {
            let rows = due::read(db, after, Bounds { rows, bytes }, clock.now()).await.unwrap();
            let last = rows.last().map(|row| (row.available_at, row.stored.seq));
            (rows.iter().map(|row| row.stored.seq).collect::<Vec<_>>(), last)
        };
        assert_eq!(read(None, 3, usize::MAX).await.0, [1, 2, 3], "{}", world.name);
        let (first, last) = read(None, 9, 25_000).await;
        assert_eq!(first, [1, 2], "{}: 10 kB each", world.name);
        let (second, last) = read(last, 9, 25_000).await;
        assert_eq!(second, [3, 4], "{}", world.name);
        assert_eq!(read(last, 9, 25_000).await.0, [5], "{}", world.name);
        assert_eq!(read(None, 9, 1).await.0, [1], "{}: one is always read", world.name);
        let range = due::read_range(db, (2, 4), Bounds { rows: 9, bytes: 25_000 }, clock.now()).await.unwrap();
        assert_eq!(range.iter().map(|row| row.stored.seq).collect::<Vec<_>>(), [2, 3], "{}", world.name);
        assert_eq!(world.drain().await, 5);
    }
}

/// Where a budget of bytes makes a batch of each event, all the same everything is applied.
#[tokio::test(flavor = "multi_thread")]
async fn a_small_budget_makes_small_batches() {
    for world in worlds(&[("sync.batch_bytes", "1".into())]).await {
        deliver(&world, &["ada", "ben", "cleo"]).await;
        assert_eq!(world.drain().await, 3, "{}", world.name);
        assert_eq!(number(&world.app.db, "select count(distinct finished_at) as n from clerk_sync.inbox").await, 3);
    }
}

#[tokio::test]
async fn what_the_version_before_had_claimed_is_due_again() {
    for world in worlds(&[]).await {
        let db = &world.app.db;
        deliver(&world, &["ada", "ben"]).await;
        steps::take_back(db, "m20261201_000030_single_applier").await;
        let claimed =
            "update clerk_sync.inbox set state = 'running', claim = 'x', available_at = '2100-01-01T00:00:00+00:00'";
        execute(db, claimed).await;
        steps::apply(db).await;
        assert_eq!(world.drain().await, 2, "{}", world.name);
    }
}
