//! P1 and P2 on the real binary: it is killed with SIGKILL twenty times under load and started again. Whatever was
//! acknowledged is there, and has had its effect exactly once.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use clerk_sync::{
    config::Secret,
    db::{self, Db, Stmt},
};
use serde_json::{Value, json};

use crate::support::{
    process::{Process, free_port, post},
    services,
    world::config,
};

const KILLS: usize = 20;
const USERS: u64 = 40;

fn body(user: u64, version: u64) -> Value {
    let id = format!("user_endure{user:04}");
    let email = format!("e{user}@example.com");
    json!({
        "type": "user.updated", "object": "event", "timestamp": 1_700_000_000_500_u64 + version,
        "data": {
            "id": id, "object": "user", "first_name": format!("V{version:08}"), "last_name": "Endure",
            "created_at": 1_700_000_000_000_u64, "updated_at": 1_700_000_000_000_u64 + version,
            "primary_email_address_id": "idn_1",
            "email_addresses": [{"id": "idn_1", "email_address": email, "verification": {"status": "verified"}}],
            "public_metadata": {"padding": "x".repeat(1500)},
        },
    })
}

/// Everybody's highest version that was acknowledged, and every acknowledged id.
#[derive(Default)]
struct Acknowledged {
    newest: BTreeMap<u64, u64>,
    ids: BTreeSet<String>,
}

async fn load(url: String, counter: Arc<AtomicU64>, acknowledged: Arc<Mutex<Acknowledged>>, stop: Arc<AtomicBool>) {
    let client = reqwest::Client::builder().timeout(Duration::from_secs(5)).no_proxy().build().unwrap();
    while !stop.load(Ordering::Relaxed) {
        let version = counter.fetch_add(1, Ordering::Relaxed);
        let user = version % USERS;
        let (id, body) = (format!("msg_endure{version:08}"), body(user, version).to_string().into_bytes());
        // Like Svix: what is not acknowledged comes again, under the same id; now and then what was, too.
        while post(&client, &url, &id, &body).await != Some(200) {
            if stop.load(Ordering::Relaxed) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        {
            let mut acknowledged = acknowledged.lock().unwrap();
            acknowledged.ids.insert(id.clone());
            let newest = acknowledged.newest.entry(user).or_default();
            *newest = (*newest).max(version);
        }
        if version.is_multiple_of(9) {
            let _ = post(&client, &url, &id, &body).await;
        }
    }
}

async fn killed_under_load(url: &str) {
    let port = free_port();
    let environment = [("CLERK_SYNC__UPKEEP__EVERY", "200ms"), ("CLERK_SYNC__SYNC__POLL", "100ms")];
    let mut process = Process::serve(port, url, &environment).await;
    let database = open(url).await;
    let (counter, acknowledged, stop) = (Arc::new(AtomicU64::new(1)), Arc::default(), Arc::new(AtomicBool::new(false)));
    let senders: Vec<_> = (0..12)
        .map(|_| tokio::spawn(load(process.url.clone(), counter.clone(), Arc::clone(&acknowledged), stop.clone())))
        .collect();
    for kill in 0..KILLS {
        tokio::time::sleep(Duration::from_millis(150 + 37 * (kill as u64 % 9))).await;
        process.kill();
        // As if it had run out: each process lives for less than a lease does, and is to be killed while it applies.
        Stmt::new(&database.write, "delete from clerk_sync.leases").exec(&database.write).await.unwrap();
        process = Process::serve(port, url, &environment).await;
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    stop.store(true, Ordering::Relaxed);
    for sender in senders {
        sender.await.unwrap();
    }
    for _ in 0..600 {
        if count(&database, "select count(*) as n from clerk_sync.inbox where state = 'pending'").await == 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    process.kill();
    let acknowledged = std::mem::take(&mut *acknowledged.lock().unwrap());
    assert!(acknowledged.ids.len() > 500, "there was load: {}", acknowledged.ids.len());
    check(&database, &acknowledged).await;
}

pub(crate) async fn open(url: &str) -> Db {
    let mut config = config(&[]);
    config.database.url = Secret::from(url);
    db::connect(&config.database).await.unwrap()
}

pub(crate) async fn count(db: &Db, sql: &'static str) -> i64 {
    Stmt::new(&db.read, sql).all(&db.read).await.unwrap()[0].try_get("", "n").unwrap()
}

async fn check(db: &Db, acknowledged: &Acknowledged) {
    let rows = Stmt::new(&db.read, "select svix_id, state from clerk_sync.inbox").all(&db.read).await.unwrap();
    let states: BTreeMap<String, String> =
        rows.iter().map(|row| (row.try_get("", "svix_id").unwrap(), row.try_get("", "state").unwrap())).collect();
    let lost: Vec<&String> = acknowledged.ids.iter().filter(|id| !states.contains_key(*id)).collect();
    assert!(lost.is_empty(), "P1: acknowledged and lost: {lost:?}");
    let unfinished: Vec<_> =
        states.iter().filter(|(_, state)| !["done", "skipped"].contains(&state.as_str())).collect();
    assert!(unfinished.is_empty(), "P1: not settled: {unfinished:?}");

    // The oracle: the newest stored version of everybody, and no effect twice.
    let stored = states.keys().map(|id| id.trim_start_matches("msg_endure").parse::<u64>().unwrap());
    let mut newest: BTreeMap<u64, u64> = BTreeMap::new();
    for version in stored {
        let known = newest.entry(version % USERS).or_default();
        *known = version.max(*known);
    }
    let rows = Stmt::new(&db.read, "select clerk_id, first_name from clerk_sync.users").all(&db.read).await.unwrap();
    assert_eq!(rows.len(), newest.len());
    for row in &rows {
        let id: String = row.try_get("", "clerk_id").unwrap();
        let user: u64 = id.trim_start_matches("user_endure").parse().unwrap();
        let name: String = row.try_get("", "first_name").unwrap();
        assert_eq!(name, format!("V{:08}", newest[&user]), "the row of {id}");
        assert!(newest[&user] >= acknowledged.newest.get(&user).copied().unwrap_or_default());
    }
    let twice = count(db, "select count(*) as n from (select correlation_id from clerk_sync.outbox where topic = 'users' group by 1 having count(*) > 1) t").await;
    assert_eq!(twice, 0, "P2: told twice");
    let created = count(db, "select count(*) as n from clerk_sync.outbox where event = 'user.created'").await;
    assert_eq!(created, newest.len() as i64, "P2: everybody is created once");
    let applied = count(db, "select count(*) as n from clerk_sync.inbox where outcome in ('created', 'updated')").await;
    let told = count(db, "select count(*) as n from clerk_sync.outbox where topic = 'users'").await;
    let audited = count(db, "select count(*) as n from clerk_sync.audit_log").await;
    assert_eq!((told, audited), (applied, applied), "P2: rows, feed and receipts agree");
    let gaps = count(db, "select max(seq) - count(*) as n from clerk_sync.outbox").await;
    assert_eq!(gaps, 0, "no number of the feed was lost");
}

#[tokio::test(flavor = "multi_thread")]
async fn p1_p2_sigkill_under_load_on_sqlite() {
    let (_folder, url) = services::sqlite();
    killed_under_load(&url).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn p1_p2_sigkill_under_load_on_postgres() {
    let Some(postgres) = services::postgres() else { return };
    killed_under_load(postgres.url()).await;
}
