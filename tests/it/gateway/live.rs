//! What comes while a client is there: frames, the data of each topic, notices.

use serde_json::{Value, json};

use super::server::Server;
use crate::support::people::{deleted, user, with};

fn keys(data: &Value) -> Vec<&str> {
    data.as_object().unwrap().keys().map(String::as_str).collect()
}

#[tokio::test]
async fn a_change_is_told_once_a_topic_with_the_data_that_is_for_it() {
    let server = Server::start(&[]).await;
    let (mut client, _) = server.admin().await;
    let topics = client.subscribe(&["users", "user:user_ada", "admin", "users"], json!({})).await;
    assert_eq!(topics, json!(["users", "user:user_ada", "admin"]));
    let ada = with(user("ada", 1), "private_metadata", json!({"secret": "never told"}));
    server.deliver(&ada).await;
    // Topics have no order among them.
    let frames = [client.frame().await, client.frame().await, client.frame().await];
    let of = |topic: &str| frames.iter().find(|frame| frame["topic"] == topic).unwrap();
    let (users, own) = (of("users"), of("user:user_ada"));
    let notice = frames.iter().find(|frame| frame["type"] == "notice").unwrap();
    assert_eq!(
        *notice,
        json!({
            "type": "notice", "level": "success", "text": "The account was created", "event": "user.created",
        })
    );
    for frame in [users, own] {
        assert_eq!(frame["type"], "event");
        assert_eq!(frame["seq"], 1);
        assert_eq!(frame["event"], "user.created");
        assert_eq!(frame["subject"], "user_ada");
        assert!(frame["changed"].is_array() && frame["correlation_id"].as_str().unwrap().starts_with("msg_"));
        assert_eq!(frame["at"], "2025-10-09T08:53:20.021Z");
    }
    assert_eq!(keys(&users["data"]), ["clerk_id", "display_name", "id", "image_url", "rev", "status"]);
    assert_eq!(own["data"]["email"], "ada@example.com");
    assert!(!own.to_string().contains("never told") && own["data"].get("private_metadata").is_none());
    assert!(client.rest().await.is_empty());
    assert!(server.stop().await);
}

#[tokio::test]
async fn a_person_is_followed_by_either_id_before_and_after_they_appear() {
    for server in Server::each(&[]).await {
        follow_by_either_id(server).await;
    }
}

async fn follow_by_either_id(server: Server) {
    let (mut early, _) = server.admin().await;
    assert_eq!(early.subscribe(&["user:user_ada"], json!({})).await, json!(["user:user_ada"]));
    server.deliver(&user("ada", 1)).await;
    let id = early.event().await["data"]["id"].as_str().unwrap().to_owned();
    let canonical = format!("user:{id}");
    assert_eq!(early.frame().await["type"], "notice");
    let (mut late, _) = server.admin().await;
    let shouted = canonical.to_uppercase().replace("USER", "user");
    assert_eq!(late.subscribe(&["user:user_ada", &canonical, &shouted], json!({})).await, json!([canonical]));
    // Whoever came early keeps the name under which they came, and gets nothing twice.
    assert_eq!(early.subscribe(&[&canonical, "user:user_ada"], json!({})).await, json!(["user:user_ada"]));
    server.deliver(&user("bob", 1)).await;
    server.deliver(&with(user("ada", 2), "last_name", json!("Quill"))).await;
    for (client, name) in [(&mut early, "user:user_ada"), (&mut late, canonical.as_str())] {
        let mut event = client.event().await;
        if event["event"] == "user.created" {
            event = client.event().await;
        }
        assert_eq!((event["topic"].as_str(), event["event"].as_str()), (Some(name), Some("user.updated")));
        assert_eq!(event["changed"], json!(["display_name", "last_name"]));
        let rest = client.rest().await;
        assert_eq!(rest.iter().map(|frame| frame["type"].as_str().unwrap()).collect::<Vec<_>>(), ["notice"]);
    }
    for (client, name) in [(&mut early, "user:user_ada"), (&mut late, "user:user_ada")] {
        client.say(json!({"type": "unsubscribe", "topics": [name]})).await;
        client.subscribe(&["users"], json!({})).await;
    }
    server.deliver(&deleted("ada", 9)).await;
    for client in [&mut early, &mut late] {
        assert_eq!(client.event().await["topic"], "users");
        assert!(client.rest().await.is_empty());
    }
    assert!(server.stop().await);
}

#[tokio::test]
async fn operators_hear_of_what_went_wrong() {
    let server = Server::start(&[]).await;
    let (mut client, _) = server.admin().await;
    client.subscribe(&["admin", "user:user_nemo"], json!({})).await;
    server.deliver(&with(user("nemo", 1), "email_addresses", json!([]))).await;
    let event = client.frame().await;
    assert_eq!((event["topic"].as_str(), event["event"].as_str()), (Some("admin"), Some("event.rejected")));
    assert_eq!(event["data"]["event_type"], "user.updated");
    let notice = client.frame().await;
    assert_eq!((notice["level"].as_str(), notice["event"].as_str()), (Some("error"), Some("event.rejected")));
    assert!(notice["text"].as_str().unwrap().contains("entry.require_email"), "{notice}");
    // What is for operators does not reach the person whom it is about.
    assert!(client.rest().await.is_empty());
    assert!(server.stop().await);
}

#[tokio::test]
async fn a_resynchronisation_is_told_without_a_notice_and_internal_rows_not_at_all() {
    let server = Server::start(&[]).await;
    let (mut client, _) = server.admin().await;
    client.subscribe(&["users", "user:user_ada"], json!({})).await;
    server
        .execute(
            "insert into clerk_sync.outbox (seq, id, event, topic, subject, routing, payload, changed, effects, created_at) values
            (1, '00000000-0000-7000-8000-000000000001', 'session.revoked', 'internal', 'user_ada', '[\"user:7\",\"users\"]', '{}', '[]', 'all', '2026-11-21 09:00:00+00:00'),
            (2, '00000000-0000-7000-8000-000000000002', 'user.updated', 'users', 'user_ada', '[\"user:7\"]', '{\"id\":\"7\"}', '[]', 'state', '2026-11-21 09:00:00+00:00')",
        )
        .await;
    let mut topics = [client.frame().await, client.frame().await].map(|frame| {
        assert_eq!((frame["type"].as_str(), frame["seq"].as_i64()), (Some("event"), Some(2)));
        frame["topic"].as_str().unwrap().to_owned()
    });
    topics.sort();
    assert_eq!(topics, ["user:user_ada", "users"]);
    assert!(client.rest().await.is_empty());
    // The same again from the database.
    let (mut client, _) = server.admin().await;
    client.subscribe(&["user:user_ada"], json!({"after": 0})).await;
    assert_eq!(client.frame().await["seq"], 2);
    assert!(client.rest().await.is_empty());
    assert!(server.stop().await);
}
