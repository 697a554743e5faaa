//! `fixtures/scenarios`: every rule's history ends as it says, on SQLite and on Postgres, table by table; and, where
//! P3 promises it, in any order, with repetitions, in batches.

use std::{collections::BTreeSet, path::PathBuf};

use sea_orm::EntityTrait;
use serde_json::{Value, json};

use crate::support::{
    tables,
    world::{World, worlds},
};

fn scenarios() -> Vec<(String, Value)> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures/scenarios");
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let read = |path: &PathBuf| serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    files.iter().map(|path| (path.file_stem().unwrap().to_str().unwrap().to_owned(), read(path))).collect()
}

fn policy(scenario: &Value) -> Vec<(&str, String)> {
    let text = |value: &Value| match value {
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(|item| item.as_str().unwrap()).collect::<Vec<_>>().join(","),
        other => other.to_string(),
    };
    scenario["policy"].as_object().into_iter().flatten().map(|(key, value)| (key.as_str(), text(value))).collect()
}

/// The members that `expected` lists, compared; says where they differ.
fn compare(place: &str, expected: &Value, actual: &Value, errors: &mut Vec<String>) {
    for (name, value) in expected.as_object().unwrap() {
        let found = actual.get(name).unwrap_or(&Value::Null);
        let empty = |v: &Value| {
            v.is_null()
                || v.as_array().is_some_and(Vec::is_empty)
                || v.as_object().is_some_and(|o| o.is_empty())
                || *v == json!(false)
        };
        // A time of our own clock: that there is one is all that can be said of it.
        if *value == json!("set") && found.is_i64() {
            continue;
        }
        if found != value && !(empty(found) && empty(value)) {
            errors.push(format!("{place}.{name}: expected {value}, found {found}"));
        }
    }
}

fn compare_list(place: &str, key: &str, expected: &Value, actual: &[Value], errors: &mut Vec<String>) {
    // A scenario that is not about organisations says nothing of them: there are none.
    let expected = expected.as_array().map(Vec::as_slice).unwrap_or_default();
    let keys = |list: &[Value]| list.iter().map(|row| row[key].as_str().unwrap().to_owned()).collect::<BTreeSet<_>>();
    if keys(expected) != keys(actual) || expected.len() != actual.len() {
        errors.push(format!("{place}: expected {:?}, found {:?}", keys(expected), keys(actual)));
        return;
    }
    for row in expected {
        let found = actual.iter().find(|found| found[key] == row[key]).unwrap();
        compare(&format!("{place}[{}]", row[key]), row, found, errors);
    }
}

async fn check_tables(world: &World, expect: &Value, errors: &mut Vec<String>) {
    let tables = tables::snapshot(&world.app.db.read).await;
    for (name, key) in
        [("users", "clerk_id"), ("organizations", "clerk_id"), ("memberships", "key"), ("subjects", "key")]
    {
        // What is known by the ids of memberships follows from their events; scenarios list subjects.
        let rows = tables[name].as_array().unwrap().iter().filter(|row| row["kind"] != "membership_id");
        compare_list(name, key, &expect[name], &rows.cloned().collect::<Vec<_>>(), errors);
    }
    for organization in tables["organizations"].as_array().unwrap() {
        let inside = tables["memberships"].as_array().unwrap().iter();
        let (id, said) = (&organization["clerk_id"], &organization["members_count"]);
        let rows = inside.filter(|row| row["organization"] == *id).count();
        if *said != json!(rows) {
            errors.push(format!("{id}: members_count {said}, and {rows} rows"));
        }
    }
}

async fn check_inbox(world: &World, expect: &Value, errors: &mut Vec<String>) {
    let rows = entity::inbox::Entity::find().all(&world.app.db.read).await.unwrap();
    if rows.len() != expect["inbox"].as_array().unwrap().len() {
        errors.push(format!("inbox: {} rows", rows.len()));
    }
    for row in expect["inbox"].as_array().unwrap() {
        let found = world.inbox(row["id"].as_str().unwrap()).await;
        let actual = json!({"id": found.svix_id, "state": found.state, "outcome": found.outcome});
        let mut wanted = row.clone();
        let starts = wanted.as_object_mut().unwrap().remove("reason_starts");
        compare(&format!("inbox[{}]", found.svix_id), &wanted, &actual, errors);
        let starts = starts.as_ref().and_then(Value::as_str).unwrap_or_default();
        if !found.reason.as_deref().unwrap_or_default().starts_with(starts) {
            errors.push(format!("inbox[{}]: reason {:?}", found.svix_id, found.reason));
        }
    }
    let conflicts: Vec<Value> = entity::conflicts::Entity::find().all(&world.app.db.read).await.unwrap().into_iter()
        .map(|c| json!({"key": format!("{} {}", c.clerk_id, c.address), "clerk_id": c.clerk_id, "address": c.address, "other": c.other_clerk_id, "state": c.state}))
        .collect();
    let mut expected = expect["conflicts"].clone();
    for row in expected.as_array_mut().unwrap() {
        row["key"] = json!(format!("{} {}", row["clerk_id"].as_str().unwrap(), row["address"].as_str().unwrap()));
    }
    compare_list("conflicts", "key", &expected, &conflicts, errors);
    if let Some(expected) = expect.get("alerts") {
        let keys: BTreeSet<String> =
            entity::alerts::Entity::find().all(&world.app.db.read).await.unwrap().into_iter().map(|a| a.key).collect();
        if json!(keys) != *expected {
            errors.push(format!("alerts: expected {expected}, found {keys:?}"));
        }
    }
}

