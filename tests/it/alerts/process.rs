//! The real binary: killed between attempts, over real TLS, watched for what it writes down.

use std::{
    collections::{BTreeMap, BTreeSet},
    process::Stdio,
    time::Duration,
};

use clerk_sync::{
    config::Secret,
    db::{self, Db},
    outbox::feed,
};
use serde_json::{Value, json};

use crate::support::{
    chat,
    people::{user, with},
    process::{Process, free_port, post},
    services,
    smtp::{self, Encryption, Read},
    tls::AUTHORITY,
    world::config,
};

const KILLS: usize = 8;

fn alarming(name: &str) -> Value {
    with(user(name, 1), "public_metadata", json!({"roles": ["boss"]}))
}

async fn open(url: &str) -> Db {
    let mut config = config(&[]);
    config.database.url = Secret::from(url);
    db::connect(&config.database).await.unwrap()
}

/// Seqs of the alerts that were raised.
async fn raised(db: &Db) -> BTreeSet<i64> {
    let entries = feed::read(&db.read, 0, 10_000).await.unwrap();
    entries.iter().filter(|entry| entry.event == "alert.raised").map(|entry| entry.seq).collect()
}

/// How often each alert came by mail, by the number in its Message-ID; and by chat.
fn came(smtp: &smtp::Double, chat: &chat::Double) -> [BTreeMap<i64, usize>; 2] {
    let count = |seqs: Vec<i64>| {
        seqs.into_iter().fold(BTreeMap::new(), |mut counts: BTreeMap<i64, usize>, seq| {
            *counts.entry(seq).or_default() += 1;
            counts
        })
    };
    let first = |text: &str, end| text.split(end).next().unwrap().trim_start_matches('<').parse().unwrap();
    let mails = smtp.letters().iter().map(|letter| first(Read::of(&letter.raw).header("message-id"), '.')).collect();
    let posts = chat.posts().iter().map(|post| first(post.key(), ':')).collect();
    [count(mails), count(posts)]
}

