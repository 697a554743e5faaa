//! Nothing leaks: no answer, frame or line of the log, however fine, holds a token, or an address or a name of somebody
//! else.

use std::net::SocketAddr;

use reqwest::Method;
use serde_json::json;

use super::{
    bed::published,
    wrong::{right, unpublished, wrong},
};
use crate::support::{
    issuer::{Issuer, KID},
    keys::{Double, Way},
    process::{Process, free_port, post},
    server::{answer, email, person},
    services,
    ws::{Client, Heard},
};

/// What is said of each of two people, and of nobody else.
const ADA: [&str; 2] = ["Mirabelle", "Pflaume"];
const EVE: [&str; 2] = ["Zwetschge", "Schlehe"];

fn marked(id: &str, [first, last]: [&str; 2]) -> serde_json::Value {
    let addresses = [email("idn_1", &format!("{first}.{last}@example.com"), true)];
    person(id, 1, json!({"first_name": first, "last_name": last, "email_addresses": addresses}))
}

fn holds_nothing_of(text: &str, token: &str, people: &[&str], what: &str) {
    let hex = |text: &str| text.bytes().map(|byte| format!("{byte:02x}")).collect::<String>();
    // A header is the same in many tokens, and so short that it may stand anywhere.
    for part in token.split('.').skip(1).filter(|part| part.len() > 20) {
        assert!(!text.contains(part) && !text.contains(&hex(part)), "{what}: a token");
    }
    let text = text.to_lowercase();
    assert!(!people.iter().any(|name| text.contains(&name.to_lowercase())), "{what}: somebody");
}

#[tokio::test]
async fn no_answer_and_no_log_holds_a_token_or_somebody_else() {
    let double = Double::start(Way::Keys(vec![Issuer::ours().jwk(KID)])).await;
    let (folder, database) = services::sqlite();
    let (port, path) = (free_port(), folder.path().join("log"));
    let log = std::fs::File::create(&path).unwrap();
    let long = |key: &str| format!("CLERK_SYNC__{}", key.replace('.', "__").to_uppercase());
    let keys = published(&double.url).map(|(key, value)| (long(key), value.to_owned()));
    let mut environment: Vec<(&str, &str)> = keys.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    environment.push(("RUST_LOG", "trace"));
    let process = Process::serve_logging_to(log.into(), port, &database, &environment).await;
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let (url, address) = (process.url.clone(), SocketAddr::from(([127, 0, 0, 1], port)));
    for (id, names) in [("user_ada", ADA), ("user_eve", EVE)] {
        let body = marked(id, names).to_string();
        assert_eq!(post(&http, &url, &format!("msg_{id}"), body.as_bytes()).await, Some(200));
    }
    let token = Issuer::ours().session("user_ada", "sess_ada", json!({}));
    let get = |path: &str, token: &str| answer(http.request(Method::GET, format!("{url}{path}")).bearer_auth(token));
    while get("/v1/users/me", &token).await.status != 200 {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }

    let mut tokens: Vec<(&str, String)> =
        wrong(Issuer::ours()).into_iter().map(|(what, token, _)| (what, token)).collect();
    tokens.extend(unpublished(Issuer::ours()));
    let everybody = [ADA, EVE].concat();
    for (what, token) in &tokens {
        let refused = get("/v1/users/me", token).await;
        assert_eq!(refused.status, 401, "{what}");
        holds_nothing_of(&format!("{:?} {}", refused.headers, refused.text), token, &everybody, what);
        let mut client = Client::open(address, &[], None).await.unwrap();
        client.say(json!({"type": "auth", "token": token})).await;
        assert_eq!(client.hear().await, Heard::Closed(4401), "{what}");
    }
    let right = right(Issuer::ours());
    for (what, token) in &right {
        let mut client = Client::open(address, &[], None).await.unwrap();
        let welcome = client.auth(token).await.to_string();
        holds_nothing_of(&welcome, token, &everybody, what);
        client.subscribe(&["user:me"], json!({"after": 0})).await;
        for topic in ["user:user_eve", "users", "admin", &format!("user:{}", ADA[0]), EVE[1]] {
            client.say(json!({"type": "subscribe", "topics": [topic], "after": 0})).await;
        }
        let told = serde_json::Value::from(client.rest().await).to_string();
        holds_nothing_of(&told.replace(&format!("\"{}\"", EVE[1]), ""), token, &EVE, what);
    }
    for path in ["/v1/users/user_eve", "/v1/users?email=Zwetschge.Schlehe@example.com", "/v1/search/users?q=Zwet"] {
        let refused = get(path, &token).await;
        assert!([403, 404].contains(&refused.status), "{path}: {}", refused.status);
        holds_nothing_of(&refused.text, &token, &everybody, path);
    }
    for path in ["/v1/users/me", "/v1/changes?after=0"] {
        let own = get(path, &token).await;
        assert_eq!(own.status, 200, "{path}");
        holds_nothing_of(&own.text, &token, &EVE, path);
    }

    // What was asked for is counted, and nobody's name with it.
    let metrics = http.get(format!("{url}/metrics")).send().await.unwrap().text().await.unwrap();
    let counted = |status: &str| {
        let series = format!("clerk_sync_clerk_requests_total{{endpoint=\"jwks\",status=\"{status}\"}} ");
        metrics.lines().find_map(|line| line.strip_prefix(series.as_str())).map(str::to_owned)
    };
    assert!(counted("2xx").is_some_and(|n| n != "0") && counted("5xx").as_deref() == Some("0"), "{metrics}");
    holds_nothing_of(&metrics, &token, &everybody, "metrics");

    assert!(process.terminate());
    let log = std::fs::read_to_string(path).unwrap();
    assert!(log.contains("TRACE"), "nothing was logged that finely");
    tokens.extend(right);
    tokens.push(("good", token));
    for (what, token) in &tokens {
        holds_nothing_of(&log, token, &everybody, what);
    }
}
