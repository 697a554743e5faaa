//! Every wrong token at both doors, and every right one.

use serde_json::{Value, json};

use super::{
    bed::{Bed, is_refused},
    verify::{right, wrong},
};
use crate::support::{
    issuer::{ISSUER, Issuer, now},
    server::Server,
};

#[tokio::test]
async fn a_wrong_token_opens_nothing() {
    let tokens = wrong(Issuer::ours());
    for bed in Bed::each(&[]).await {
        bed.person("ada", 1, json!({})).await;
        for (what, token, _) in &tokens {
            is_refused(&bed, token, what).await;
        }
    }
}

#[tokio::test]
async fn a_right_token_opens_what_is_its_persons() {
    let tokens = right(Issuer::ours());
    for bed in Bed::each(&[]).await {
        let id = bed.person("ada", 1, json!({})).await;
        for (what, token) in &tokens {
            let me = bed.server.get("/v1/users/me", token).await;
            assert_eq!(me.status, 200, "{what}: {}", me.text);
            assert_eq!(me.json()["id"], json!(id), "{what}");
            let welcome = bed.stranger().await.auth(token).await;
            assert_eq!(welcome["user"], json!({"id": id, "clerk_id": "user_ada"}), "{what}");
            assert_eq!(welcome["epoch"], bed.server.app.meta.epoch, "{what}");
        }
    }
}

#[tokio::test]
async fn within_the_leeway_a_request_is_answered_but_no_connection_opened() {
    for bed in Bed::each(&[]).await {
        bed.person("ada", 1, json!({})).await;
        let token = bed.token_with("ada", json!({"exp": now() - 1}));
        assert_eq!(bed.server.get("/v1/users/me", &token).await.status, 200);
        let mut client = bed.stranger().await;
        client.say(json!({"type": "auth", "token": token})).await;
        assert_eq!(client.closed().await, (Vec::<Value>::new(), 4401));
    }
}

#[tokio::test]
async fn without_a_key_no_session_token_is_one() {
    for server in Server::start_all(&[("clerk.issuer", ISSUER)]).await {
        let bed = Bed::of(server);
        bed.person("ada", 1, json!({})).await;
        is_refused(&bed, &bed.token("ada"), "no key").await;
    }
}
