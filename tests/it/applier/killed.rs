//! The real binary, killed: how soon work goes on, and what becomes of an event that ends the process each time.

use std::time::{Duration, Instant};

use clerk_sync::db::Db;

use super::{execute, number, until};
use crate::{
    endurance::open,
    support::{
        people::user,
        process::{Process, free_port, post},
        services,
    },
};

const DONE: &str = "select count(*) as n from clerk_sync.inbox where state = 'done'";

async fn send(process: &Process, name: &str) {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let body = user(name, 1).to_string().into_bytes();
    let started = Instant::now();
    while post(&client, &process.url, &format!("msg_{name}"), &body).await != Some(200) {
        assert!(started.elapsed() < Duration::from_secs(20), "{name} is not taken");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn goes_on_after_a_kill(url: &str) {
    let port = free_port();
    let mut process = Process::serve(port, url, &[]).await;
    let db = open(url).await;
    send(&process, "ada").await;
    until(&db, DONE, 1, Duration::from_secs(10)).await;
    // It holds the lease and is not idle: the worst moment.
    for index in 0..20 {
        send(&process, &format!("p{index}")).await;
    }
    process.kill();
    let process = Process::serve(port, url, &[]).await;
    let ready = Instant::now();
    send(&process, "late").await;
    until(&db, DONE, 22, Duration::from_secs(20)).await;
    let took = ready.elapsed();
    assert!(took <= Duration::from_secs(5), "work goes on {took:?} after readiness");
    assert!(process.terminate(), "it ends in order");
    assert_eq!(number(&db, "select count(*) as n from clerk_sync.leases where name = 'applier'").await, 0, "given up");
}

#[tokio::test(flavor = "multi_thread")]
async fn p13_work_goes_on_after_sigkill_on_sqlite() {
    let (_folder, url) = services::sqlite();
    goes_on_after_a_kill(&url).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn p13_work_goes_on_after_sigkill_on_postgres() {
    let Some(postgres) = services::postgres() else { return };
    goes_on_after_a_kill(postgres.url()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn p13_another_replica_takes_over_from_one_that_was_killed() {
    let Some(postgres) = services::postgres() else { return };
    let url = postgres.url();
    let mut leader = Process::serve(free_port(), url, &[]).await;
    let db = open(url).await;
    send(&leader, "ada").await;
    until(&db, DONE, 1, Duration::from_secs(10)).await;
    let other = Process::serve(free_port(), url, &[]).await;
    leader.kill();
    let killed = Instant::now();
    send(&other, "ben").await;
    until(&db, DONE, 2, Duration::from_secs(20)).await;
    let took = killed.elapsed();
    assert!(took <= Duration::from_secs(6), "another replica goes on after {took:?}");
    assert!(other.terminate());
}

/// An event during whose commit the process is killed each time ends `dead`; the others are applied and lose no attempt.
async fn a_poison_ends_dead(url: &str, trigger: &str, reap: Option<&str>) {
    let port = free_port();
    let mut process = Process::serve_roles("receive", port, url).await;
    let db = open(url).await;
    execute(&db, trigger).await;
    for name in ["ada", "ben", "poison", "cleo", "dora"] {
        send(&process, name).await;
    }
    process.kill();
    let dead = "select count(*) as n from clerk_sync.inbox where svix_id = 'msg_poison' and state = 'dead'";
    let mut kills = 0;
    let mut process = Process::serve(port, url, &[]).await;
    while !ended_or_stuck(&db, dead).await {
        kills += 1;
        assert!(kills <= 6, "it goes on for ever");
        process.kill();
        if let Some(reap) = reap {
            execute(&db, reap).await;
        }
        // As if it had run out.
        execute(&db, "delete from clerk_sync.leases").await;
        process = Process::serve(port, url, &[]).await;
    }
    assert_eq!(kills, 6, "three times among others, three times alone");
    until(&db, DONE, 4, Duration::from_secs(10)).await;
    assert_eq!(
        number(&db, "select max(attempts) as n from clerk_sync.inbox").await,
        0,
        "nothing is counted against the others"
    );
    let told = "select count(*) as n from clerk_sync.alerts where key = 'event.dead:crash'";
    until(&db, told, 1, Duration::from_secs(5)).await;
    process.kill();
}

/// Whether the poison ended `dead` (true) or is being applied and does not end (false).
async fn ended_or_stuck(db: &Db, dead: &str) -> bool {
    let begun = "select count(*) as n from clerk_sync.applier_progress p join clerk_sync.leases l on l.name = 'applier' and l.owner = p.owner
        where (select seq from clerk_sync.inbox where svix_id = 'msg_poison') between p.first_seq and p.last_seq";
    let (started, mut stuck) = (Instant::now(), None::<Instant>);
    loop {
        if number(db, dead).await == 1 {
            return true;
        }
        match stuck {
            // Begun, and still not ended a good while later: that is where it hangs.
            Some(since) if since.elapsed() > Duration::from_millis(700) => return false,
            Some(_) => {}
            None if number(db, begun).await > 0 => stuck = Some(Instant::now()),
            None => {}
        }
        assert!(started.elapsed() < Duration::from_secs(30), "the poison is not even tried");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn p13_an_event_that_ends_the_process_each_time_ends_dead_on_postgres() {
    let Some(postgres) = services::postgres() else { return };
    let trigger = "create function poison() returns trigger language plpgsql as $$ begin
            if new.first_name = 'poison' then perform pg_sleep(60); end if; return new; end $$;
        create trigger poison before insert on clerk_sync.users for each row execute function poison()";
    // A server whose client is gone sleeps on; in the field it would see that at the end of the statement.
    let reap = "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database()
        and wait_event = 'PgSleep'";
    a_poison_ends_dead(postgres.url(), trigger, Some(reap)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn p13_an_event_that_ends_the_process_each_time_ends_dead_on_sqlite() {
    let (_folder, url) = services::sqlite();
    let trigger = "create trigger poison before insert on users when new.first_name = 'poison' begin
        select (with recursive c (n) as (select 1 union all select n + 1 from c where n < 100000000000) select max(n) from c);
        end";
    a_poison_ends_dead(&url, trigger, None).await;
}

/// A host that is frozen while it holds the commit lock: Postgres ends its transaction after 30 s.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "long: tests/run --long"]
async fn p13_a_frozen_host_holds_the_commit_lock_for_half_a_minute_at_most() {
    let Some(postgres) = services::postgres() else { return };
    let url = postgres.url();
    let leader = Process::serve(free_port(), url, &[]).await;
    let db = open(url).await;
    let trigger = "create function slow() returns trigger language plpgsql as $$ begin
            if new.first_name = 'slow' then perform pg_sleep(3); end if; return new; end $$;
        create trigger slow before insert on clerk_sync.users for each row execute function slow()";
    execute(&db, trigger).await;
    send(&leader, "ada").await;
    until(&db, DONE, 1, Duration::from_secs(10)).await;
    let other = Process::serve(free_port(), url, &[]).await;
    send(&leader, "slow").await;
    let sleeping =
        "select count(*) as n from pg_stat_activity where datname = current_database() and wait_event = 'PgSleep'";
    until(&db, sleeping, 1, Duration::from_secs(10)).await;
    leader.freeze();
    let frozen = Instant::now();
    send(&other, "ben").await;
    until(&db, DONE, 3, Duration::from_secs(60)).await;
    let took = frozen.elapsed();
    assert!(took > Duration::from_secs(20), "the lock was held: {took:?}");
    assert!(took <= Duration::from_secs(40), "another replica goes on after {took:?}");
}
