//! What is worth a word and stops nobody: a pooler that swallows notifications, people whom the rules refuse, types that
//! nobody reads, a limit that is used up; and a clock that is wrong.

use clerk_sync::{
    clerk::simulated::{Failure, RetryAfter},
    clock::Clock,
    config::Secret,
    doctor::{Level, examine},
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream, tcp::OwnedReadHalf, tcp::OwnedWriteHalf},
};

use super::bed::{KEY, clerk, doctor, leading_to};
use crate::support::{
    organizations::session,
    people::{user, with},
    world::{config, postgres, sqlite},
};

/// Hands every message of a Postgres server on, but for notifications: what a transaction pooler makes of LISTEN.
async fn swallow(mut server: OwnedReadHalf, mut client: OwnedWriteHalf) -> std::io::Result<()> {
    loop {
        let mut head = [0; 5];
        server.read_exact(&mut head).await?;
        let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
        let mut body = vec![0; length - 4];
        server.read_exact(&mut body).await?;
        if head[0] != b'A' {
            client.write_all(&[&head[..], &body].concat()).await?;
        }
    }
}

/// A pooler of that kind before `server`; its address.
async fn pooler(server: String) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let (mut from, to) = client.into_split();
            let (answers, mut questions) = TcpStream::connect(&server).await.unwrap().into_split();
            tokio::spawn(swallow(answers, to));
            tokio::spawn(async move { tokio::io::copy(&mut from, &mut questions).await });
        }
    });
    at
}

#[tokio::test]
async fn a_pooler_that_swallows_notifications_is_told() {
    let Some(world) = postgres(&[]).await else { return };
    let url = world.app.config.database.url.expose().to_owned();
    let (_, rest) = url.split_once('@').unwrap();
    let (server, name) = rest.split_once('/').unwrap();
    let at = pooler(server.to_owned()).await;
    let through = format!("postgres://postgres@{at}/{name}?sslmode=disable");
    let report = doctor(&through, &[]).await;
    assert_eq!(report.code, 0, "{:#?}", report.lines);
    assert_eq!(report.of("warn"), ["notify"]);
    assert!(report.about("notify").2.contains("pool_mode = session") && report.about("notify").2.contains("sync.poll"));
}

#[tokio::test]
async fn people_whom_the_rules_refuse_and_types_that_nobody_reads_are_counted() {
    let world = sqlite(&[]).await;
    let nameless = |body: Value| with(with(body, "first_name", Value::Null), "last_name", Value::Null);
    for n in 1..=2 {
        world.deliver(&format!("msg_eve{n}"), &nameless(user("eve", n))).await;
    }
    world.deliver("msg_fay", &nameless(user("fay", 1))).await;
    world.deliver("msg_ada", &user("ada", 1)).await;
    world.deliver("msg_end", &session("one", "ada", "ended")).await;
    let plan = json!({"type": "plan.changed", "data": {"id": "plan_1"}});
    for n in 0..50 {
        world.deliver(&format!("msg_plan{n}"), &plan).await;
    }
    world.drain().await;
    let url = world.app.config.database.url.expose().to_owned();
    let report = doctor(&url, &[]).await;
    assert_eq!((report.code, report.of("warn")), (0, vec!["event-types", "entry"]), "{:#?}", report.lines);
    let (_, found, remedy) = report.about("entry");
    assert_eq!(
        found, "2 people are refused, having neither a first nor a last name (entry.require_name = true)",
        "people, not deliveries"
    );
    assert!(remedy.contains("CLERK_SYNC__ENTRY__REQUIRE_NAME=false"), "{remedy}");
    let off = doctor(&url, &[("CLERK_SYNC__ENTRY__REQUIRE_NAME", "false")]).await;
    assert!(off.about("entry").2.starts_with("The rule is off now"), "{:?}", off.about("entry"));
    assert_eq!(report.about("event-types").1, "never came: user.created, user.deleted");
    assert_eq!(report.about("ignored-types").1, "delivered, and read by nobody: plan.changed (50)");
    assert_eq!(
        report.about("instance").1,
        "deliveries are of ins_tests; nothing pins it, and those of any other are applied"
    );
}

/// Whoever fails both rules counts under both.
#[tokio::test]
async fn a_user_whom_two_rules_refuse_counts_under_each() {
    let world = sqlite(&[]).await;
    let nameless = |body: Value| with(with(body, "first_name", Value::Null), "last_name", Value::Null);
    world.deliver("msg_both", &with(nameless(user("eve", 1)), "email_addresses", json!([]))).await;
    world.deliver("msg_name", &nameless(user("fay", 1))).await;
    world.drain().await;
    let report = doctor(world.app.config.database.url.expose(), &[]).await;
    let entry = report.lines.iter().filter(|line| line["check"] == "entry");
    let found: Vec<&str> = entry.map(|line| line["found"].as_str().unwrap()).collect();
    assert_eq!(
        found,
        [
            "2 people are refused, having neither a first nor a last name (entry.require_name = true)",
            "1 person is refused, having no e-mail address (entry.require_email = true)",
        ]
    );
}

#[tokio::test]
async fn a_limit_that_is_used_up_is_told_and_is_not_the_key_s_fault() {
    let world = sqlite(&[]).await;
    let clerk = clerk().await;
    let url = world.app.config.database.url.expose().to_owned();
    clerk.modes.fail_share(1.0, [Failure::TooMany(RetryAfter::Seconds(7))]);
    let report = doctor(&url, &leading_to(&clerk)).await;
    assert_eq!((report.code, report.of("warn")), (0, vec!["rate-limit"]), "{:#?}", report.lines);
    assert!(report.about("rate-limit").2.contains("RATE_SHARE") && report.about("api-key").0 == "skip");
    clerk.modes.fail_share(1.0, [Failure::Unavailable]);
    let report = doctor(&url, &leading_to(&clerk)).await;
    assert_eq!((report.code, report.of("warn")), (0, vec!["api-key"]), "{:#?}", report.lines);
}

/// Ours against Clerk's, and against the database server's.
#[tokio::test]
async fn a_clock_that_is_wrong_is_named() {
    let clerk = clerk().await;
    let late = |seconds: i64| {
        let clock = Clock::system();
        Clock::from_fn(move || clock.now() - chrono::Duration::seconds(seconds))
    };
    let world = sqlite(&[]).await;
    let mut config = config(&[("clerk.api_url", clerk.url.clone()), ("clerk.secret_key", KEY.into())]);
    config.clerk.signing_secret = world.app.config.clerk.signing_secret.clone();
    config.database = world.app.config.database.clone();
    for (seconds, level) in [(20, Level::Ok), (120, Level::Warn), (280, Level::Fail), (-280, Level::Fail)] {
        let findings = examine(&config, &late(seconds)).await;
        let clock = findings.iter().find(|finding| finding.check == "clock").unwrap();
        assert_eq!(clock.level, level, "{clock:?}");
        let failed = findings.iter().filter(|finding| finding.level == Level::Fail).count();
        assert_eq!(failed, usize::from(level == Level::Fail), "{findings:#?}");
    }
    let Some(world) = postgres(&[]).await else { return };
    config.clerk.secret_key = Secret::from("");
    config.database = world.app.config.database.clone();
    let findings = examine(&config, &late(120)).await;
    let clock = findings.iter().find(|finding| finding.check == "clock").unwrap();
    assert!(clock.level == Level::Warn && clock.found.contains("the database server's"), "{clock:?}");
}
