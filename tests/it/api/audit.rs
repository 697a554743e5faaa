//! `/v1/admin/audit`.

use clerk_sync::db::Stmt;
use serde_json::{Value, json};

use crate::support::server::{ADMIN, READER, Server, deletion, person};

fn actions(list: &Value) -> Vec<&str> {
    list["data"].as_array().unwrap().iter().map(|row| row["action"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn the_trail_is_listed_the_latest_first() {
    for server in Server::start_all(&[]).await {
        server.sync("msg_1", &person("user_ada", 1, json!({}))).await;
        server.sync("msg_2", &person("user_bob", 1, json!({"first_name": null, "last_name": null}))).await;
        server.sync("msg_3", &person("user_ada", 2, json!({"first_name": "Grace"}))).await;
        server.post("/v1/admin/events/msg_2/discard", ADMIN).await;
        server.sync("msg_4", &deletion("user_ada")).await;
        let all = server.admin("/v1/admin/audit").await;
        assert_eq!(
            actions(&all),
            ["user.deleted", "event.discarded", "user.updated", "user.updated"],
            "{}",
            server.name
        );
        let row = &all["data"][2];
        let names: Vec<&String> = row.as_object().unwrap().keys().collect();
        assert_eq!(names, ["action", "actor", "at", "correlation_id", "diff", "seq", "subject"]);
        assert_eq!(
            (&row["actor"], &row["subject"], &row["correlation_id"]),
            (&json!("clerk"), &json!("user_ada"), &json!("msg_3"))
        );
        assert_eq!(row["diff"]["first_name"], json!(["Ada", "Grace"]));
        assert!(chrono::DateTime::parse_from_rfc3339(row["at"].as_str().unwrap()).is_ok());
        for (query, found) in [
            ("subject=user_ada", vec!["user.deleted", "user.updated", "user.updated"]),
            ("subject=user_bob", vec!["event.discarded"]),
            ("subject=user_none", vec![]),
            ("subject=", vec!["user.deleted", "event.discarded", "user.updated", "user.updated"]),
        ] {
            let list = server.admin(&format!("/v1/admin/audit?{query}")).await;
            assert_eq!((actions(&list), &list["next_cursor"]), (found, &Value::Null), "{query}");
        }
        for query in ["", "&subject=user_ada"] {
            let whole = server.admin(&format!("/v1/admin/audit?limit=200{query}")).await;
            let (mut seen, mut cursor) = (Vec::new(), String::new());
            loop {
                let page = server.admin(&format!("/v1/admin/audit?limit=1&cursor={cursor}{query}")).await;
                seen.extend(page["data"].as_array().unwrap().clone());
                let Some(next) = page["next_cursor"].as_str() else { break };
                cursor = next.to_owned();
            }
            assert_eq!(json!(seen), whole["data"], "{query}");
        }
        for query in ["limit=0", "limit=201", "cursor=x", "cursor=ZXZlbnRzOjE", "actor=clerk", "subject=a&subject=b"] {
            let answer = server.get(&format!("/v1/admin/audit?{query}"), ADMIN).await;
            answer.is_problem(422, "invalid_request", query);
        }
        server.get("/v1/admin/audit", READER).await.is_problem(403, "forbidden", "a reader");
        server.get("/v1/admin/audit", "").await.is_problem(401, "unauthenticated", "nobody");
    }
}

/// P8: whatever stands in private metadata never gets into the trail, on the way in or out of existence either.
#[tokio::test]
async fn p8_private_metadata_is_not_in_the_trail() {
    for server in Server::start_all(&[]).await {
        let story = [
            json!({"private_metadata": {"plan": "hidden-1"}, "public_metadata": {"tier": "shown-1"}}),
            json!({"private_metadata": {"plan": "hidden-2", "deep": {"list": ["hidden-3"]}}}),
            json!({"private_metadata": {}}),
        ];
        for (index, changes) in story.into_iter().enumerate() {
            server.sync(&format!("msg_{index}"), &person("user_ada", index as u64 + 1, changes)).await;
        }
        server.sync("msg_gone", &deletion("user_ada")).await;
        let answer = server.get("/v1/admin/audit?subject=user_ada", ADMIN).await;
        let list = answer.json();
        let masked: Vec<_> =
            list["data"].as_array().unwrap().iter().map(|row| &row["diff"]["private_metadata"]).collect();
        let stars = json!(["***", "***"]);
        assert_eq!(masked, [&Value::Null, &stars, &stars, &stars], "{}", server.name);
        assert!(answer.text.contains("shown-1") && !answer.text.contains("hidden"), "{}", answer.text);
        // As it is stored, too.
        let db = &server.app.db.read;
        let rows = Stmt::new(db, "select cast(diff as text) as diff from clerk_sync.audit_log").all(db).await.unwrap();
        let stored: Vec<String> = rows.iter().map(|row| row.try_get("", "diff").unwrap()).collect();
        assert!(stored.concat().contains("shown-1") && !stored.concat().contains("hidden"), "{stored:?}");
    }
}
