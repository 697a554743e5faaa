//! A server whose keys are published: at its start, while they change, and while the address does not answer.

use std::time::{Duration, Instant};

use serde_json::json;

use super::bed::{Bed, is_not_ready, is_refused, published};
use crate::support::{
    clerk::{Clerk, Simulated},
    issuer::{ISSUER, Issuer, KID, claims, header},
    keys::{Double, Way},
    process::{Process, free_port},
    server::Server,
    services,
    ws::Client,
};

/// A server with keys of its own making, on SQLite; what it does with keys no database has a part in.
async fn bed(double: &Double, more: &[(&str, &str)]) -> Bed {
    let server = Server::start(&[published(&double.url).as_slice(), more].concat()).await;
    let bed = Bed::of(server);
    bed.person("ada", 1, json!({})).await;
    bed
}

async fn status(bed: &Bed, token: &str) -> u16 {
    bed.server.get("/v1/users/me", token).await.status
}

/// Asks until the answer is this one; the others that came.
async fn comes_to(bed: &Bed, token: impl Fn() -> String, expected: u16) -> Vec<u16> {
    let (since, mut others) = (Instant::now(), Vec::new());
    loop {
        match status(bed, &token()).await {
            status if status == expected => return others,
            other => others.push(other),
        }
        assert!(since.elapsed() < Duration::from_secs(15), "{others:?} and not {expected}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn before_the_keys_were_ever_had_nobody_is_turned_away_for_good() {
    let double = Double::start(Way::Close).await;
    let bed = bed(&double, &[]).await;
    is_not_ready(&bed, &bed.token("ada"), "nobody there").await;
    let others = Issuer::new();
    is_not_ready(&bed, &others.session("user_ada", "sess_ada", json!({})), "nor can that be said").await;
    double.answer(Way::Keys(vec![Issuer::ours().jwk(KID)]));
    let meanwhile = comes_to(&bed, || bed.token("ada"), 200).await;
    assert!(meanwhile.iter().all(|status| *status == 503), "{meanwhile:?}");
    bed.enter("ada").await;
}

/// A page that has brought its token is not told that it brought none.
#[tokio::test]
async fn who_waits_for_the_keys_is_not_late() {
    let double = Double::start(Way::Hang).await;
    let bed = bed(&double, &[("gateway.auth_timeout", "300ms")]).await;
    let mut client = bed.stranger().await;
    client.say(json!({"type": "auth", "token": bed.token("ada")})).await;
    assert_eq!(client.closed().await, (vec![json!({"type": "error", "code": "not_ready"})], 1001));
    let mut silent = bed.stranger().await;
    assert_eq!(silent.closed().await.1, 4401);
}

#[tokio::test]
async fn a_new_key_is_taken_up_and_the_old_one_given_up() {
    let (old, new) = (Issuer::ours(), Issuer::new());
    let double = Double::start(Way::Keys(vec![old.jwk("ins_old")])).await;
    let bed = bed(&double, &[]).await;
    let token = |issuer: &Issuer, kid: &str| {
        issuer.token(&header(json!({"kid": kid})), &claims("user_ada", "sess_ada", json!({})))
    };
    comes_to(&bed, || token(old, "ins_old"), 200).await;
    // Both for a while, then the new one alone.
    double.answer(Way::Keys(vec![old.jwk("ins_old"), new.jwk("ins_new")]));
    comes_to(&bed, || token(&new, "ins_new"), 200).await;
    assert_eq!(status(&bed, &token(old, "ins_old")).await, 200);
    is_refused(&bed, &token(&new, "ins_old"), "the new key under the old one's name").await;
    is_refused(&bed, &token(old, "ins_new"), "the old key under the new one's name").await;
    assert_eq!(double.most(), 1);
}

#[tokio::test]
async fn a_withdrawn_key_opens_nothing_any_more() {
    let double = Double::start(Way::Keys(vec![Issuer::ours().jwk(KID)])).await;
    let bed = bed(&double, &[("clerk.jwks_refresh", "200ms")]).await;
    comes_to(&bed, || bed.token("ada"), 200).await;
    let mut inside = bed.enter("ada").await;
    double.answer(Way::Keys(vec![Issuer::new().jwk("ins_next")]));
    comes_to(&bed, || bed.token("ada"), 401).await;
    is_refused(&bed, &bed.token("ada"), "withdrawn").await;
    // Who is inside stays until their token ends, and cannot renew it with that key.
    assert!(inside.rest().await.is_empty());
    inside.say(json!({"type": "auth", "token": bed.token("ada")})).await;
    assert_eq!(inside.closed().await.1, 4401);
}

#[tokio::test]
async fn while_the_address_does_not_answer_the_last_keys_serve_and_then_none() {
    let double = Double::start(Way::Keys(vec![Issuer::ours().jwk(KID)])).await;
    let bed = bed(&double, &[("clerk.jwks_refresh", "200ms"), ("clerk.jwks_keep", "1500ms")]).await;
    comes_to(&bed, || bed.token("ada"), 200).await;
    let mut inside = bed.enter("ada").await;
    double.answer(Way::Status(503, String::new()));
    let since = Instant::now();
    let meanwhile = comes_to(&bed, || bed.token("ada"), 503).await;
    assert!(since.elapsed() > Duration::from_secs(1) && meanwhile.iter().all(|status| *status == 200), "{meanwhile:?}");
    is_not_ready(&bed, &bed.token("ada"), "too old").await;
    // Who is inside stays, and may try again.
    inside.say(json!({"type": "auth", "token": bed.token("ada")})).await;
    assert_eq!(inside.frame().await, json!({"type": "error", "code": "not_ready"}));
    double.answer(Way::Keys(vec![Issuer::ours().jwk(KID)]));
    comes_to(&bed, || bed.token("ada"), 200).await;
    inside.auth(&bed.token("ada")).await;
}

/// A ban is not put off by bringing a token whose key has to be asked for.
#[tokio::test]
async fn who_renews_a_token_meanwhile_is_closed_in_time() {
    let double = Double::start(Way::Keys(vec![Issuer::ours().jwk(KID)])).await;
    let bed = bed(&double, &[]).await;
    comes_to(&bed, || bed.token("ada"), 200).await;
    let mut client = bed.enter("ada").await;
    double.answer(Way::Hang);
    // By then another key may be asked for.
    tokio::time::sleep(Duration::from_millis(5_200)).await;
    let unknown = Issuer::ours().token(&header(json!({"kid": "x"})), &claims("user_ada", "sess_ada", json!({})));
    let asked = double.asked();
    client.say(json!({"type": "auth", "token": unknown})).await;
    double.asked_times(asked + 1).await;
    let since = Instant::now();
    bed.server.deliver("msg_ban", &crate::support::server::person("user_ada", 9, json!({"banned": true}))).await;
    assert_eq!(client.closed().await.1, 4401);
    assert!(since.elapsed() < Duration::from_secs(1), "{:?}", since.elapsed());
}

#[tokio::test]
async fn clerks_own_address_is_asked_with_the_secret_key_and_once_for_both_doors() {
    let simulated = Simulated::of(Clerk::new(clerk_sync::clock::Clock::system())).await;
    simulated.clerk.set_jwks(json!({"keys": [Issuer::ours().jwk(KID)]}));
    let url = format!("{}/jwks", simulated.url);
    let keys = simulated.keys(&[("clerk.jwks_url", &url), ("clerk.issuer", ISSUER), ("clerk.confirm", "off")]);
    let keys: Vec<_> = keys.iter().map(|(key, value)| (*key, value.as_str())).collect();
    let bed = Bed::of(Server::start(&keys).await);
    bed.person("ada", 1, json!({})).await;
    comes_to(&bed, || bed.token("ada"), 200).await;
    bed.enter("ada").await;
    let jwks = clerk_sync::clerk::simulated::Endpoint::Jwks;
    assert_eq!(simulated.modes.counts().of(jwks), 1, "both doors share what was had");
}

#[tokio::test]
async fn with_both_a_key_and_an_address_the_key_is_used_and_the_log_says_so() {
    let double = Double::start(Way::Keys(vec![Issuer::new().jwk(KID)])).await;
    let (folder, database) = services::sqlite();
    let (port, path, pem) = (free_port(), folder.path().join("log"), Issuer::ours().pem());
    let log = std::fs::File::create(&path).unwrap();
    let environment = [
        ("CLERK_JWT_KEY", pem.as_str()),
        ("CLERK_JWKS_URL", double.url.as_str()),
        ("CLERK_ISSUER", ISSUER),
        ("RUST_LOG", "info"),
    ];
    let process = Process::serve_logging_to(log.into(), port, &database, &environment).await;
    let address = std::net::SocketAddr::from(([127, 0, 0, 1], port));
    let token = Issuer::ours().session("user_ada", "sess_ada", json!({}));
    Client::open(address, &[], None).await.unwrap().auth(&token).await;
    assert!(process.terminate());
    let log = std::fs::read_to_string(path).unwrap();
    let lines: Vec<_> = log.lines().filter(|line| line.contains("clerk.jwks_url")).collect();
    assert!(lines.len() == 1 && lines[0].contains("clerk.jwt_key"), "{lines:?}");
    assert_eq!(double.asked(), 0);
}
