//! Whether somebody may be here, as the database says at every use.

use chrono::Duration;
use clerk_sync::upkeep;
use serde_json::{Value, json};

use super::bed::{Bed, is_refused};
use crate::support::server::deletion;

async fn is_welcome(bed: &Bed, token: &str, what: &str) {
    let status = bed.server.get("/v1/users/me", token).await.status;
    assert_eq!(status, 200, "{}: {what}", bed.server.name);
    bed.stranger().await.auth(token).await;
}

#[tokio::test]
async fn who_is_banned_deprovisioned_held_or_deleted_is_refused_and_may_come_back() {
    for bed in Bed::each(&[]).await {
        let id = bed.person("ada", 1, json!({})).await;
        let token = bed.token("ada");
        is_welcome(&bed, &token, "at first").await;
        for (at, gone) in [(2, "banned"), (4, "deprovisioned")] {
            bed.person("ada", at, json!({gone: true})).await;
            is_refused(&bed, &token, gone).await;
            bed.person("ada", at + 1, json!({})).await;
            is_welcome(&bed, &token, gone).await;
        }
        // A lock is temporary and Clerk's own business.
        bed.person("ada", 6, json!({"locked": true})).await;
        is_welcome(&bed, &token, "locked").await;
        bed.server.sql("update clerk_sync.users set deletion_held_at = created_at").await;
        is_refused(&bed, &token, "held").await;
        bed.server.sql("update clerk_sync.users set deletion_held_at = null").await;
        is_welcome(&bed, &token, "released").await;
        bed.deliver(&deletion("user_ada")).await;
        is_refused(&bed, &token, "deleted").await;
        // Where a deletion leaves no row, it is still one.
        bed.server.sql("delete from clerk_sync.users").await;
        assert!(bed.rows("select id from clerk_sync.users where id = ", id).await.is_empty());
        is_refused(&bed, &token, "deleted without a trace").await;
    }
}

#[tokio::test]
async fn an_ended_session_is_refused_and_others_of_the_person_are_not() {
    for bed in Bed::each(&[]).await {
        bed.person("ada", 1, json!({})).await;
        let (token, other) = (bed.token("ada"), bed.token_with("ada", json!({"sid": "sess_other"})));
        let now = bed.server.app.clock.now();
        bed.revoke_until("sess_ada", now + Duration::hours(24)).await;
        is_refused(&bed, &token, "ended").await;
        is_welcome(&bed, &other, "another session").await;
        // What has run out counts no more, and upkeep removes it; the rest it leaves.
        bed.revoke_until("sess_other", now - Duration::seconds(1)).await;
        is_welcome(&bed, &other, "long ago").await;
        upkeep::round(&bed.server.app.db, now).await.unwrap();
        let left = bed.rows("select session_id from clerk_sync.revoked_sessions where session_id <> ", "").await;
        let left: Vec<String> = left.iter().map(|row| row.try_get("", "session_id").unwrap()).collect();
        assert_eq!(left, ["sess_ada"], "{}", bed.server.name);
        is_refused(&bed, &token, "still ended").await;
    }
}

#[tokio::test]
async fn who_is_not_known_yet_is_welcome_unless_the_session_ended_or_they_were_deleted() {
    for bed in Bed::each(&[]).await {
        let welcome = bed.stranger().await.auth(&bed.token("ada")).await;
        assert_eq!(welcome["user"], json!({"id": Value::Null, "clerk_id": "user_ada", "actor": null}));
        bed.revoke("ada", "sess_ada").await;
        is_refused(&bed, &bed.token("ada"), "ended").await;
        bed.deliver(&deletion("user_eve")).await;
        is_refused(&bed, &bed.token("eve"), "deleted before they were known").await;
    }
}

#[tokio::test]
async fn while_the_database_does_not_answer_nobody_is_turned_away_for_good() {
    for bed in Bed::each(&[]).await {
        bed.person("ada", 1, json!({})).await;
        let token = bed.token("ada");
        let mut inside = bed.enter("ada").await;
        bed.server.sql("alter table clerk_sync.revoked_sessions rename to elsewhere").await;
        let answer = bed.server.get("/v1/users/me", &token).await;
        answer.is_problem(503, "not_ready", bed.server.name);
        let mut client = bed.stranger().await;
        client.say(json!({"type": "auth", "token": token})).await;
        assert_eq!(client.closed().await, (vec![json!({"type": "error", "code": "not_ready"})], 1001));
        // Who is in stays in, and may try again.
        inside.say(json!({"type": "auth", "token": token})).await;
        assert_eq!(inside.frame().await, json!({"type": "error", "code": "not_ready"}));
        bed.server.sql("alter table clerk_sync.elsewhere rename to revoked_sessions").await;
        inside.auth(&token).await;
        is_welcome(&bed, &token, "again").await;
    }
}
