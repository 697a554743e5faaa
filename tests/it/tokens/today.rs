//! Tokens as Clerk issues them today, which were refused once: each is accepted at both doors.

use serde_json::{Value, json};

use super::bed::{Bed, published};
use crate::support::{
    issuer::{Issuer, now},
    keys::{Double, Way},
    server::Server,
};

const ISSUER: &str = "https://clerk.example.com";
const PARTY: &str = "https://app.example.com";

/// A case's header and claims with its moments filled in, about a person who is there.
fn token(case: &str) -> (String, Value) {
    let case: Value = serde_json::from_str(case).unwrap();
    let mut claims = case["claims"].clone();
    for value in claims.as_object_mut().unwrap().values_mut() {
        if let Some(offset) = value.as_str().and_then(|text| text.strip_prefix("NOW")) {
            *value = json!(now() + offset.parse::<i64>().unwrap_or(0));
        }
    }
    (Issuer::ours().token(&case["header"], &claims), claims)
}

#[tokio::test]
async fn a_token_of_todays_form_is_accepted_at_every_door() {
    let pem = Issuer::ours().pem();
    let kid = "ins_2casescasescasescasescasesc";
    let double = Double::start(Way::Keys(vec![Issuer::ours().jwk(kid)])).await;
    let rules = [("clerk.issuer", ISSUER), ("clerk.authorized_parties", PARTY)];
    let one = Server::start(&[rules.as_slice(), &[("clerk.jwt_key", pem.as_str())]].concat()).await;
    let [jwks, ..] = published(&double.url);
    let other = Server::start(&[rules.as_slice(), &[jwks]].concat()).await;
    for bed in [one, other].map(Bed::of) {
        for (case, actor) in [
            (include_str!("../../cases/00-token-header-oiat.json"), Value::Null),
            (include_str!("../../cases/07-token-azp-empty.json"), Value::Null),
            (include_str!("../../cases/08-token-actor-is-an-email.json"), json!("support@example.com")),
        ] {
            let (token, claims) = token(case);
            let me = bed.server.get("/v1/users/me/organizations", &token).await;
            assert_ne!(me.status, 401, "{claims}: {}", me.text);
            let mut client = bed.stranger().await;
            let welcome = client.auth(&token).await;
            assert_eq!(welcome["user"]["clerk_id"], claims["sub"]);
            assert_eq!(welcome["user"]["actor"], actor);
            // And again, on the open connection.
            assert_eq!(client.auth(&token).await["user"], welcome["user"]);
        }
    }
}

#[tokio::test]
async fn odd_members_of_a_published_set_do_not_matter() {
    let mut odd = Issuer::ours().jwk("ins_tests");
    for (name, value) in [
        ("x5c", json!([null, 7])),
        ("x5t", json!(1)),
        ("oiat", json!(1e300)),
        ("nested", json!({"kid": [{"n": 1}]})),
        ("key_ops", Value::Null),
    ] {
        odd[name] = value;
    }
    let keys = vec![
        json!(7),
        json!({"kty": "EC", "kid": 7}),
        json!({"kty": "RSA", "kid": "ins_tests", "n": [], "e": {}}),
        odd,
        json!(null),
    ];
    let double = Double::start(Way::Keys(keys)).await;
    let bed = Bed::of(Server::start(&published(&double.url)).await);
    bed.person("ada", 1, json!({})).await;
    bed.enter("ada").await;
    assert_eq!(bed.server.get("/v1/users/me", &bed.token("ada")).await.status, 200);
}
