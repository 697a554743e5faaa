//! Refusals of session tokens: counted by reason at every door, and logged with a remedy.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::bed::Bed;
use crate::support::{
    issuer::{ISSUER, Issuer, claims, header, now},
    process::{Process, free_port},
    server::{READER, Server, deletion},
    services,
    ws::Client,
};

const SERIES: &str = "clerk_sync_token_refusals_total{reason=\"";

/// The reasons of a scrape with their counts, those at zero left out.
fn counted(text: &str) -> BTreeMap<String, u64> {
    let series = text.lines().filter_map(|line| line.strip_prefix(SERIES)?.split_once("\"} "));
    let counts = series.map(|(reason, count)| (reason.to_owned(), count.parse::<f64>().unwrap() as u64));
    counts.filter(|(_, count)| *count > 0).collect()
}

async fn refused(server: &Server) -> BTreeMap<String, u64> {
    counted(&server.get("/metrics", "").await.text)
}

/// A websocket that brings this token first is closed.
async fn door(bed: &Bed, token: &str) {
    let mut client = bed.stranger().await;
    client.say(json!({"type": "auth", "token": token})).await;
    assert_eq!(client.closed().await.1, 4401);
}

#[tokio::test]
async fn a_refusal_is_counted_once_by_its_reason_at_every_door() {
    let pem = Issuer::ours().pem();
    let bed = Bed::of(Server::start(&super::bed::keys(&pem)).await);
    for name in ["ada", "eve"] {
        bed.person(name, 1, json!({})).await;
    }
    bed.enter("ada").await;
    bed.server.get("/v1/users/me", &bed.token("ada")).await;
    bed.server.get("/v1/users/me", "").await;
    assert_eq!(refused(&bed.server).await, BTreeMap::new(), "right tokens, and none, are no refusals");
    let wrong = |changes: Value| bed.token_with("ada", changes);
    let tokens = [
        ("expired", wrong(json!({"exp": now() - 60}))),
        ("issuer", wrong(json!({"iss": "https://clerk.other.example"}))),
        ("authorized_party", wrong(json!({"azp": "https://evil.example"}))),
        ("actor", wrong(json!({"act": {}}))),
        (
            "token_class",
            Issuer::ours().token(&header(json!({"cat": "cl_B7d4PD222AAA"})), &claims("user_ada", "s", json!({}))),
        ),
        (
            "critical_header",
            Issuer::ours().token(&header(json!({"crit": ["b64"]})), &claims("user_ada", "s", json!({}))),
        ),
        ("signature", Issuer::new().session("user_ada", "sess_ada", json!({}))),
        ("opaque", "mt_0123456789".into()),
        ("opaque", "ak_0123456789".into()),
        ("opaque", "oat_0123456789".into()),
        ("malformed", "nearly an admin's token".into()),
    ];
    let mut expected = BTreeMap::new();
    for (reason, token) in &tokens {
        assert_eq!(bed.server.get("/v1/users/me", token).await.status, 401, "{reason}");
        door(&bed, token).await;
        let mut inside = bed.enter("ada").await;
        inside.say(json!({"type": "auth", "token": token})).await;
        assert_eq!(inside.closed().await.1, 4401, "{reason}");
        *expected.entry((*reason).to_owned()).or_insert(0) += 3;
        assert_eq!(refused(&bed.server).await, expected, "{reason}");
    }
    // What the token does not say.
    let mut inside = bed.enter("ada").await;
    inside.say(json!({"type": "auth", "token": bed.token("eve")})).await;
    assert_eq!(inside.closed().await.1, 4401);
    door(&bed, READER).await;
    door(&bed, &wrong(json!({"exp": now() - 1}))).await;
    bed.revoke("ada", "sess_ada").await;
    assert_eq!(bed.server.get("/v1/users/me", &bed.token("ada")).await.status, 401);
    door(&bed, &bed.token("ada")).await;
    bed.deliver(&deletion("user_eve")).await;
    assert_eq!(bed.server.get("/v1/users/me", &bed.token("eve")).await.status, 401);
    door(&bed, &bed.token("eve")).await;
    for (reason, count) in
        [("other_session", 1), ("service_token", 1), ("session_ended", 2), ("user_blocked", 2), ("expired", 4)]
    {
        expected.insert(reason.to_owned(), count);
    }
    assert_eq!(refused(&bed.server).await, expected);
}

#[tokio::test]
async fn without_keys_it_is_the_configuration_that_refuses() {
    let bed = Bed::of(Server::start(&[("clerk.issuer", ISSUER)]).await);
    bed.server.get("/v1/users/me", &bed.token("ada")).await;
    door(&bed, &bed.token("ada")).await;
    bed.server.get("/v1/users/me", "garbage").await;
    bed.server.get("/v1/users/me", "mt_1").await;
    let expected = [("malformed", 1), ("not_configured", 2), ("opaque", 1)];
    assert_eq!(refused(&bed.server).await, expected.map(|(reason, count)| (reason.to_owned(), count)).into());
}

#[tokio::test]
async fn a_reason_is_logged_once_a_minute_with_its_remedy_and_nothing_of_the_token() {
    let (folder, database) = services::sqlite();
    let (port, path, pem) = (free_port(), folder.path().join("log"), Issuer::ours().pem());
    let log = std::fs::File::create(&path).unwrap();
    let environment =
        [("CLERK_JWT_KEY", pem.as_str()), ("CLERK_ISSUER", "https://clerk.example.com"), ("RUST_LOG", "warn")];
    let process = Process::serve_logging_to(log.into(), port, &database, &environment).await;
    let address = std::net::SocketAddr::from(([127, 0, 0, 1], port));
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let tokens: Vec<String> =
        (0..3).map(|n| Issuer::ours().session(&format!("user_{n}"), &format!("sess_{n}"), json!({}))).collect();
    for token in &tokens {
        let answer = http.get(format!("{}/v1/users/me", process.url)).bearer_auth(token).send().await.unwrap();
        assert_eq!(answer.status().as_u16(), 401);
        let mut client = Client::open(address, &[], None).await.unwrap();
        client.say(json!({"type": "auth", "token": token})).await;
        assert_eq!(client.closed().await.1, 4401);
    }
    assert!(process.terminate());
    let log = std::fs::read_to_string(path).unwrap();
    let lines: Vec<_> = log.lines().filter(|line| line.contains("session tokens are refused")).collect();
    assert_eq!(lines.len(), 1, "{log}");
    assert!(lines[0].contains("issuer") && lines[0].contains("CLERK_ISSUER"), "{lines:?}");
    for part in tokens.iter().flat_map(|token| token.split('.')).chain(["user_0", "sess_0", "clerk.tests.example"]) {
        assert!(!log.contains(part), "{part}");
    }
}