/// P3 does not speak of what waits for an operator.
fn asks_an_operator(expect: &Value) -> bool {
    let has = |list: &str, state: &str| expect[list].as_array().unwrap().iter().any(|row| row["state"] == state);
    has("conflicts", "open") || has("inbox", "held")
}

/// The tables without the one time of our own clock in them: two databases hold at two moments.
async fn comparable(world: &World) -> Value {
    let mut tables = tables::snapshot(&world.app.db.read).await;
    for user in tables["users"].as_array_mut().unwrap() {
        user["deletion_held_at"] = json!(!user["deletion_held_at"].is_null());
    }
    tables
}

/// Several databases of each kind at a time: what takes long is waiting for the disk.
const LANES: usize = 4;

/// Runs every scenario that `wanted` selects on both databases, several at a time; fails with all that went wrong.
async fn on_both_databases(
    wanted: impl Fn(&Value) -> bool,
    run: impl AsyncFn(&mut [World], &str, &Value, &mut Vec<String>),
) {
    let scenarios: Vec<_> = scenarios().into_iter().filter(|(_, scenario)| wanted(&scenario["expect"])).collect();
    let (scenarios, run) = (&scenarios, &run);
    let lanes = (0..LANES).map(|lane| async move {
        let (mut worlds, mut errors) = (worlds(&[]).await, Vec::new());
        for (name, scenario) in scenarios.iter().skip(lane).step_by(LANES) {
            run(&mut worlds, name, scenario, &mut errors).await;
        }
        errors
    });
    let errors = futures_util::future::join_all(lanes).await.concat();
    assert!(errors.is_empty(), "{}", errors.join("\n"));
}

#[tokio::test]
async fn every_scenario_ends_as_it_says_on_both_databases() {
    on_both_databases(
        |_| true,
        async |worlds, name, scenario, errors| {
            let mut ends = Vec::new();
            for world in worlds {
                world.empty(&policy(scenario)).await;
                let mut wrong = Vec::new();
                for delivery in scenario["deliveries"].as_array().unwrap() {
                    world.deliver(delivery["id"].as_str().unwrap(), &delivery["body"]).await;
                    world.drain().await;
                }
                check_tables(world, &scenario["expect"], &mut wrong).await;
                check_inbox(world, &scenario["expect"], &mut wrong).await;
                ends.push(comparable(world).await);
                errors.extend(wrong.into_iter().map(|error| format!("{name} on {}: {error}", world.name)));
            }
            if ends.iter().any(|end| *end != ends[0]) {
                errors.push(format!("{name}: the two databases differ: {ends:?}"));
            }
        },
    )
    .await;
}

/// P3 on real databases: shuffled, repeated under new ids, all at once.
#[tokio::test]
async fn p3_scenarios_end_the_same_in_any_order() {
    on_both_databases(
        |expect| !asks_an_operator(expect),
        async |worlds, name, scenario, errors| {
            let mut rng = fastrand::Rng::with_seed(name.bytes().map(u64::from).sum());
            let mut deliveries = scenario["deliveries"].as_array().unwrap().clone();
            let again: Vec<Value> = deliveries
                .iter()
                .map(|d| json!({"id": format!("{}_again", d["id"].as_str().unwrap()), "body": d["body"]}))
                .collect();
            deliveries.extend(again);
            rng.shuffle(&mut deliveries);
            let batch = rng.usize(1..6).to_string();
            let overrides = [policy(scenario), vec![("sync.batch", batch)]].concat();
            for world in worlds {
                world.empty(&overrides).await;
                for delivery in &deliveries {
                    world.deliver(delivery["id"].as_str().unwrap(), &delivery["body"]).await;
                    if rng.bool() {
                        world.drain().await;
                    }
                }
                world.drain().await;
                let mut wrong = Vec::new();
                check_tables(world, &scenario["expect"], &mut wrong).await;
                errors.extend(wrong.into_iter().map(|error| format!("{name} on {}: {error}", world.name)));
            }
        },
    )
    .await;
}
