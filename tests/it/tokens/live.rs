//! A person's websocket: what they may follow, what they get of it, and until when.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::bed::{Bed, message};
use crate::support::{issuer::now, ws::Heard};

fn forbidden(topic: &str) -> Value {
    json!({"type": "error", "code": "forbidden", "topic": topic})
}

#[tokio::test]
async fn a_person_follows_themselves_whole_under_every_name() {
    for bed in Bed::each(&[]).await {
        let id = bed.person("ada", 1, json!({})).await;
        bed.person("eve", 1, json!({})).await;
        let mut client = bed.enter("ada").await;
        let own = format!("user:{id}");
        let topics = client
            .subscribe(&["user:me", "user:user_ada", &own, &own.to_uppercase().replace("USER", "user")], json!({}))
            .await;
        assert_eq!(topics, json!([own]));
        bed.person("eve", 2, json!({"first_name": "Eva"})).await;
        bed.person("ada", 2, json!({"first_name": "Ida", "private_metadata": {"hidden": "never told"}})).await;
        let event = client.event().await;
        assert_eq!((&event["topic"], &event["event"]), (&json!(own), &json!("user.updated")));
        assert_eq!(
            (&event["data"]["first_name"], &event["data"]["email"]),
            (&json!("Ida"), &json!("user_ada@example.com"))
        );
        assert!(!event.to_string().contains("never told") && event["data"].get("private_metadata").is_none());
        assert_eq!(client.rest().await.len(), 1, "a notice");
        // Also where a row holds what it should not.
        bed.tell(|seq| {
            message(
                seq,
                "user.updated",
                "users",
                "user_ada",
                vec![own.clone()],
                json!({"id": id, "private_metadata": 1}),
            )
        })
        .await;
        assert_eq!(client.event().await["data"], json!({"id": id}));
        client.rest().await;
        client.say(json!({"type": "unsubscribe", "topics": ["user:me"]})).await;
        bed.person("ada", 3, json!({"first_name": "Ada"})).await;
        assert!(client.rest().await.is_empty());
        // What was missed, from the database.
        client.subscribe(&["user:me"], json!({"after": 0})).await;
        let names = [client.event().await, client.event().await, client.event().await, client.event().await];
        assert_eq!(
            names.map(|event| event["data"]["first_name"].clone()),
            [json!("Ada"), json!("Ida"), Value::Null, json!("Ada")]
        );
    }
}

#[tokio::test]
async fn what_is_not_a_persons_own_is_forbidden() {
    for bed in Bed::each(&[]).await {
        let eve = bed.person("eve", 1, json!({})).await;
        bed.person("ada", 1, json!({})).await;
        let org = bed.organization("one").await;
        bed.join(&org, "eve").await;
        let mut client = bed.enter("ada").await;
        let (eves, orgs) = (format!("user:{eve}"), org.topic());
        let others = [
            "users",
            "organizations",
            "admin",
            "user:user_eve",
            &eves,
            "user:user_nobody",
            "user:0199b3f0-7e2c-7cc0-8f00-0123456789ab",
            &orgs,
            "org:org_one",
            "org:org_nowhere",
            "org:0199b3f0-7e2c-7cc0-8f00-0123456789ab",
        ];
        for topic in others {
            client.say(json!({"type": "subscribe", "topics": [topic], "after": 0})).await;
            assert_eq!(client.rest().await, [forbidden(topic)], "{}", bed.server.name);
        }
        for topic in ["org:me", "nonsense", "user:"] {
            client.say(json!({"type": "subscribe", "topics": [topic]})).await;
            assert_eq!(client.frame().await["code"], "invalid_topic", "{topic}");
        }
        // One that is theirs among them is had all the same.
        client.say(json!({"type": "subscribe", "topics": ["users", "user:me", orgs]})).await;
        let frames = client.rest().await;
        assert_eq!((&frames[0], &frames[1]), (&forbidden("users"), &forbidden(&org.topic())));
        assert_eq!(frames[2]["topics"], json!([format!("user:{}", bed.id("ada").await)]));
        bed.person("eve", 2, json!({"first_name": "Eva"})).await;
        bed.tell_org(&org, json!({"name": "Two"})).await;
        bed.person("ada", 2, json!({"first_name": "Ida"})).await;
        assert_eq!(client.event().await["subject"], "user_ada");
        // An admin follows any of them; nobody but a person is `me`.
        let mut admin = bed.admin().await;
        let topics = admin.subscribe(&["users", "user:user_eve", "org:org_one", &org.topic()], json!({})).await;
        assert_eq!(topics, json!(["users", eves, org.topic()]));
        admin.say(json!({"type": "subscribe", "topics": ["user:me"]})).await;
        assert_eq!(admin.frame().await["code"], "invalid_topic");
    }
}

