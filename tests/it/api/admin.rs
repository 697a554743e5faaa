//! `/v1/admin`.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::server::{ADMIN, Server, deletion, email, person};

fn column<'a>(list: &'a Value, name: &str) -> Vec<&'a str> {
    list["data"].as_array().unwrap().iter().map(|row| row[name].as_str().unwrap_or("null")).collect()
}

fn nameless(id: &str) -> Value {
    person(id, 1, json!({"first_name": null, "last_name": null}))
}

/// Ada, Bob who claims Ada's address, Eve who is refused, and a type without a rule.
async fn story(server: &Server) {
    server.sync("msg_ada", &person("user_ada", 1, json!({"private_metadata": {"k": "hidden-7"}}))).await;
    let same = json!({"email_addresses": [email("idn_1", "User_Ada@example.com", true)]});
    server.sync("msg_bob", &person("user_bob", 1, same)).await;
    server.sync("msg_eve", &nameless("user_eve")).await;
    server.sync("msg_odd", &json!({"type": "plan.changed", "object": "event", "data": {"id": "plan_1"}})).await;
}

#[tokio::test]
async fn events_are_listed_and_filtered() {
    for server in Server::start_all(&[]).await {
        story(&server).await;
        let all = server.admin("/v1/admin/events").await;
        assert_eq!(column(&all, "svix_id"), ["msg_odd", "msg_eve", "msg_bob", "msg_ada"], "{}", server.name);
        let ada = &all["data"][3];
        let names: Vec<&String> = ada.as_object().unwrap().keys().collect();
        assert_eq!(
            names,
            [
                "attempts",
                "available_at",
                "awaits",
                "awaits_too",
                "duration_us",
                "event_type",
                "finished_at",
                "instance_id",
                "occurred_at",
                "origin",
                "outcome",
                "reason",
                "received_at",
                "seq",
                "state",
                "subject",
                "svix_id",
                "traceparent",
                "user_ids"
            ]
        );
        assert_eq!((&ada["state"], &ada["outcome"]), (&json!("done"), &json!("created")));
        assert_eq!((&ada["subject"], &ada["user_ids"]), (&json!("user_ada"), &json!(["user_ada"])));
        assert_eq!(ada["occurred_at"], "2023-11-14T22:13:21.000Z");
        for (query, found) in [
            ("state=conflict", vec!["msg_bob"]),
            ("state=rejected", vec!["msg_eve"]),
            ("state=done", vec!["msg_ada"]),
            ("state=skipped", vec!["msg_odd"]),
            ("state=pending", vec![]),
            ("state=dead", vec![]),
            ("type=user.updated", vec!["msg_eve", "msg_bob", "msg_ada"]),
            ("type=user.updated&state=done", vec!["msg_ada"]),
            ("type=none", vec![]),
            ("subject=user_bob", vec!["msg_bob"]),
            ("subject=user_bob&state=done", vec![]),
            ("subject=user_bob&state=conflict&type=user.updated", vec!["msg_bob"]),
            ("state=&type=&subject=", vec!["msg_odd", "msg_eve", "msg_bob", "msg_ada"]),
        ] {
            let list = server.admin(&format!("/v1/admin/events?{query}")).await;
            assert_eq!((column(&list, "svix_id"), &list["next_cursor"]), (found, &Value::Null), "{query}");
        }
        let page = server.admin("/v1/admin/events?limit=3").await;
        let next = page["next_cursor"].as_str().unwrap();
        let rest = server.admin(&format!("/v1/admin/events?limit=3&cursor={next}")).await;
        assert_eq!((column(&rest, "svix_id"), &rest["next_cursor"]), (vec!["msg_ada"], &Value::Null));
        for query in ["state=lost", "state=Done", "limit=0", "limit=201", "cursor=x", "body=1", "cursor=dXNlcnM6MQ"] {
            let answer = server.get(&format!("/v1/admin/events?{query}"), ADMIN).await;
            answer.is_problem(422, "invalid_request", query);
        }
        // One of them, with its body.
        let one = server.admin("/v1/admin/events/msg_ada").await;
        assert_eq!(one["body"]["data"]["private_metadata"], "***");
        assert_eq!(one["body"]["data"]["id"], "user_ada");
        assert_eq!(one["svix_id"], "msg_ada");
        for missing in ["msg_none", "%FF", "%00", &"x".repeat(300)] {
            let answer = server.get(&format!("/v1/admin/events/{missing}"), ADMIN).await;
            answer.is_problem(404, "not_found", missing);
        }
    }
}

