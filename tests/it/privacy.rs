//! P8 on the real binary: what it writes to its log, its metrics and its errors names nobody and holds no secret.

use std::process::Stdio;

use clerk_sync::clock::Clock;
use serde_json::json;

use crate::support::{
    clerk::{Clerk, Simulated},
    people::{address, deleted, user, with},
    process::{Process, SECRET, free_port, post},
    services,
};

fn marked(name: &str, at: u64) -> serde_json::Value {
    let body = with(user(name.trim_start_matches("user_"), at), "first_name", json!("Markfirst"));
    let body = with(body, "last_name", json!("Marklast"));
    let body = with(body, "public_metadata", json!({"note": "markmeta"}));
    let body = with(body, "private_metadata", json!({"note": "markprivate"}));
    with(body, "email_addresses", json!([address("markmail@example.com", "idn_1")]))
}

const MARKS: [&str; 6] = ["Markfirst", "Marklast", "markmail", "markmeta", "markprivate", "markpoison"];

#[tokio::test]
async fn p8_logs_metrics_and_errors_name_nobody() {
    let (folder, url) = services::sqlite();
    let path = folder.path().join("log");
    let log = std::fs::File::create(&path).unwrap();
    let admin = "admin-token-of-this-test";
    let clerk = Simulated::of(Clerk::new(Clock::system())).await;
    for id in ["user_one", "user_two", "user_four"] {
        clerk.clerk.put_user(marked(id, 1)["data"].clone());
    }
    let environment = [
        ("CLERK_SECRET_KEY", "sk_test_simulated"),
        ("CLERK_API_URL", clerk.url.as_str()),
        ("RUST_LOG", "trace"),
        ("CLERK_SYNC_ADMIN_TOKEN", admin),
        ("CLERK_SYNC__SYNC__MAX_ATTEMPTS", "1"),
        ("CLERK_SYNC__SYNC__POLL", "50ms"),
    ];
    let mut process = Process::serve_logging_to(Stdio::from(log), free_port(), &url, &environment).await;
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    for (id, body) in [
        ("msg_1", marked("one", 1)),
        ("msg_2", with(marked("one", 2), "first_name", json!(["markpoison"]))),
        ("msg_3", marked("two", 1)),
        ("msg_4", deleted("one", 9)),
        ("msg_5", json!({"type": "user.updated", "data": {"id": "user_3", "first_name": "Markfirst"}})),
    ] {
        assert_eq!(post(&client, &process.url, id, body.to_string().as_bytes()).await, Some(200));
    }
    let ensure = client.post(format!("{}/v1/users/user_four/ensure", process.url)).bearer_auth(admin);
    let ensured = ensure.send().await.unwrap();
    assert!(matches!(ensured.status().as_u16(), 200 | 409), "{}", ensured.status());
    assert!(clerk.modes.counts().total() >= 2, "Clerk was asked: {:?}", clerk.modes.counts());
    let mut answers = String::new();
    for path in [
        "/metrics",
        "/readyz",
        "/v1/users?email=markmail@example.com",
        "/v1/users/markmail@example.com",
        "/v1/search/users?q=Markfirst",
    ] {
        let response =
            client.get(format!("{}{path}", process.url)).bearer_auth("no-token-of-ours").send().await.unwrap();
        answers.push_str(&response.text().await.unwrap());
    }
    for _ in 0..200 {
        let url = format!("{}/v1/admin/events?state=pending", process.url);
        let pending =
            client.get(url).bearer_auth(admin).send().await.unwrap().json::<serde_json::Value>().await.unwrap();
        if pending["data"] == json!([]) {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    process.kill();
    let log = std::fs::read_to_string(path).unwrap();
    assert!(log.len() > 500, "there is a log");
    for secret in MARKS.iter().copied().chain([
        SECRET,
        SECRET.trim_start_matches("whsec_"),
        admin,
        "no-token-of-ours",
        "sk_test_simulated",
    ]) {
        let line = log.lines().find(|line| line.contains(secret));
        assert!(line.is_none(), "{secret} is in the log: {line:?}");
        assert!(!answers.contains(secret), "{secret} is in an answer: {answers}");
    }
}
