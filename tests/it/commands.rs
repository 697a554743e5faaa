//! The command line, as somebody types it: exit codes, what is printed, what it does to the database.

use std::process::Output;

use clerk_sync::{
    app::{App, Role},
    clock::Clock,
};
use sea_orm::ConnectionTrait as _;
use serde_json::{Value, json};

use crate::support::{
    people::{user, with},
    process::{Process, SECRET, free_port, post, run, run_on},
    services,
    world::{World, sqlite, worlds},
    ws::Client,
};

fn text(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn complaint(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn lines(output: &Output) -> Vec<Value> {
    text(output).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// A nameless person, refused; a named one; and an event of a type without a rule.
async fn story() -> World {
    let world = sqlite(&[]).await;
    let nameless = with(with(user("eve", 1), "first_name", Value::Null), "last_name", Value::Null);
    let secret = with(user("ada", 1), "private_metadata", json!({"note": "markprivate"}));
    world.deliver("msg_eve", &nameless).await;
    world.deliver("msg_ada", &secret).await;
    world.deliver("msg_plan", &json!({"type": "plan.changed", "data": {"id": "plan_1"}})).await;
    world.drain().await;
    world
}

#[tokio::test]
async fn inbox_lists_shows_retries_and_discards() {
    let world = story().await;
    let rejected = lines(&run(&world, &["inbox", "list", "--state", "rejected", "--json"], &[]));
    assert_eq!(rejected.len(), 1);
    assert_eq!((&rejected[0]["svix_id"], &rejected[0]["subject"]), (&json!("msg_eve"), &json!("user_eve")));
    assert!(rejected[0].get("body").is_none());
    assert_eq!(lines(&run(&world, &["inbox", "list", "--json"], &[])).len(), 3);
    assert!(text(&run(&world, &["inbox", "list", "--type", "plan.changed"], &[])).contains("msg_plan"));
    let shown = text(&run(&world, &["inbox", "show", "msg_ada"], &[]));
    assert!(shown.contains("\"user_ada\"") && !shown.contains("markprivate"), "{shown}");

    let allowed = [("CLERK_SYNC__ENTRY__REQUIRE_NAME", "false")];
    assert!(run(&world, &["inbox", "retry", "msg_eve"], &allowed).status.success());
    assert_eq!(world.inbox("msg_eve").await.outcome.as_deref(), Some("created"));
    assert!(run(&world, &["inbox", "discard", "msg_plan"], &[]).status.success());
    assert_eq!(world.inbox("msg_plan").await.state, "discarded");
    let refused = run(&world, &["inbox", "discard", "msg_ada"], &[]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(complaint(&refused).contains("has had its effect"), "{}", complaint(&refused));
    assert_eq!(run(&world, &["inbox", "show", "msg_none"], &[]).status.code(), Some(1));
    assert_eq!(run(&world, &["inbox", "list", "--state", "lost"], &[]).status.code(), Some(1));
}

#[tokio::test]
async fn replay_says_what_it_would_do_and_does_it() {
    let world = story().await;
    let allowed = [("CLERK_SYNC__ENTRY__REQUIRE_NAME", "false")];
    let dry = text(&run(&world, &["replay", "--state", "rejected", "--dry-run"], &allowed));
    assert!(dry.contains("user_eve  email: null -> \"eve@example.com\""), "{dry}");
    assert_eq!(world.inbox("msg_eve").await.state, "rejected", "a dry run writes nothing");
    let masked = text(&run(&world, &["replay", "--id", "msg_ada", "--dry-run", "--json"], &[]));
    assert!(masked.contains("unchanged") && !masked.contains("markprivate"), "{masked}");

    let done = lines(&run(&world, &["replay", "--state", "rejected", "--json"], &allowed));
    assert_eq!(done, [json!({"replayed": 1, "outcomes": {"done/created": 1}, "resynced": 0, "left_out": 0})]);
    let feed = clerk_sync::outbox::feed::read(&world.app.db.read, 0, 50).await.unwrap();
    let again = lines(&run(&world, &["replay", "--all", "--effects", "all", "--json"], &allowed));
    assert_eq!(again[0]["resynced"], 2);
    let after = clerk_sync::outbox::feed::read(&world.app.db.read, feed.last().unwrap().seq, 50).await.unwrap();
    let rows: Vec<_> =
        after.iter().map(|entry| (entry.event.as_str(), entry.effects.as_str(), entry.changed.to_string())).collect();
    assert_eq!(rows, [("user.updated", "state", "[]".to_owned()), ("user.updated", "state", "[]".to_owned())]);
    let usage = run(&world, &["replay"], &[]);
    assert_eq!(usage.status.code(), Some(2));
}

#[tokio::test]
async fn replay_says_what_it_leaves_out() {
    let world = story().await;
    let before = world.inbox("msg_ada").await;
    world
        .app
        .db
        .write
        .execute_unprepared("update clerk_sync.inbox set body = null where svix_id = 'msg_ada'")
        .await
        .unwrap();
    let dry = text(&run(&world, &["replay", "--all", "--dry-run"], &[]));
    let of = |id: &str| dry.lines().find(|line| line.starts_with(id)).unwrap().to_owned();
    assert!(of("msg_ada").ends_with("left out: body emptied by retention or erasure"), "{dry}");
    assert!(of("msg_eve").contains("entry.require_name"), "{dry}");
    let dry = lines(&run(&world, &["replay", "--all", "--dry-run", "--json"], &[]));
    assert!(dry.contains(&json!({"id": "msg_ada", "left_out": "body emptied by retention or erasure"})), "{dry:?}");
    let done = lines(&run(&world, &["replay", "--all", "--json"], &[]));
    assert_eq!((&done[0]["replayed"], &done[0]["left_out"]), (&json!(2), &json!(1)));
    assert_eq!(done[0]["outcomes"], json!({"rejected/rejected": 1, "skipped/ignored": 1}), "only what was planned");
    assert_eq!(world.inbox("msg_ada").await, entity::inbox::Model { body: None, ..before });
    assert!(text(&run(&world, &["replay", "--all"], &[])).contains("1 left out: body emptied by retention or erasure"));
    let retried = run(&world, &["inbox", "retry", "msg_ada"], &[]);
    assert_eq!(retried.status.code(), Some(1));
    assert!(complaint(&retried).contains("body emptied by retention or erasure"), "{}", complaint(&retried));
    assert!(text(&run(&world, &["inbox", "show", "msg_ada"], &[])).contains("body emptied by retention or erasure"));
}

#[tokio::test]
async fn audit_lists_who_changed_what() {
    let world = story().await;
    world.deliver("msg_ada2", &with(user("ada", 2), "first_name", json!("Augusta"))).await;
    world.drain().await;
    assert!(run(&world, &["inbox", "discard", "msg_eve"], &[]).status.success());
    let all = lines(&run(&world, &["audit", "--json"], &[]));
    let what = |row: &Value| format!("{} {} {}", row["actor"], row["action"], row["subject"]).replace('"', "");
    let (ada, eve) = ("clerk user.updated user_ada", "operator event.discarded user_eve");
    assert_eq!(all.iter().map(what).collect::<Vec<_>>(), [eve, ada, ada], "the latest first");
    assert_eq!(lines(&run(&world, &["audit", "--limit", "1", "--json"], &[])), all[..1]);
    let about = text(&run(&world, &["audit", "--subject", "user_ada"], &[]));
    assert_eq!(about.lines().count(), 2);
    assert!(about.lines().next().unwrap().ends_with("msg_ada2  display_name, first_name, private_metadata"), "{about}");
    assert!(!about.contains("markprivate"), "{about}");
    assert!(text(&run(&world, &["audit", "--subject", "user_none"], &[])).is_empty());
}

#[tokio::test]
async fn a_new_epoch_is_told_by_whoever_starts_after_it() {
    for world in worlds(&[("api.admin_token", "t0ken".into())]).await {
        let old = world.app.meta.clone();
        world.deliver("msg_ada", &user("ada", 1)).await;
        world.drain().await;
        let done = run(&world, &["epoch", "renew"], &[]);
        assert!(done.status.success(), "{}", complaint(&done));
        let app = App::connect((*world.app.config).clone(), Clock::system(), false).await.unwrap();
        assert_ne!(app.meta.epoch, old.epoch, "{}", world.name);
        assert_eq!(app.meta.hash_key, old.hash_key, "who was deleted is known by it");
        let said = text(&done);
        assert!(said.contains(&old.epoch) && said.contains(&app.meta.epoch), "{said}");
        let trail = lines(&run(&world, &["audit", "--subject", "epoch", "--json"], &[]));
        assert_eq!(trail[0]["diff"], json!({"epoch": [old.epoch, app.meta.epoch]}));
        // A client that has followed the old numbering loads everything anew.
        let running = app.clone().start(&Role::ALL.into()).await.unwrap();
        let mut client = Client::open(running.addr, &[], None).await.unwrap();
        assert_eq!(client.auth("t0ken").await["epoch"], json!(app.meta.epoch));
        client.subscribe(&["users"], json!({"after": 1, "epoch": old.epoch})).await;
        assert_eq!(client.frame().await, json!({"type": "reset", "topic": "users", "seq": 1}), "{}", world.name);
        client.subscribe(&["users"], json!({"after": 1, "epoch": app.meta.epoch})).await;
        assert!(client.rest().await.is_empty());
        assert!(running.stop().await);
    }
}

#[tokio::test]
async fn reindex_and_dead_letters() {
    let world = story().await;
    let done = run(&world, &["reindex"], &[]);
    assert!(done.status.success(), "{}", complaint(&done));
    assert!(text(&done).contains("search: 1 people indexed, 0 refused"), "{}", text(&done));
    assert_eq!(world.app.sinks.search.search.search("ada", 5).await.unwrap().len(), 1);
    assert!(text(&run(&world, &["dead-letters", "list", "--json"], &[])).is_empty());
    let none = uuid::Uuid::nil().to_string();
    assert_eq!(run(&world, &["dead-letters", "discard", &none], &[]).status.code(), Some(1));
    assert_eq!(run(&world, &["dead-letters", "retry", &none], &[]).status.code(), Some(1));
    assert_eq!(run(&world, &["dead-letters", "retry", "x"], &[]).status.code(), Some(2));
}

#[tokio::test]
async fn migrate_says_what_is_pending_and_serve_refuses_it() {
    let (_folder, url) = services::sqlite();
    let secret = [("CLERK_WEBHOOK_SIGNING_SECRET", SECRET), ("PORT", "0")];
    assert_eq!(run_on(&url, &["migrate", "status"], &[]).status.code(), Some(1));
    let refused = run_on(&url, &["serve", "--no-migrate"], &secret);
    assert_eq!(refused.status.code(), Some(1));
    assert!(complaint(&refused).contains("migrate up"), "{}", complaint(&refused));
    assert!(run_on(&url, &["migrate", "up"], &[]).status.success());
    assert!(run_on(&url, &["migrate", "status"], &[]).status.success());
}

#[tokio::test]
async fn serve_refuses_to_start_and_names_the_key() {
    let (_folder, url) = services::sqlite();
    let good = ("CLERK_WEBHOOK_SIGNING_SECRET", SECRET);
    for (environment, key) in [
        (vec![], "CLERK_WEBHOOK_SIGNING_SECRET"),
        (vec![("CLERK_WEBHOOK_SIGNING_SECRET", "")], "CLERK_WEBHOOK_SIGNING_SECRET"),
        (vec![("CLERK_WEBHOOK_SIGNING_SECRET", "whsec_")], "clerk.signing_secret"),
        (vec![("CLERK_WEBHOOK_SIGNING_SECRET", "whsec_not base64")], "clerk.signing_secret"),
        (vec![good, ("DATABASE_URL", "postgres://127.0.0.1:1/none")], "DATABASE_URL"),
        (vec![good, ("DATABASE_URL", "mysql://x")], "database.url"),
        (vec![good, ("CLERK_SYNC_API_TOKENS", "reader:all:t0psecret")], "api.tokens"),
        (vec![good, ("CLERK_SYNC__ROLES__PATH", "unsafe_metadata.roles")], "roles.path"),
        (vec![good, ("CLERK_SYNC__ALERTS__WEBHOOK_URL", "http://hooks.example/t0psecret")], "alerts.webhook_url"),
        (vec![good, ("CLERK_SYNC__ALERTS__WEBHOOK_URL", "https://[::1]/t0psecret")], "alerts.webhook_url"),
        (vec![good, ("CLERK_SYNC__ALERTS__MAIL_TO", "t0psecret")], "alerts.mail_to"),
        (vec![good, ("CLERK_SYNC__ALERTS__MAIL_TO", "a@example.com"), ("SMTP_URL", "http://t0psecret")], "smtp.url"),
        (vec![good, ("CLERK_SYNC__SYNC__BATHC", "5")], "bathc"),
        (vec![good, ("CLERK_SYNC__SYNC__POLL", "soon")], "sync.poll"),
        (vec![good, ("CLERK_SYNC__RETENTION__RECEIPTS", "6d")], "retention.receipts"),
    ] {
        let output = run_on(&url, &["serve"], &environment);
        assert_eq!(output.status.code(), Some(1), "{environment:?}");
        let said = complaint(&output);
        assert!(said.contains(key), "{environment:?}: {said}");
        assert!(!said.contains("t0psecret") && !said.contains("not base64"), "{said}");
    }
    assert_eq!(run_on(&url, &["serve", "--roles", "cook"], &[good]).status.code(), Some(1));
    assert_eq!(run_on(&url, &["fly"], &[]).status.code(), Some(2));
}

#[tokio::test]
async fn config_masks_what_is_secret() {
    let environment =
        [("CLERK_WEBHOOK_SIGNING_SECRET", SECRET), ("CLERK_SYNC_ADMIN_TOKEN", "t0psecret"), ("PORT", "4242")];
    let shown = text(&run_on("postgres://u:passw0rd@h/db", &["config"], &environment));
    assert!(shown.contains("server.port = 4242") && shown.contains("api.admin_token = ***"), "{shown}");
    assert!(!shown.contains(SECRET) && !shown.contains("t0psecret") && !shown.contains("passw0rd"));
}

/// Roles split over processes: one takes deliveries, another applies them.
#[tokio::test]
async fn roles_can_be_split_over_processes_and_send_posts_files() {
    let (folder, url) = services::sqlite();
    let receiving = Process::serve_roles("receive", free_port(), &url).await;
    let file = folder.path().join("ada.json");
    std::fs::write(&file, user("ada", 1).to_string()).unwrap();
    let sent = run_on(
        &url,
        &["send", file.to_str().unwrap(), "--to", &receiving.url],
        &[("CLERK_WEBHOOK_SIGNING_SECRET", SECRET)],
    );
    assert!(sent.status.success() && text(&sent).starts_with("200  accepted"), "{} {}", text(&sent), complaint(&sent));
    let wrong = ["send", file.to_str().unwrap(), "--to", &receiving.url];
    assert_eq!(run_on(&url, &wrong, &[]).status.code(), Some(1));
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let users = client.get(format!("{}/v1/users", receiving.url)).send().await.unwrap().status();
    assert_eq!(users, 404, "this process has no such role");
    assert_eq!(post(&client, &receiving.url, "msg_ben", user("ben", 1).to_string().as_bytes()).await, Some(200));

    let applying = Process::serve_roles("sync", free_port(), &url).await;
    assert_eq!(post(&client, &applying.url, "msg_cleo", user("cleo", 1).to_string().as_bytes()).await, Some(404));
    for _ in 0..300 {
        if lines(&run_on(&url, &["inbox", "list", "--state", "done", "--json"], &[])).len() == 2 {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    panic!("the other process did not apply what this one took");
}

/// The demonstration covers the whole pipeline, and fails where a part of it does.
#[tokio::test]
async fn dev_once_shows_the_whole_pipeline() {
    let (_folder, url) = services::sqlite();
    let shown = run_on(&url, &["dev", "--once"], &[]);
    let said = text(&shown);
    assert!(shown.status.success(), "{said}{}", complaint(&shown));
    assert!(said.lines().count() <= 60 && !said.contains("FAIL"), "{said}");
    for line in [
        "duplicate   the same svix-id again: 200 duplicate",
        "skipped: example",
        r#""event":"user.updated""#,
        "search      GET /v1/search/users?q=",
        "alert conflict.email: a verified address of ",
        "compared    0 differences",
    ] {
        assert!(said.contains(line), "{line}: {said}");
    }
    let broken = run_on(&url, &["dev", "--once"], &[("CLERK_SYNC__GATEWAY__MAX_CONNECTIONS", "0")]);
    assert_eq!(broken.status.code(), Some(1), "{}", text(&broken));
    assert!(text(&broken).contains("websocket   FAIL: "), "{}", text(&broken));
}
