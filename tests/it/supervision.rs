//! Long-lived tasks: one that ends early ends the process, one that makes no progress is named, and no setting of a
//! duration ends one.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use clerk_sync::{
    app::{Ended, Role},
    clock::Clock,
    config::RANGES,
};
use serde_json::Value;

use crate::support::{
    dump::number,
    people::user,
    process::{Process, free_port, post},
    server::{ADMIN, Answer, Server, answer},
    services,
    world::sqlite,
};

async fn ready(url: &str) -> Answer {
    answer(reqwest::Client::builder().no_proxy().build().unwrap().get(format!("{url}/readyz"))).await
}

/// Waits until `/readyz` says so.
async fn until(url: &str, well: impl Fn(u16, &Value) -> bool) -> Value {
    let started = Instant::now();
    loop {
        let found = ready(url).await;
        let body = found.json();
        if well(found.status, &body) {
            return body;
        }
        assert!(started.elapsed() < Duration::from_secs(30), "{} {body}", found.status);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_task_that_panics_ends_the_process_with_a_failure() {
    for ends in ["panics", "returns"] {
        let world = sqlite(&[]).await;
        let running = world.serve().await;
        let supervisor = running.supervisor().clone();
        match ends {
            "panics" => supervisor.spawn("test", async { panic!("ada@example.com") }),
            _ => supervisor.spawn("test", async {}),
        }
        let ended = tokio::time::timeout(Duration::from_secs(10), running.until_ended()).await;
        assert_eq!(
            ended.expect("it ends by itself").unwrap(),
            Ended::Asked { in_order: false },
            "{ends}: an exit code that says so"
        );
        assert_eq!(&*supervisor.failed().await, "test");
    }
}

#[tokio::test]
async fn the_loops_of_a_process_are_named() {
    for server in Server::start_all(&[]).await {
        assert_eq!(server.deliver("msg_ada", &user("ada", 1)).await, 200);
        server.settle().await;
        let body = until(&server.url, |status, body| {
            status == 200
                && ["receipts", "tail", "upkeep"].iter().all(|name| !body["loops"][name]["last_turn_seconds"].is_null())
        })
        .await;
        for name in ["applier", "receipts", "tail", "upkeep"] {
            assert_eq!(body["loops"][name]["status"], "ok", "{}: {name}: {body}", server.name);
        }
        let relays = body["loops"].as_object().unwrap().keys().filter(|name| name.starts_with("relay:search:")).count();
        assert_eq!(relays, 1, "{body}");
        assert!(server.stop().await);
    }
}

#[tokio::test]
async fn an_applier_without_progress_is_not_ready_and_is_told() {
    let Some(postgres) = services::postgres() else { return };
    let keys = [("server.stalled_after", "1s")];
    let app = Server::connect(postgres.url(), &keys, Clock::system()).await;
    let server = Server::serve("postgres", app, &Role::ALL.into(), Box::new(())).await;
    until(&server.url, |status, _| status == 200).await;
    // A writer that keeps the commit lock.
    let other = Server::connect(postgres.url(), &keys, Clock::system()).await;
    let lock = other.db.begin_commit().await.unwrap();
    assert_eq!(server.deliver("msg_ada", &user("ada", 1)).await, 200, "receiving goes on");
    let body = until(&server.url, |status, _| status == 503).await;
    assert_eq!(
        (&body["code"], &body["loops"]["applier"]["status"]),
        (&"not_ready".into(), &"stalled".into()),
        "{body}"
    );
    assert!(body["detail"].as_str().unwrap().contains("applier"), "{body}");
    drop(lock);
    until(&server.url, |status, body| status == 200 && body["status"] == "ok").await;
    let started = Instant::now();
    let told = "select count(*) as n from clerk_sync.alerts where kind = 'loop.stalled' and subject = 'applier'";
    while number(&server.app.db, told).await == 0 {
        assert!(started.elapsed() < Duration::from_secs(30), "an alert");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    server.settle().await;
    assert!(server.stop().await);
}

#[tokio::test]
async fn where_nobody_applies_the_others_say_so_and_stay_ready() {
    let (_folder, url) = services::sqlite();
    let app = Server::connect(&url, &[("server.stalled_after", "1s")], Clock::system()).await;
    let roles: BTreeSet<Role> = Role::ALL.into_iter().filter(|role| *role != Role::Sync).collect();
    let server = Server::serve("sqlite", app, &roles, Box::new(())).await;
    assert_eq!(server.deliver("msg_ada", &user("ada", 1)).await, 200);
    let body = until(&server.url, |_, body| body["loops"]["applier"]["status"] == "stalled").await;
    assert_eq!(body["status"], "degraded", "{body}");
    assert_eq!(server.deliver("msg_ben", &user("ben", 1)).await, 200, "receipts are its duty");
    assert!(server.stop().await);
}

/// The greatest durations that are taken, and 0 where that is: nothing ends, and everything is applied.
#[tokio::test]
async fn no_duration_ends_a_loop() {
    let times = || RANGES.iter().filter(|range| range.is_time());
    let key = |name: &'static str| if name == "deletion.breaker.window" { "deletion.breaker.window" } else { name };
    let most: Vec<(&str, String)> = times().map(|range| (key(range.key), range.ends().1)).collect();
    let zero: Vec<(&str, String)> =
        times().filter(|range| range.ends().0 == "0s").map(|range| (key(range.key), "0s".to_owned())).collect();
    for (name, mut keys) in [("most", most), ("0", zero)] {
        // Connections that wait for so long, and a shutdown that waits for nothing, are what was asked for.
        keys.retain(|(key, _)| *key != "server.shutdown_grace" && (name != "0" || *key != "receiver.tolerance"));
        keys.push(("deletion.breaker.max", "5".to_owned()));
        let keys: Vec<(&str, &str)> = keys.iter().map(|(key, value)| (*key, value.as_str())).collect();
        for server in Server::start_all(&keys).await {
            assert_eq!(server.deliver("msg_ada", &user("ada", 1)).await, 200, "{name}");
            server.settle().await;
            assert_eq!(server.deliver("msg_gone", &crate::support::people::deleted("ada", 2)).await, 200, "{name}");
            let member = serde_json::json!({"type": "organizationMembership.created", "object": "event", "timestamp": 1_760_000_000_000_u64,
                "data": {"id": "orgmem_1", "role": "org:member", "permissions": [], "organization": {"id": "org_late"},
                "public_user_data": {"user_id": "user_ben"}, "created_at": 1_760_000_000_000_u64, "updated_at": 1_760_000_000_000_u64}});
            assert_eq!(server.deliver("msg_late", &member).await, 200, "{name}");
            // The end of the calendar, as the time of an event.
            let mut odd = crate::support::people::deleted("ben", 3);
            odd["timestamp"] = 8_210_266_876_799_000_u64.into();
            assert_eq!(server.deliver("msg_odd", &odd).await, 200, "{name}");
            server.settle().await;
            assert_eq!(
                number(&server.app.db, "select count(*) as n from clerk_sync.inbox where state = 'dead'").await,
                0,
                "{name}"
            );
            assert!(server.stop().await, "{name}");
        }
    }
}

/// One connection a pool is enough for everything.
#[tokio::test]
async fn one_connection_of_each_kind_is_enough() {
    let (folder, sqlite) = services::sqlite();
    let mut databases: Vec<(String, Box<dyn std::any::Any + Send>)> = vec![(sqlite, Box::new(folder))];
    if let Some(postgres) = services::postgres() {
        databases.push((postgres.url().to_owned(), Box::new(postgres)));
    }
    for (url, keep) in databases {
        let keys = [
            ("CLERK_SYNC__DATABASE__MAX_CONNECTIONS", "1"),
            ("CLERK_SYNC__DATABASE__MAX_READ_CONNECTIONS", "1"),
            ("CLERK_SYNC_ADMIN_TOKEN", ADMIN),
        ];
        let process = Process::serve(free_port(), &url, &keys).await;
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        for name in ["ada", "ben", "cleo"] {
            let body = user(name, 1).to_string();
            assert_eq!(post(&client, &process.url, &format!("msg_{name}"), body.as_bytes()).await, Some(200));
        }
        let started = Instant::now();
        loop {
            let found = answer(client.get(format!("{}/v1/users/user_cleo", process.url)).bearer_auth(ADMIN)).await;
            if found.status == 200 {
                break;
            }
            assert!(started.elapsed() < Duration::from_secs(20), "{url}: {}", found.text);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let audit = answer(client.get(format!("{}/v1/admin/stats", process.url)).bearer_auth(ADMIN)).await;
        assert_eq!(audit.status, 200, "{}", audit.text);
        assert!(process.terminate(), "{url}");
        drop(keep);
    }
}