#[tokio::test]
async fn an_event_is_planned_again() {
    // Nothing but a wake-up makes the sync look.
    for server in Server::start_all(&[("sync.poll", "1h"), ("upkeep.every", "1h")]).await {
        story(&server).await;
        let row = async |id: &str| server.admin(&format!("/v1/admin/events/{id}")).await;
        let first = row("msg_eve").await;
        server.sql("update clerk_sync.inbox set attempts = 5 where svix_id = 'msg_eve'").await;
        let answer = server.post("/v1/admin/events/msg_eve/retry", ADMIN).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        let shown = answer.json();
        assert_eq!((&shown["svix_id"], &shown["attempts"]), (&json!("msg_eve"), &json!(0)));
        assert!(shown.get("body").is_none());
        let started = Instant::now();
        while row("msg_eve").await["finished_at"] == first["finished_at"] || row("msg_eve").await["state"] != "rejected"
        {
            assert!(started.elapsed() < Duration::from_secs(10), "{}: not looked at", server.name);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        // What was applied changes nothing; what was put aside comes back.
        server.post("/v1/admin/events/msg_ada/retry", ADMIN).await;
        server.settle().await;
        assert_eq!(row("msg_ada").await["outcome"], "unchanged");
        server.post("/v1/admin/events/msg_eve/discard", ADMIN).await;
        server.post("/v1/admin/events/msg_eve/retry", ADMIN).await;
        server.settle().await;
        assert_eq!(row("msg_eve").await["state"], "rejected");
        // Not without what it needs.
        server.sql("update clerk_sync.inbox set body = null where svix_id = 'msg_eve'").await;
        server.post("/v1/admin/events/msg_eve/retry", ADMIN).await.is_problem(409, "conflict_condition", "no body");
        assert_eq!(row("msg_eve").await["body"], Value::Null);
        server.sync("msg_mail", &json!({"type": "email.created", "data": {"id": "ema_1", "body": "704931"}})).await;
        assert_eq!(server.post("/v1/admin/events/msg_mail/retry", ADMIN).await.status, 200, "needs no body");
        server.settle().await;
        assert_eq!(row("msg_mail").await["outcome"], "ignored");
        server.post("/v1/admin/events/msg_none/retry", ADMIN).await.is_problem(404, "not_found", "none");
    }
}

#[tokio::test]
async fn an_event_is_put_aside() {
    for server in Server::start_all(&[]).await {
        story(&server).await;
        let answer = server.post("/v1/admin/events/msg_bob/discard", ADMIN).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        let row = answer.json();
        assert_eq!(
            (&row["state"], &row["outcome"], &row["awaits"]),
            (&json!("discarded"), &json!("discarded"), &Value::Null)
        );
        assert_eq!(server.post("/v1/admin/events/msg_bob/discard", ADMIN).await.json(), row, "said twice");
        // What it waited for comes, and does not bring it back.
        server.sync("msg_gone", &deletion("user_ada")).await;
        assert_eq!(server.admin("/v1/admin/events/msg_bob").await["state"], "discarded", "{}", server.name);
        server.post("/v1/admin/events/msg_ada/discard", ADMIN).await.is_problem(409, "conflict_condition", "done");
        server.post("/v1/admin/events/msg_none/discard", ADMIN).await.is_problem(404, "not_found", "none");
        // Who did what is kept.
        use sea_orm::EntityTrait;
        let trail = entity::audit_log::Entity::find().all(&server.app.db.read).await.unwrap();
        let ours: Vec<_> = trail.iter().filter(|row| row.actor == "operator").collect();
        assert_eq!(ours.len(), 1);
        assert_eq!((ours[0].action.as_str(), ours[0].subject.as_str()), ("event.discarded", "user_bob"));
        assert_eq!(ours[0].diff.0.replace(' ', ""), r#"{"state":["conflict","discarded"]}"#);
        assert_eq!(ours[0].correlation_id.as_deref(), Some("msg_bob"));
    }
}

#[tokio::test]
async fn conflicts_and_alerts_are_listed() {
    for server in Server::start_all(&[]).await {
        story(&server).await;
        let second = json!({"email_addresses": [email("idn_1", "user_ada@example.com", true)]});
        server.sync("msg_cat", &person("user_cat", 1, second)).await;
        let open = server.admin("/v1/admin/conflicts?state=open").await;
        assert_eq!(column(&open, "clerk_id"), ["user_cat", "user_bob"], "{}: newest first", server.name);
        let names: Vec<&String> = open["data"][0].as_object().unwrap().keys().collect();
        assert_eq!(
            names,
            ["address", "clerk_id", "id", "opened_at", "other_clerk_id", "resolved_at", "state", "svix_id"]
        );
        assert_eq!(
            (&open["data"][1]["address"], &open["data"][1]["svix_id"]),
            (&json!("user_ada@example.com"), &json!("msg_bob"))
        );
        let alerts = server.admin("/v1/admin/alerts").await;
        assert_eq!(column(&alerts, "subject"), ["user_cat", "user_bob"], "latest first");
        assert_eq!(column(&alerts, "kind"), ["conflict.email"; 2]);
        assert_eq!((&alerts["data"][0]["count"], &alerts["data"][0]["level"]), (&json!(1), &json!("warning")));
        assert_eq!(alerts["data"][0]["told_at"], alerts["data"][0]["first_at"]);
        // Bob leaves the address to Ada.
        server.sync("msg_bob2", &person("user_bob", 2, json!({}))).await;
        for (query, found) in [
            ("", vec!["user_cat", "user_bob"]),
            ("?state=open", vec!["user_cat"]),
            ("?state=resolved", vec!["user_bob"]),
            ("?state=", vec!["user_cat", "user_bob"]),
        ] {
            assert_eq!(
                column(&server.admin(&format!("/v1/admin/conflicts{query}")).await, "clerk_id"),
                found,
                "{query}"
            );
        }
        for list in ["conflicts", "alerts"] {
            let (mut seen, mut cursor) = (Vec::new(), String::new());
            loop {
                let page = server.admin(&format!("/v1/admin/{list}?limit=1&cursor={cursor}")).await;
                seen.extend(page["data"].as_array().unwrap().iter().map(|row| row["id"].as_str().unwrap().to_owned()));
                let Some(next) = page["next_cursor"].as_str() else { break };
                cursor = next.to_owned();
            }
            let whole = server.admin(&format!("/v1/admin/{list}")).await;
            assert_eq!(seen, column(&whole, "id"), "{list}");
            for query in ["limit=0", "limit=201", "cursor=x", "x=1"] {
                let answer = server.get(&format!("/v1/admin/{list}?{query}"), ADMIN).await;
                answer.is_problem(422, "invalid_request", query);
            }
        }
        server.get("/v1/admin/conflicts?state=closed", ADMIN).await.is_problem(422, "invalid_request", "state");
    }
}

#[tokio::test]
async fn stats_say_how_the_service_stands() {
    for server in Server::start_all(&[]).await {
        story(&server).await;
        server.sql("insert into clerk_sync.sink_cursors (sink, seq, available_at, updated_at) select 'search:meilisearch', 1, received_at, received_at from clerk_sync.inbox where seq = 1").await;
        let stats = server.admin("/v1/admin/stats").await;
        assert_eq!(stats["epoch"], json!(server.app.meta.epoch));
        let states = &stats["events"]["by_state"];
        assert_eq!(states.as_object().unwrap().len(), 9, "every state");
        assert_eq!((&states["done"], &states["conflict"], &states["dead"]), (&json!(1), &json!(1), &json!(0)));
        assert_eq!(stats["events"]["by_type"], json!({"plan.changed": 1, "user.updated": 3}));
        assert_eq!(stats["events"]["newest"], 4);
        let inbox = json!({"pending": 0, "rejected": 1, "conflict": 1, "waiting": 0, "held": 0, "dead": 0});
        assert_eq!(stats["queues"], json!({"inbox": inbox, "dead_letters": {"open": 0}}), "{}", server.name);
        assert_eq!(stats["oldest_pending_seconds"], 0.0);
        let head = stats["outbox"]["head"].as_i64().unwrap();
        assert!(head >= 4, "{head}");
        assert_eq!(stats["sinks"]["search:meilisearch"], json!({"seq": 1, "lag": head - 1}));
        server.get("/v1/admin/stats?x=1", ADMIN).await.is_problem(422, "invalid_request", "stats");
    }
}

#[tokio::test]
async fn a_filter_without_an_index_looks_through_a_window_at_a_time() {
    use clerk_sync::{
        domain::State,
        inbox::list::{Filter, page},
    };
    for server in Server::start_all(&[]).await {
        for n in 0..12 {
            let name = if [2, 6, 7].contains(&n) { "rare.one" } else { "odd.one" };
            server.deliver(&format!("msg_{n}"), &json!({"type": name, "data": {"id": format!("x_{n}")}})).await;
        }
        server.settle().await;
        let db = &server.app.db;
        let pages = async |filter: &Filter| {
            let (mut found, mut count, mut before) = (Vec::new(), 0, None);
            loop {
                let (rows, next) = page(db, filter, before, 2, 5).await.unwrap();
                assert!(rows.len() <= 2);
                found.extend(rows.into_iter().map(|row| row.svix_id));
                count += 1;
                before = next;
                if before.is_none() {
                    return (found, count);
                }
            }
        };
        let rare = Filter { event_type: Some("rare.one".into()), ..Filter::default() };
        assert_eq!(
            pages(&rare).await,
            (vec!["msg_7".into(), "msg_6".into(), "msg_2".to_owned()], 3),
            "{}",
            server.name
        );
        let all: Vec<String> = (0..12).rev().map(|n| format!("msg_{n}")).collect();
        let skipped = Filter { state: Some(State::Skipped), ..Filter::default() };
        assert_eq!(pages(&skipped).await.0, all);
        assert_eq!(pages(&Filter::default()).await, (all, 6));
        // An index leads to the one among many.
        let one = Filter { subject: Some("x_0".into()), ..Filter::default() };
        assert_eq!(pages(&one).await, (vec!["msg_0".to_owned()], 1));
        server.sql("update clerk_sync.inbox set state = 'dead' where svix_id = 'msg_0'").await;
        let dead = Filter { state: Some(State::Dead), ..Filter::default() };
        assert_eq!(pages(&dead).await, (vec!["msg_0".to_owned()], 1));
        server.sql("update clerk_sync.inbox set state = 'pending', available_at = '2100-01-01T00:00:00+00:00' where svix_id in ('msg_0', 'msg_7', 'msg_9')").await;
        let pending = Filter { state: Some(State::Pending), ..Filter::default() };
        assert_eq!(pages(&pending).await, (vec!["msg_9".into(), "msg_7".into(), "msg_0".to_owned()], 2));
    }
}
