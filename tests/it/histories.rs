//! P3 through the real databases: histories of Clerk's, shuffled, repeated and cut into batches, delivered to two replicas
//! that work at the same time on one Postgres and to one on SQLite, end in the tables that an oracle reads off Clerk.

use std::collections::BTreeMap;

use fastrand::Rng;
use sea_orm::EntityTrait;
use serde_json::{Value, json};

use crate::support::{
    history::{History, Switches},
    tables,
    world::{World, worlds},
};

/// Histories that share a database; all their events are one stream.
fn histories() -> usize {
    if std::env::var_os("LONG").is_some() { 1_500 } else { 75 }
}

async fn deliver(world: &World, rng: &mut Rng, deliveries: &[(String, Value)]) {
    let keys = |rng: &mut Rng| [("sync.batch", rng.usize(1..40).to_string())];
    let (one, two) = (world.replica(&keys(rng)).await, world.replica(&keys(rng)).await);
    let policy = world.app.policy.clone();
    let mut workers = [one.worker(), two.worker()];
    workers.iter_mut().for_each(|worker| worker.policy = policy.clone());
    // SQLite belongs to one process.
    let workers = if world.name == "postgres" { &workers[..] } else { &workers[..1] };
    let drain = || futures_util::future::join_all(workers.iter().map(|worker| worker.drain()));
    let mut rest = deliveries;
    while !rest.is_empty() {
        let (some, others) = rest.split_at(rng.usize(1..120).min(rest.len()));
        let arriving = futures_util::future::join_all(some.iter().map(|(id, body)| world.deliver(id, body)));
        tokio::join!(arriving, drain());
        rest = others;
    }
    drain().await;
}

/// The rows that the tables show, by their keys.
fn rows(tables: &Value) -> BTreeMap<String, Value> {
    let list = |name: &str, key: &str| {
        let rows = tables[name].as_array().unwrap().iter();
        rows.map(|row| (row[key].as_str().unwrap().to_owned(), row.clone())).collect::<Vec<_>>()
    };
    [list("users", "clerk_id"), list("organizations", "clerk_id"), list("memberships", "key")]
        .concat()
        .into_iter()
        .collect()
}

/// Nothing is left behind: every event has ended, or waits for somebody who never came.
async fn all_ended(world: &World, shown: &BTreeMap<String, Value>) {
    for row in entity::inbox::Entity::find().all(&world.app.db.read).await.unwrap() {
        let status =
            |id: &Option<String>| id.as_ref().and_then(|id| shown.get(id)).map(|row| row["status"] == "deleted");
        let parents = [status(&row.awaits), status(&row.awaits_too)];
        let ended = match row.state.as_str() {
            "done" | "skipped" | "rejected" => true,
            "waiting" => !parents.contains(&Some(true)) && parents.contains(&None),
            _ => false,
        };
        assert!(ended, "{}: left behind: {row:?}, parents {parents:?}", world.name);
    }
}

async fn every_order_ends_alike(seed: u64, switches: Switches, keys: &[(&str, String)]) {
    let mut rng = Rng::with_seed(seed);
    let all: Vec<History> = (0..histories()).map(|n| History::new(&format!("h{n}"), &mut rng)).collect();
    let expected: BTreeMap<String, Value> = all.iter().flat_map(|history| history.end(switches)).collect();
    let events = all.iter().flat_map(|history| &history.events);
    let events: Vec<(usize, &Value)> = events.enumerate().collect();
    let mut ends: Vec<Value> = Vec::new();
    for world in worlds(keys).await {
        let mut deliveries: Vec<(String, Value)> = Vec::new();
        for (n, body) in &events {
            deliveries.push((format!("msg_{n}"), (*body).clone()));
            match rng.u8(..8) {
                0 => deliveries.push((format!("msg_{n}_again"), (*body).clone())),
                1 => deliveries.push((format!("msg_{n}"), (*body).clone())),
                _ => {}
            }
        }
        rng.shuffle(&mut deliveries);
        deliver(&world, &mut rng, &deliveries).await;
        let tables = tables::snapshot(&world.app.db.read).await;
        let shown = rows(&tables);
        let keys = |rows: &BTreeMap<String, Value>| rows.keys().cloned().collect::<Vec<_>>();
        assert_eq!(keys(&shown), keys(&expected), "{} seed {seed}: who is there", world.name);
        for (key, expected) in &expected {
            let found = &shown[key];
            for (name, value) in expected.as_object().unwrap() {
                assert_eq!(&found[name], value, "{} seed {seed}: {name} of {key}: {found}", world.name);
            }
        }
        all_ended(&world, &shown).await;
        let open = entity::conflicts::Entity::find().all(&world.app.db.read).await.unwrap();
        assert!(open.iter().all(|row| row.state == "resolved"), "{}: {open:?}", world.name);
        ends.push(tables);
    }
    assert!(ends.iter().all(|end| *end == ends[0]), "seed {seed}: the two databases differ");
    assert!(expected.values().any(|row| row["owner"] != json!(null)), "there are owners in it");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p3_histories_end_alike_on_two_replicas() {
    let switches = Switches { require_email: true, require_name: true, orphan: false };
    every_order_ends_alike(1, switches, &[]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p3_histories_of_people_who_all_enter_end_alike_on_two_replicas() {
    let keys = [
        ("entry.require_email", "false".to_owned()),
        ("entry.require_name", "false".to_owned()),
        ("organizations.sole_admin", "orphan".to_owned()),
    ];
    every_order_ends_alike(2, Switches { require_email: false, require_name: false, orphan: true }, &keys).await;
}
