//! P10: the memory that applying takes is bounded by `sync.batch_bytes`, whatever the bodies hold.

use std::time::Duration;

use serde_json::json;

use super::until;
use crate::{
    endurance::open,
    support::{
        people::{user, with},
        process::{Process, free_port, post},
        services,
    },
};

/// Bodies of nearly 1 MiB each: so many that a batch that is bounded by rows alone would hold all of them.
const BODIES: usize = 20;

/// The most that a process may have had, in MB. Without the budget it is several times as much.
const MOST: u64 = 900;

async fn stays_within_its_budget(url: &str) {
    let port = free_port();
    let receiver = Process::serve_roles("receive", port, url).await;
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    // The dearest content: values of one byte.
    let dear = json!({"list": vec![0; 480_000]});
    for index in 0..BODIES {
        let body = with(user(&format!("u{index}"), 1), "public_metadata", dear.clone()).to_string();
        assert_eq!(post(&client, &receiver.url, &format!("msg_{index}"), body.as_bytes()).await, Some(200));
    }
    let received = receiver.peak_memory();
    drop(receiver);
    let applier = Process::serve_roles("sync", port, url).await;
    let db = open(url).await;
    let done = "select count(*) as n from clerk_sync.inbox where state = 'done'";
    let took = until(&db, done, BODIES as i64, Duration::from_secs(120)).await;
    let applied = applier.peak_memory();
    println!("received with {received} MB, applied with {applied} MB in {took:?}");
    assert!(applied <= MOST, "{applied} MB to apply {BODIES} MiB of bodies");
}

#[tokio::test(flavor = "multi_thread")]
async fn p10_large_bodies_are_applied_within_a_budget_on_sqlite() {
    let (_folder, url) = services::sqlite();
    stays_within_its_budget(&url).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn p10_large_bodies_are_applied_within_a_budget_on_postgres() {
    let Some(postgres) = services::postgres() else { return };
    stays_within_its_budget(postgres.url()).await;
}
