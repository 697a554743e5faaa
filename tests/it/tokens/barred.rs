//! A ban that does not apply (a clash, an incomplete sign-up) bars its user all the same: sockets close, tokens are refused,
//! also where there is no row.

use serde_json::{Value, json};

use super::bed::{Bed, is_closed, is_refused};
use crate::support::server::{email, person};

/// `user_ben` with `user_ada`'s address, at second `at`.
fn clashing(at: u64, changes: Value) -> Value {
    let mut body = person("user_ben", at, changes);
    body["data"]["email_addresses"] = json!([email("idn_1", "user_ada@example.com", true)]);
    body
}

/// Somebody without a name, who is not admitted.
fn nameless(at: u64, changes: Value) -> Value {
    let mut body = person("user_eve", at, changes);
    body["data"]["first_name"] = Value::Null;
    body["data"]["last_name"] = Value::Null;
    body
}

#[tokio::test]
async fn who_is_banned_in_a_conflict_is_closed_and_refused() {
    for what in ["banned", "deprovisioned"] {
        for bed in Bed::each(&[]).await {
            bed.person("ada", 1, json!({})).await;
            let id = bed.person("ben", 1, json!({})).await;
            let (mut quiet, mut following) = (bed.enter("ben").await, bed.enter("ben").await);
            following.subscribe(&["user:me"], json!({})).await;
            bed.deliver(&clashing(2, json!({what: true}))).await;
            assert!(is_closed(&mut quiet, what).await.is_empty());
            let last = is_closed(&mut following, what).await;
            assert_eq!((&last[0]["event"], &last[0]["changed"]), (&json!("user.updated"), &json!(["status"])));
            assert_eq!(last[0]["data"]["status"], what);
            is_refused(&bed, &bed.token("ben"), what).await;
            let row = bed.server.get(&format!("/v1/users/{id}"), crate::support::server::ADMIN).await;
            assert_eq!((row.status, row.json()["status"].clone()), (200, json!(what)), "{}", bed.server.name);
            // The other one of the conflict is not concerned.
            bed.enter("ada").await.subscribe(&["user:me"], json!({})).await;
            bed.deliver(&clashing(3, json!({}))).await;
            bed.enter("ben").await.subscribe(&["user:me"], json!({})).await;
        }
    }
}

#[tokio::test]
async fn who_is_banned_before_they_are_admitted_is_closed_and_refused() {
    for what in ["banned", "deprovisioned"] {
        for bed in Bed::each(&[]).await {
            let mut eve = bed.enter("eve").await;
            bed.deliver(&nameless(1, json!({}))).await;
            eve.auth(&bed.token("eve")).await;
            bed.deliver(&nameless(2, json!({what: true}))).await;
            is_closed(&mut eve, what).await;
            is_refused(&bed, &bed.token("eve"), what).await;
            bed.deliver(&nameless(3, json!({}))).await;
            bed.enter("eve").await;
        }
    }
}