async fn killed_between_attempts(url: &str) {
    let (smtp, chat) = (smtp::Double::start().await, chat::Double::start().await);
    let (mail_url, chat_url) = (smtp.url(), chat.url());
    let environment = [
        ("SMTP_URL", mail_url.as_str()),
        ("CLERK_SYNC__ALERTS__MAIL_TO", "ops@example.com"),
        ("CLERK_SYNC__ALERTS__WEBHOOK_URL", chat_url.as_str()),
        ("CLERK_SYNC__ALERTS__ALLOW_PRIVATE", "true"),
        ("CLERK_SYNC__SYNC__LEASE", "1s"),
        ("CLERK_SYNC__UPKEEP__EVERY", "200ms"),
        ("CLERK_SYNC__RELAY__LEASE", "300ms"),
        ("CLERK_SYNC__RELAY__POLL", "20ms"),
        ("CLERK_SYNC__RELAY__BACKOFF", "5ms"),
        ("CLERK_SYNC__RELAY__BACKOFF_MAX", "20ms"),
        // What the environment says of proxies is for others.
        ("HTTP_PROXY", "http://127.0.0.1:1"),
        ("http_proxy", "http://127.0.0.1:1"),
        ("ALL_PROXY", "http://127.0.0.1:1"),
    ];
    use smtp::Fault::*;
    for _ in 0..6 {
        let slow = Slow(Duration::from_millis(20));
        smtp.fail([
            Close,
            slow,
            Content(451),
            BreakInContent,
            slow,
            BreakAfterContent { taken: false },
            Greeting(421),
            slow,
        ]);
        let slow = chat::Fault::Slow(Duration::from_millis(80));
        let unwell = chat::Fault::Status(503, "");
        chat.fail([chat::Fault::Close, slow.clone(), unwell, chat::Fault::Break { taken: false }, slow]);
    }
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let port = free_port();
    let mut process = Process::serve(port, url, &environment).await;
    let mut people = 0;
    for round in 0..KILLS {
        for _ in 0..4 {
            let body = alarming(&format!("p{people}")).to_string();
            assert_eq!(post(&client, &process.url, &format!("msg_{people}"), body.as_bytes()).await, Some(200));
            people += 1;
        }
        tokio::time::sleep(Duration::from_millis(150 + 170 * (round as u64 % 5))).await;
        process.kill();
        process = Process::serve(port, url, &environment).await;
    }
    let database = open(url).await;
    let started = std::time::Instant::now();
    loop {
        let alerts = raised(&database).await;
        let [mails, posts] = came(&smtp, &chat);
        if alerts.len() == people && alerts.iter().all(|seq| mails.contains_key(seq) && posts.contains_key(seq)) {
            break;
        }
        assert!(
            started.elapsed() < Duration::from_secs(60),
            "lost: {people} people, {alerts:?}; came: {mails:?} {posts:?}"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(process.terminate(), "ended in order");
    let alerts = raised(&database).await;
    for counts in came(&smtp, &chat) {
        assert_eq!(counts.keys().copied().collect::<BTreeSet<_>>(), alerts, "nothing but what was raised");
        let twice: usize = counts.values().map(|count| count - 1).sum();
        assert!(twice <= KILLS, "only a kill in mid-delivery can make one come again: {counts:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_alert_is_lost_to_sigkill_on_sqlite() {
    let (_folder, url) = services::sqlite();
    killed_between_attempts(&url).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_alert_is_lost_to_sigkill_on_postgres() {
    let Some(postgres) = services::postgres() else { return };
    killed_between_attempts(postgres.url()).await;
}

/// Mail over STARTTLS and over TLS with a login, chat over https; and P8: the log at its finest tells no secret, no
/// address, no word of an alert.
#[tokio::test(flavor = "multi_thread")]
async fn channels_are_encrypted_and_p8_nothing_of_them_is_logged() {
    for (encryption, scheme) in [(Encryption::StartTls, "smtp"), (Encryption::Always, "smtps")] {
        let (smtp, chat) = (smtp::Double::start_with(encryption).await, chat::Double::start_with(true).await);
        let mail_url = format!("{scheme}://loginname:s3cretpass@localhost:{}/hello.example", smtp.port());
        let chat_url = format!("https://localhost:{}{}", chat.port(), chat::PATH);
        let (folder, url) = services::sqlite();
        let path = folder.path().join("log");
        let log = Stdio::from(std::fs::File::create(&path).unwrap());
        let environment = [
            ("RUST_LOG", "trace"),
            ("SSL_CERT_FILE", AUTHORITY),
            ("SMTP_URL", mail_url.as_str()),
            ("CLERK_SYNC__ALERTS__MAIL_TO", "markops@example.com"),
            ("CLERK_SYNC__ALERTS__MAIL_FROM", "markfrom@example.com"),
            ("CLERK_SYNC__ALERTS__WEBHOOK_URL", chat_url.as_str()),
            ("CLERK_SYNC__ALERTS__ALLOW_PRIVATE", "true"),
            ("CLERK_SYNC__RELAY__POLL", "20ms"),
            ("CLERK_SYNC__RELAY__BACKOFF", "5ms"),
            ("CLERK_SYNC__RELAY__BACKOFF_MAX", "20ms"),
        ];
        use smtp::Fault::*;
        smtp.fail([Login(535), Sender(550), Recipient(451), Content(451), BreakInContent, Content(554)]);
        chat.fail([
            chat::Fault::Close,
            chat::Fault::Break { taken: false },
            chat::Fault::Status(307, "location: https://localhost:1/services/s3cretpath\r\n"),
            chat::Fault::Status(429, "retry-after: 0\r\n"),
            chat::Fault::Status(400, ""),
        ]);
        let mut process = Process::serve_logging_to(log, free_port(), &url, &environment).await;
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        for name in ["one", "two"] {
            let body = with(alarming(name), "public_metadata", json!({"roles": ["markboss"]})).to_string();
            assert_eq!(post(&client, &process.url, &format!("msg_{name}"), body.as_bytes()).await, Some(200));
        }
        let count = |metrics: &str, sink: &str, outcome: &str| {
            let series = format!("clerk_sync_deliveries_total{{sink=\"{sink}\",outcome=\"{outcome}\"}} ");
            metrics.lines().find_map(|line| line.strip_prefix(&series)?.parse::<u64>().ok()).unwrap()
        };
        let started = std::time::Instant::now();
        let mut metrics = String::new();
        while metrics.is_empty()
            || ["alerts:mail", "alerts:chat"].iter().any(|sink| count(&metrics, sink, "delivered") == 0)
        {
            assert!(started.elapsed() < Duration::from_secs(30), "{scheme}: nothing comes: {metrics}");
            tokio::time::sleep(Duration::from_millis(20)).await;
            metrics = client.get(format!("{}/metrics", process.url)).send().await.unwrap().text().await.unwrap();
        }
        assert!(smtp.letters()[0].secret && smtp.logins().len() >= 5);
        process.kill();
        let database = open(&url).await;
        let dead = clerk_sync::outbox::dead::list(&database, true, 10).await.unwrap();
        let reasons: String = dead.iter().map(|row| row.reason.clone() + "\n").collect();
        assert_eq!(dead.len(), 2, "{reasons}");
        let log = std::fs::read_to_string(path).unwrap();
        assert!(log.contains("the chat asks us to wait (429)") && log.contains("the user and password of smtp.url"));
        let login = "AGxvZ2lubmFtZQBzM2NyZXRwYXNz";
        for secret in ["s3cret", "loginname", login, "markops", "markfrom", "markboss", "/services/"] {
            let line = log.lines().find(|line| line.contains(secret));
            assert!(line.is_none(), "{secret} is in the log: {line:?}");
            assert!(!metrics.contains(secret) && !reasons.contains(secret), "{secret}: {metrics} {reasons}");
        }
        for sink in ["alerts:mail", "alerts:chat"] {
            let counts = ["delivered", "refused"].map(|outcome| count(&metrics, sink, outcome));
            assert_eq!(counts, [1, 1], "{sink}");
            assert!(count(&metrics, sink, "failed") >= 4, "{sink}");
            assert!(metrics.contains(&format!("clerk_sync_sink_lag{{sink=\"{sink}\"}} ")), "{metrics}");
        }
    }
}
