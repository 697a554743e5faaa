//! Operator slips: a wrong key, a wrong database, two of everything, settings at 0, at their maximum and "for ever". Each is
//! refused by name before anything changes, or can be taken back.

use std::{
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use clerk_sync::clock::Clock;
use serde_json::Value;

use crate::support::{
    clerk::{Clerk, INSTANCE, Simulated},
    dump::{number, texts},
    people::{deleted, user, with},
    process::{Process, SECRET, free_port, post, run},
    services,
    world::{World, sqlite, worlds},
};

const OTHER: &str = "ins_other";

/// What `serve` says where it does not start; nothing if it runs on.
fn refusal(database: &str, environment: &[(&str, &str)], arguments: &[&str]) -> Option<String> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_clerk-sync"));
    command.arg("serve").args(arguments).env_clear();
    command.envs([("DATABASE_URL", database), ("CLERK_WEBHOOK_SIGNING_SECRET", SECRET), ("PORT", "0")]);
    command.env("RUST_LOG", "off").envs(environment.iter().copied()).stdin(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(15) {
        if let Some(status) = child.try_wait().unwrap() {
            assert_eq!(status.code(), Some(1), "{environment:?}");
            let output = child.wait_with_output().unwrap();
            return Some(String::from_utf8_lossy(&output.stderr).into_owned());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    None
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_meant_is_refused_by_name() {
    let ours = Simulated::of(Clerk::seeded(5, 0, 0, 1, Clock::system())).await;
    let other = Simulated::of_instance(Clerk::seeded(5, 0, 0, 2, Clock::system()), OTHER).await;
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let key = ("CLERK_SECRET_KEY", "sk_test_simulated");
    for world in worlds(&ours.keys(&[])).await {
        world.app.instance.check(Duration::from_secs(5)).await.unwrap();
        let url = world.app.config.database.url.expose().to_owned();
        type Slip<'a> = (&'a str, &'a [(&'a str, &'a str)], &'a [&'a str]);
        let other_url = ("CLERK_API_URL", other.url.as_str());
        let configured = ("CLERK_SYNC__CLERK__INSTANCE_ID", OTHER);
        let slips: [Slip<'_>; 8] = [
            ("the key of another instance", &[key, other_url], &[INSTANCE, OTHER, "CLERK_SECRET_KEY", "--adopt"]),
            ("the database of another instance", &[configured], &[INSTANCE, OTHER, "DATABASE_URL", "--adopt"]),
            ("both of them", &[configured, key, other_url], &[INSTANCE, OTHER, "DATABASE_URL"]),
            ("a publishable key", &[("CLERK_SECRET_KEY", "pk_live_x")], &["CLERK_SECRET_KEY"]),
            (
                "a secret of another kind",
                &[("CLERK_WEBHOOK_SIGNING_SECRET", "sk_live_x")],
                &["CLERK_WEBHOOK_SIGNING_SECRET"],
            ),
            ("a port that is taken", &[("PORT", &port)], &["PORT"]),
            ("a database that is not there", &[("DATABASE_URL", "postgres://u:p@127.0.0.1:1/db")], &["DATABASE_URL"]),
            ("a database of another kind", &[("DATABASE_URL", "mysql://u:p@127.0.0.1/db")], &["DATABASE_URL"]),
        ];
        for (what, environment, names) in slips {
            let said = refusal(&url, environment, &[]).unwrap_or_else(|| panic!("{}: {what} is taken", world.name));
            assert!(names.iter().all(|name| said.contains(name)), "{}: {what}: {said}", world.name);
            assert!(!said.contains("u:p@"), "{what}: {said}");
        }
    }
    let (_folder, empty) = services::sqlite();
    let said = refusal(&empty, &[], &["--no-migrate"]).unwrap();
    assert!(said.contains("migrate"), "an empty database: {said}");
}

/// What was done by mistake is undone by a command.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_not_meant_is_taken_back() {
    for world in worlds(&[("organizations.sole_admin", "transfer".into()), ("deletion.breaker.max", "1".into())]).await
    {
        let on = [("CLERK_SYNC__DELETION__BREAKER__MAX", "1")];
        for name in ["a", "b", "c"] {
            world.deliver(&format!("msg_{name}"), &user(name, 1)).await;
        }
        world.drain().await;
        let status = async |name: &str| {
            let sql = format!("select status as t from clerk_sync.users where clerk_id = 'user_{name}'");
            texts(&world.app.db, sql).await.concat()
        };
        // A deletion was cancelled, and was right.
        for (n, name) in [(1, "a"), (2, "b")] {
            world.deliver(&format!("msg_gone_{name}"), &deleted(name, 100 + n)).await;
        }
        world.drain().await;
        assert!(run(&world, &["deletions", "cancel", "user_b"], &on).status.success(), "{}", world.name);
        assert_eq!(status("b").await, "active", "{}", world.name);
        assert!(run(&world, &["deletions", "release", "user_b"], &on).status.success(), "{}", world.name);
        assert_eq!(status("b").await, "deleted", "{}", world.name);
        // An event was put aside, and is needed.
        let nameless = with(with(user("d", 1), "first_name", Value::Null), "last_name", Value::Null);
        world.deliver("msg_d", &nameless).await;
        world.drain().await;
        assert!(run(&world, &["inbox", "discard", "msg_d"], &on).status.success(), "{}", world.name);
        assert!(run(&world, &["replay", "--all"], &on).status.success(), "{}", world.name);
        assert_eq!(world.inbox("msg_d").await.state, "discarded", "{}: a replay of everything leaves it", world.name);
        let allowed = [on[0], ("CLERK_SYNC__ENTRY__REQUIRE_NAME", "false")];
        assert!(run(&world, &["inbox", "retry", "msg_d"], &allowed).status.success(), "{}", world.name);
        assert_eq!(status("d").await, "active", "{}", world.name);
        // Another instance was adopted, and was the wrong one.
        for id in [INSTANCE, OTHER, INSTANCE] {
            let adopt = run(&world, &["instance", "--adopt"], &[("CLERK_SYNC__CLERK__INSTANCE_ID", id)]);
            assert!(adopt.status.success(), "{}: {}", world.name, String::from_utf8_lossy(&adopt.stderr));
        }
        // Somebody is erased only once they are deleted.
        assert_eq!(run(&world, &["erase", "user_c"], &on).status.code(), Some(1), "{}", world.name);
        assert_eq!(status("c").await, "active", "{}", world.name);
    }
}

/// Two servers on one database, started by mistake: every delivery has its effect once, whichever of them took it.
#[tokio::test]
async fn two_servers_on_one_database_do_no_harm() {
    for world in worlds(&[]).await {
        let url = world.app.config.database.url.expose().to_owned();
        let servers = [Process::serve(free_port(), &url, &[]).await, Process::serve(free_port(), &url, &[]).await];
        let client = reqwest::Client::new();
        for n in 0..40 {
            let (server, body) = (&servers[n % 2], user(&format!("u{n}"), 1).to_string());
            for server in [server, &servers[(n + 1) % 2]] {
                assert_eq!(post(&client, &server.url, &format!("msg_{n}"), body.as_bytes()).await, Some(200));
            }
        }
        let started = Instant::now();
        let count = async |sql| number(&world.app.db, sql).await;
        while count("select count(*) as n from clerk_sync.inbox where state <> 'done'").await > 0 {
            assert!(started.elapsed() < Duration::from_secs(30), "{}", world.name);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert_eq!(
            count("select count(*) as n from clerk_sync.outbox where event = 'user.created'").await,
            40,
            "{}",
            world.name
        );
        assert!(servers.into_iter().all(Process::terminate), "{}", world.name);
    }
}

/// Every duration and number of the configuration.
fn settings() -> Vec<(String, Vec<&'static str>)> {
    let defaults = include_str!("../../config/default.toml");
    let (mut section, mut found) = (String::new(), Vec::new());
    for line in defaults.lines() {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.split(']').next()) {
            section = name.to_owned();
            continue;
        }
        let Some((key, value)) = line.split_once('=').filter(|_| !line.starts_with('#')) else { continue };
        let (key, value) = (key.trim(), value.split('#').next().unwrap_or_default().trim());
        let name = format!("{section}.{key}");
        if value.trim_matches('"').parse::<humantime::Duration>().is_ok() && value.starts_with('"') {
            found.push((name, vec!["0s", "1ms", "100000d", "500000000000y"]));
        } else if value.parse::<u64>().is_ok() {
            found.push((name, vec!["0", "1", "4294967295"]));
        } else if value.parse::<f64>().is_ok() {
            found.push((name, vec!["0", "1", "nan", "-1"]));
        } else if key == "breaker" {
            found.extend([
                (format!("{name}.max"), vec!["0", "4294967295"]),
                (format!("{name}.window"), vec!["0s", "500000000000y"]),
            ]);
        }
    }
    found
}

/// A setting at 0, at 1, at its maximum and "for ever" is refused with its name, or the server takes a delivery, applies it
/// within ten seconds and ends when it is told to.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "minutes: tests/run --long"]
async fn every_setting_at_its_ends_is_refused_by_name_or_works() {
    let settings = settings();
    assert!(settings.len() > 40, "{settings:?}");
    let world = sqlite(&[]).await;
    let url = world.app.config.database.url.expose().to_owned();
    let mut wrong = Vec::new();
    let all = settings.iter().flat_map(|(key, values)| values.iter().map(move |value| (key.as_str(), *value)));
    // The port is any free one.
    for (n, (key, value)) in all.filter(|(key, _)| *key != "server.port").enumerate() {
        if let Err(what) = works(&world, &url, (key, value), n).await {
            wrong.push(format!("{key} = {value}: {what}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Of a process of its own: what allocates without bound ends it.
async fn works(world: &World, url: &str, (key, value): (&str, &str), n: usize) -> Result<(), String> {
    let name = format!("CLERK_SYNC__{}", key.replace('.', "__").to_uppercase());
    let port = free_port();
    let mut command = Command::new(env!("CARGO_BIN_EXE_clerk-sync"));
    command.arg("serve").env_clear().envs([("DATABASE_URL", url), ("CLERK_WEBHOOK_SIGNING_SECRET", SECRET)]);
    command.env("RUST_LOG", "off").env("PORT", port.to_string()).env(name, value);
    let mut child = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let (base, started) = (format!("http://127.0.0.1:{port}"), Instant::now());
    let client = reqwest::Client::builder().timeout(Duration::from_secs(5)).build().unwrap();
    while client.get(format!("{base}/healthz")).send().await.is_err() {
        if let Some(status) = child.try_wait().unwrap() {
            let said = String::from_utf8_lossy(&child.wait_with_output().unwrap().stderr).into_owned();
            let named = said.contains(key) || said.contains(key.rsplit('.').next().unwrap_or_default());
            return match status.code() {
                Some(1) if named => Ok(()),
                Some(1) => Err(format!("refused without its name: {said}")),
                _ => Err(format!("it dies ({status}): {said}")),
            };
        }
        if started.elapsed() > Duration::from_secs(10) {
            child.kill().unwrap();
            child.wait().unwrap();
            return Err("it neither starts nor is refused".into());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let (id, body) = (format!("msg_{n}"), user(&format!("u{n}"), 1).to_string());
    let status = post(&client, &base, &id, body.as_bytes()).await;
    let state = async || {
        let sql = format!("select state as t from clerk_sync.inbox where svix_id = '{id}'");
        texts(&world.app.db, sql).await.concat()
    };
    let mut done = Ok(());
    if status == Some(200) {
        let posted = Instant::now();
        while state().await != "done" && done.is_ok() {
            if posted.elapsed() > Duration::from_secs(10) {
                done = Err("a delivery is not applied".to_owned());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    } else if !matches!(status, Some(401 | 413 | 503)) {
        // One that takes nothing because it was told to says so.
        done = Err(format!("a delivery is answered {status:?}"));
    }
    assert!(Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap().success());
    let told = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if told.elapsed() > Duration::from_secs(25) {
            child.kill().unwrap();
            child.wait().unwrap();
            return Err("it does not end".into());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    done
}
