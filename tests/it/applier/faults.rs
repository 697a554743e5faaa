//! P13: whatever the database answers for one event, the others are applied, none of them loses an attempt, and once the
//! fault ceases every event ends within 10 s.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use clerk_sync::{clock::Clock, sync::worker::Worker};
use tokio_util::sync::CancellationToken;

use super::{deliver, execute, number, until};
use crate::support::world::{World, postgres, sqlite, worlds};

const INNOCENT: [&str; 6] = ["ada", "ben", "cleo", "dora", "eve", "flo"];
const DONE: &str = "select count(*) as n from clerk_sync.inbox where state = 'done'";
const ALIVE: Duration = Duration::from_secs(10);

/// A trigger that runs `body` for the people who are called poison.
async fn poison(world: &World, body: &str) {
    let sql = if world.name == "postgres" {
        format!(
            "create or replace function poison() returns trigger language plpgsql as $$ begin
                if new.first_name = 'poison' then {body} end if; return new; end $$;
            create or replace trigger poison before insert or update on clerk_sync.users for each row execute function poison()"
        )
    } else {
        format!("create trigger poison before insert on users when new.first_name = 'poison' begin {body} end")
    };
    execute(&world.app.db, &sql).await;
}

/// The offending event ends `dead`, whatever stands beside it; removed the cause, it applies.
async fn ends_dead(world: &World, body: &str, code: &str) {
    let db = &world.app.db;
    poison(world, body).await;
    deliver(world, &INNOCENT[..3]).await;
    deliver(world, &["poison"]).await;
    deliver(world, &INNOCENT[3..]).await;
    let stop = CancellationToken::new();
    let running = tokio::spawn(world.app.worker().run(stop.clone()));
    until(db, DONE, 6, ALIVE).await;
    until(db, "select count(*) as n from clerk_sync.inbox where state = 'dead'", 1, ALIVE).await;
    assert_eq!(number(db, "select max(attempts) as n from clerk_sync.inbox where state = 'done'").await, 0, "{code}");
    assert!(world.inbox("msg_poison").await.reason.unwrap().starts_with("data:"), "{code}");
    let alerts = format!("select count(*) as n from clerk_sync.alerts where key = 'event.dead:{code}'");
    assert_eq!(number(db, &alerts).await, 1, "{}: {code}", world.name);
    // Those who come later are not held up either, and the cause removed it applies.
    execute(
        db,
        if world.name == "postgres" { "drop trigger poison on clerk_sync.users" } else { "drop trigger poison" },
    )
    .await;
    let now = world.app.clock.now();
    clerk_sync::inbox::admin::retry(db, "msg_poison", now).await.unwrap();
    until(db, DONE, 7, ALIVE).await;
    stop.cancel();
    running.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn p13_an_error_that_is_not_transient_stops_only_its_own_event() {
    for code in ["P0001", "42501", "54000", "XX000"] {
        let Some(world) = postgres(&[("sync.backoff", "50ms".into())]).await else { return };
        ends_dead(&world, &format!("raise exception 'no' using errcode = '{code}';"), code).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn p13_a_trigger_that_aborts_stops_only_its_own_event_on_sqlite() {
    let world = sqlite(&[("sync.backoff", "50ms".into())]).await;
    ends_dead(&world, "select raise(abort, 'no');", "1811").await;
}

/// A statement_timeout of the database: the event that runs into it is deferred and alerted, never `dead`, and applies once
/// it can.
#[tokio::test(flavor = "multi_thread")]
async fn p13_an_event_that_runs_into_a_timeout_is_deferred_and_blocks_nobody() {
    let Some(world) = postgres(&[]).await else { return };
    let db = &world.app.db;
    poison(&world, "perform pg_sleep(30);").await;
    let timeout =
        "do $$ begin execute format('alter database %I set statement_timeout = ''300ms''', current_database()); end $$";
    execute(db, timeout).await;
    deliver(&world, &["ada", "poison", "ben"]).await;
    // Its connections are new ones.
    let replica = world.replica(&[("sync.backoff", "200ms".into())]).await;
    let stop = CancellationToken::new();
    let running = tokio::spawn(replica.worker().run(stop.clone()));
    until(db, DONE, 2, ALIVE).await;
    until(db, "select count(*) as n from clerk_sync.alerts where key = 'event.deferred:57014'", 1, ALIVE).await;
    // Those who come later pass it by, again and again.
    for (index, name) in ["cleo", "dora", "eve"].into_iter().enumerate() {
        deliver(&world, &[name]).await;
        until(db, DONE, 3 + index as i64, ALIVE).await;
    }
    let poison = world.inbox("msg_poison").await;
    assert_eq!(poison.state, "pending");
    assert!(poison.attempts > 0 && poison.reason.unwrap().starts_with("transient:"));
    assert_eq!(number(db, "select max(attempts) as n from clerk_sync.inbox where state = 'done'").await, 0);
    execute(db, "drop trigger poison on clerk_sync.users").await;
    until(db, DONE, 6, ALIVE).await;
    stop.cancel();
    running.await.unwrap();
}

/// A database that is away: nothing is counted against any event, and all of them end once it is back.
#[tokio::test(flavor = "multi_thread")]
async fn p13_a_database_that_is_cut_off_counts_as_no_events_failure() {
    let Some(world) = postgres(&[]).await else { return };
    let db = &world.app.db;
    let stop = CancellationToken::new();
    let running = tokio::spawn(world.app.worker().run(stop.clone()));
    for round in 0..5 {
        for name in INNOCENT {
            deliver(&world, &[&format!("{name}{round}")]).await;
        }
        let cut = "select count(pg_terminate_backend(pid)) as n from pg_stat_activity
            where datname = current_database() and pid <> pg_backend_pid()";
        let _ = sea_orm::ConnectionTrait::execute_unprepared(&db.read, cut).await;
    }
    let started = std::time::Instant::now();
    loop {
        // Connections that were cut are thrown away as they are used.
        let counted = clerk_sync::db::Stmt::new(&db.read, DONE).all(&db.read).await;
        if counted.is_ok_and(|rows| rows[0].try_get::<i64>("", "n").unwrap() == 30) {
            break;
        }
        assert!(started.elapsed() < ALIVE, "it does not go on");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(number(db, "select max(attempts) as n from clerk_sync.inbox").await, 0);
    stop.cancel();
    running.await.unwrap();
}

/// A panic while a batch is planned: the batch is rolled back and split, and the events apply.
#[tokio::test]
async fn p13_a_panic_in_planning_stops_nobody() {
    for world in worlds(&[]).await {
        deliver(&world, &["ada", "ben", "cleo"]).await;
        let (inner, calls) = (world.app.clock.clone(), Arc::new(AtomicU32::new(0)));
        let counted = Arc::clone(&calls);
        // The first call is the reader's, the second one is made in the transaction.
        let clock = Clock::from_fn(move || {
            assert!(counted.fetch_add(1, Ordering::Relaxed) != 1, "a panic of the test's");
            inner.now()
        });
        let worker = Worker { clock, ..world.app.worker() };
        assert_eq!(worker.drain().await.unwrap(), 3, "{}", world.name);
        assert!(calls.load(Ordering::Relaxed) > 2);
        let db = &world.app.db;
        assert_eq!(number(db, DONE).await, 3, "{}", world.name);
        assert_eq!(number(db, "select count(distinct rev) as n from clerk_sync.users").await, 3, "{}", world.name);
        assert_eq!(number(db, "select max(attempts) as n from clerk_sync.inbox").await, 0, "{}", world.name);
    }
}