#[tokio::test]
async fn a_person_follows_themselves_before_their_row_is_there() {
    for bed in Bed::each(&[]).await {
        let mut client = bed.stranger().await;
        assert_eq!(client.auth(&bed.token("ada")).await["user"]["id"], Value::Null);
        assert_eq!(client.subscribe(&["user:me"], json!({})).await, json!(["user:user_ada"]));
        let id = bed.person("ada", 1, json!({})).await;
        let event = client.event().await;
        assert_eq!((&event["topic"], &event["event"]), (&json!("user:user_ada"), &json!("user.created")));
        assert_eq!(event["data"]["id"], json!(id));
        client.rest().await;
        // The name stays; nothing comes twice.
        assert_eq!(client.subscribe(&["user:me", &format!("user:{id}")], json!({})).await, json!(["user:user_ada"]));
        assert_eq!(client.auth(&bed.token("ada")).await["user"]["id"], json!(id));
        bed.person("ada", 2, json!({"first_name": "Ida"})).await;
        assert_eq!(client.event().await["event"], "user.updated");
        assert_eq!(client.rest().await.len(), 1, "a notice");
    }
}

#[tokio::test]
async fn a_token_is_renewed_by_the_same_person_in_the_same_session_or_the_connection_ends() {
    for bed in Bed::each(&[]).await {
        bed.person("ada", 1, json!({})).await;
        bed.person("eve", 1, json!({})).await;
        for (what, token) in [
            ("another person", bed.token_with("eve", json!({"sid": "sess_ada"}))),
            ("another session", bed.token_with("ada", json!({"sid": "sess_other"}))),
            ("expired", bed.token_with("ada", json!({"exp": now() - 60}))),
            ("an admin", crate::support::server::ADMIN.to_owned()),
            ("nothing", String::new()),
        ] {
            let mut client = bed.enter("ada").await;
            client.auth(&bed.token("ada")).await;
            client.say(json!({"type": "auth", "token": token})).await;
            assert_eq!(client.hear().await, Heard::Closed(4401), "{}: {what}", bed.server.name);
        }
        let mut admin = bed.admin().await;
        admin.say(json!({"type": "auth", "token": bed.token("ada")})).await;
        assert_eq!(admin.hear().await, Heard::Closed(4401));
        // The database is asked again.
        let mut client = bed.enter("ada").await;
        bed.server.sql("update clerk_sync.users set status = 'banned'").await;
        client.say(json!({"type": "auth", "token": bed.token("ada")})).await;
        assert_eq!(client.hear().await, Heard::Closed(4401));
    }
}

#[tokio::test]
async fn a_connection_lives_as_long_as_its_token_and_goes_on_with_the_next() {
    for bed in Bed::each(&[]).await {
        bed.person("ada", 1, json!({})).await;
        let (begun, end) = (Instant::now(), now() + 3);
        let short = bed.token_with("ada", json!({"exp": end}));
        let (mut lapsing, mut renewing) = (bed.enter_with(&short).await, bed.enter_with(&short).await);
        for client in [&mut lapsing, &mut renewing] {
            client.subscribe(&["user:me"], json!({})).await;
        }
        renewing.auth(&bed.token("ada")).await;
        let (frames, code) = lapsing.closed().await;
        assert_eq!((frames, code), (Vec::new(), 4401));
        assert!((0..=1).contains(&(now() - end)), "{}: {:?}", bed.server.name, begun.elapsed());
        bed.person("ada", 2, json!({"first_name": "Ida"})).await;
        assert_eq!(renewing.event().await["event"], "user.updated");
        renewing.rest().await;
        assert!(tokio::time::timeout(Duration::from_millis(200), renewing.hear()).await.is_err());
    }
}
