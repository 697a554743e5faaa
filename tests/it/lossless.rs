//! What users write themselves: it never hides an event, comes out as it went in, and can always be read again.

use std::collections::BTreeSet;

use clerk_sync::{
    clerk::object,
    domain::plan::Kind,
    erasure::Store,
    json::Value,
    outbox::feed,
    sync::objects::{Applier, Origin},
};
use serde_json::{json, value::RawValue};

use crate::support::{
    dump::naming,
    process::post,
    server::{ADMIN, READER, Server, deletion, email},
};

/// Values that any signed-in user can write into `unsafe_metadata`, and how they come out.
fn written() -> Vec<(String, String)> {
    let nested = |depth: usize, inner: &str| format!("{}{inner}{}", "[".repeat(depth), "]".repeat(depth));
    let same = |text: &str| (text.to_owned(), text.to_owned());
    vec![
        same("117.63331139400017"),
        same("123456789012345678901234567890"),
        same("1.7976931348623157e308"),
        same("-1e400"),
        same("1E-999999"),
        same("1e200000"),
        same("[0.10,-0,1e5]"),
        same(r#"{"$serde_json::private::RawValue":"{"}"#),
        same(r#"{"$serde_json::private::Number":"no number"}"#),
        same(r#"{"id":"user_other","nonce":"theirs","type":"user.deleted"}"#),
        same(&nested(61, "")),
        (nested(70, ""), nested(60, "[null]")),
        (nested(100_000, ""), nested(60, "[null]")),
        (r#""half \ud83d""#.to_owned(), "\"half \u{fffd}\"".to_owned()),
        (r#"{"\udfff":"\u0000"}"#.to_owned(), "{\"\u{fffd}\":\"\u{fffd}\"}".to_owned()),
    ]
}

/// A snapshot of a user as Clerk writes it, with this value in each of the three metadata objects, and a secret.
fn snapshot(id: &str, at: u64, banned: bool, value: &str) -> String {
    let at = 1_700_000_000_000_u64 + at * 1000;
    let address = email("idn_1", &format!("{id}@example.com"), true);
    format!(
        r#"{{"id":"{id}","object":"user","first_name":"Ada","last_name":"Quill","email_addresses":[{address}],
        "web3_wallets":[{{"web3_wallet":"0x1","verification":{{"status":"verified","nonce":"s3cr3t-nonce"}}}}],
        "public_metadata":{{"v":{value}}}, "private_metadata":{{"v":{value}}}, "unsafe_metadata":{{"v":{value}}},
        "banned":{banned},"created_at":1700000000000,"updated_at":{at}}}"#
    )
}

fn event(event_type: &str, at: u64, data: &str) -> String {
    format!(
        r#"{{"data":{data},"object":"event","type":"{event_type}","timestamp":{}}}"#,
        1_700_000_000_000_u64 + at * 1000
    )
}

async fn send(server: &Server, id: &str, body: &str) {
    assert_eq!(post(&server.client, &server.url, id, body.as_bytes()).await, Some(200), "{}: {id}", server.name);
    server.settle().await;
}

/// A receipt as an operator sees it, read without loss.
async fn receipt(server: &Server, id: &str) -> Value {
    let row = server.get(&format!("/v1/admin/events/{id}"), ADMIN).await;
    assert_eq!(row.status, 200, "{}: {id}: {}", server.name, row.text);
    Value::parse(&row.text).unwrap()
}

#[tokio::test]
async fn a_ban_takes_effect_and_rows_stay_readable_whatever_users_write() {
    for server in Server::start_all(&[]).await {
        for (index, (value, shown)) in written().iter().enumerate() {
            let what = format!("{}: {value:.60}", server.name);
            let id = format!("user_{index}");
            send(&server, &format!("msg_a{index}"), &event("user.created", 1, &snapshot(&id, 1, false, "1"))).await;
            send(&server, &format!("msg_b{index}"), &event("user.updated", 2, &snapshot(&id, 2, true, value))).await;
            let end = receipt(&server, &format!("msg_b{index}")).await;
            assert_eq!(
                (end["outcome"].as_str(), end["subject"].as_str()),
                (Some("updated"), Some(id.as_str())),
                "{what}"
            );
            // One user, twice: from the database and from the cache.
            for _ in 0..2 {
                let user = server.get(&format!("/v1/users/{id}"), READER).await;
                assert_eq!(user.status, 200, "{what}");
                assert!(user.text.contains(r#""status":"banned""#), "{what}");
                assert!(user.text.contains(&format!(r#""unsafe_metadata":{{"v":{shown}}}"#)), "{what}: {}", user.text);
                assert!(user.text.contains(&format!(r#""public_metadata":{{"v":{shown}}}"#)), "{what}");
                assert!(!user.text.contains("private_metadata"), "{what}");
            }
        }
        // Whatever one of them holds, lists, search, feed, trail and replay answer for all.
        server.caught_up("search:database").await;
        for (path, token) in [
            ("/v1/users?limit=200", READER),
            ("/v1/search/users?q=Quill&limit=100", READER),
            ("/v1/admin/audit?limit=200", ADMIN),
        ] {
            let list = server.get(path, token).await;
            assert_eq!(list.status, 200, "{}: {path}: {}", server.name, list.text);
            for (value, shown) in written() {
                assert!(list.text.contains(&shown), "{}: {path} lacks {value:.60}", server.name);
            }
        }
        // The feed of a user's own topic has the whole object.
        assert_eq!(server.get("/v1/changes?limit=1000", READER).await.status, 200, "{}", server.name);
        let feed = feed::read(&server.app.db.read, 0, 1000).await.unwrap();
        let feed: String = feed.iter().map(|entry| entry.data("user:me", &[]).to_string()).collect();
        for (value, shown) in written() {
            assert!(feed.contains(&shown), "{}: the feed lacks {value:.60}", server.name);
        }
        assert_eq!(naming(&server.app.db, "s3cr3t-nonce").await, [""; 0], "{}", server.name);
        // A deletion and an erasure find all of it.
        for index in 0..written().len() {
            let id = format!("user_{index}");
            server.sync(&format!("msg_c{index}"), &deletion(&id)).await;
            let removed = server.app.eraser().erase(&BTreeSet::from([id])).await.unwrap();
            assert!(removed[&Store::Bodies] >= 2 && removed[&Store::Feed] >= 2, "{}: {removed:?}", server.name);
        }
        assert!(server.stop().await);
    }
}

#[tokio::test]
async fn objects_of_the_api_hold_whatever_users_write() {
    for server in Server::start_all(&[]).await {
        let app = &server.app;
        let applier = Applier {
            db: app.db.clone(),
            policy: app.policy.clone(),
            clock: app.clock.clone(),
            signals: app.signals.clone(),
            admissions: Default::default(),
        };
        let (first, second): (Vec<_>, Vec<_>) = written()
            .iter()
            .enumerate()
            .map(|(index, (value, _))| {
                let object = |at, banned| {
                    let text = snapshot(&format!("user_{index}"), at, banned, value);
                    object::stored(Kind::User, &RawValue::from_string(text).unwrap())
                };
                (object(1, false), object(2, true))
            })
            .unzip();
        for (objects, outcome, origin) in [
            (first.clone(), "created", Origin::Backfill),
            (first, "unchanged", Origin::Ensure),
            (second, "updated", Origin::Reconcile),
        ] {
            let report = applier.apply(objects, origin, false).await.unwrap();
            let ends: Vec<_> = report.applied.iter().map(|applied| applied.outcome.outcome).collect();
            assert_eq!(ends, vec![outcome; ends.len()], "{}", server.name);
        }
        for (index, (_, shown)) in written().iter().enumerate() {
            let user = server.get(&format!("/v1/users/user_{index}"), READER).await;
            assert!(
                user.text.contains(&format!(r#""unsafe_metadata":{{"v":{shown}}}"#)),
                "{}: {}",
                server.name,
                user.text
            );
            assert!(user.text.contains(r#""status":"banned""#), "{}", server.name);
        }
        assert!(server.stop().await);
    }
}

#[tokio::test]
async fn the_published_cases_take_effect() {
    let cases = [
        ("user", include_str!("../cases/02a-created.json")),
        ("user", include_str!("../cases/02b-banned-with-half-an-emoji.json")),
        ("user", include_str!("../cases/02d-number-beyond-f64.json")),
        ("organization", include_str!("../cases/02f-organization.json")),
        ("membership", include_str!("../cases/02g-membership.json")),
        ("membership", include_str!("../cases/02h-membership-ended-with-half-an-emoji.json")),
        ("user", include_str!("../cases/03a-created.json")),
        ("user", include_str!("../cases/03b-banned-with-70-deep-unsafe-metadata.json")),
        ("user", include_str!("../cases/10-floats.json")),
    ];
    for server in Server::start_all(&[]).await {
        for (index, (kind, body)) in cases.iter().enumerate() {
            send(&server, &format!("msg_{index}"), body).await;
            let end = receipt(&server, &format!("msg_{index}")).await;
            assert_eq!(end["state"].as_str(), Some("done"), "{}: {kind} {index}: {end}", server.name);
        }
        for id in ["user_2cases000000000000000000003", "user_2cases000000000000000000006"] {
            assert_eq!(server.read(&format!("/v1/users/{id}")).await["status"], "banned", "{}: {id}", server.name);
        }
        let deep = receipt(&server, "msg_7").await;
        assert!(deep["reason"].as_str().unwrap().contains("unsafe_metadata (nested deeper than 64)"), "{deep}");
        assert_eq!(server.read("/v1/organizations/org_2casescasescasescasescases/members").await["data"], json!([]));
        let floats = server.get("/v1/users/user_2cases000000000000000000011", READER).await.text;
        for digits in ["117.63331139400017", "0.9215686321258545", "123456789012345678901234567890"] {
            assert!(floats.contains(digits), "{}: {digits}", server.name);
        }
        assert_eq!(naming(&server.app.db, "a-nonce-that-must-not-be-stored").await, [""; 0], "{}", server.name);
        assert!(server.stop().await);
    }
}

/// Rows as an earlier version left them: no subject, no users, a secret in the body.
#[tokio::test]
async fn bodies_that_were_not_understood_are_read_again() {
    use clerk_sync::{
        db::{Cell, Stmt},
        inbox::rescan::rescan,
    };
    for server in Server::start_all(&[]).await {
        let db = &server.app.db;
        let body = event("user.created", 1, &snapshot("user_old", 1, true, "1e999"));
        Stmt::new(
            &db.write,
            "insert into clerk_sync.inbox (svix_id, event_type, user_ids, received_at, available_at, finished_at, state, outcome, reason, origin, attempts, body)
                values ('msg_old', 'user.created', '[]', ",
        )
        .val(server.app.clock.now())
        .sql(", ")
        .val(server.app.clock.now())
        .sql(", ")
        .val(server.app.clock.now())
        .sql(", 'rejected', 'rejected', 'malformed: a number beyond all numbers', 'webhook', 1, ")
        .val(Cell::Bytes(body.into_bytes()))
        .sql(")")
        .exec(&db.write)
        .await
        .unwrap();
        assert_eq!(rescan(db, server.app.clock.now()).await.unwrap(), 0, "{}: done when it was started", server.name);
        server.sql("delete from clerk_sync.meta where key = 'inbox.rescanned'").await;
        assert_eq!(rescan(db, server.app.clock.now()).await.unwrap(), 1, "{}", server.name);
        server.app.signals.inbox.wake();
        server.settle().await;
        let row = receipt(&server, "msg_old").await;
        assert_eq!(
            (row["subject"].as_str(), row["outcome"].as_str()),
            (Some("user_old"), Some("created")),
            "{}",
            server.name
        );
        assert_eq!(row["user_ids"], json!(["user_old"]), "{}", server.name);
        assert_eq!(naming(db, "s3cr3t-nonce").await, [""; 0], "{}", server.name);
        let user = server.get("/v1/users/user_old", READER).await.text;
        assert!(user.contains(r#""status":"banned""#), "{}: {user}", server.name);
        assert!(server.stop().await);
    }
}

/// What the API's lists hold is read as it is written: a page with such users in it is not lost.
#[tokio::test]
async fn a_backfill_reads_whatever_users_write() {
    use std::sync::Arc;

    use axum::{Router, extract::RawQuery, routing::get};
    use clerk_sync::reconcile::backfill::{Meter, Options};
    use tokio_util::sync::CancellationToken;

    let users: Vec<String> = (0..)
        .zip(written())
        .map(|(index, (value, _))| snapshot(&format!("user_{index}"), index, index % 2 == 0, &value))
        .collect();
    let (count, list) = (users.len(), format!("[{}]", users.join(",")));
    let empty = || async { r#"{"data":[],"total_count":0}"# };
    let first_page = move |RawQuery(query): RawQuery| async move {
        let more = query.unwrap_or_default().split('&').any(|part| part.starts_with("starting_after"));
        if more { "[]".to_owned() } else { list }
    };
    let clerk = Router::new()
        .route("/v1/instance", get(async || r#"{"object":"instance","id":"ins_tests"}"#))
        .route("/v1/users", get(first_page))
        .route(
            "/v1/users/count",
            get(move || async move { format!(r#"{{"object":"total_count","total_count":{count}}}"#) }),
        )
        .route("/v1/organizations", get(empty))
        .route("/v1/organization_memberships", get(empty));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/v1", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, clerk).await });
    for server in Server::start_all(&[("clerk.secret_key", "sk_test_lossless"), ("clerk.api_url", &url)]).await {
        let reconciler = server.app.reconciler(CancellationToken::new()).unwrap();
        let options = Options { concurrency: 1, restart: true };
        reconciler.backfill(options, Arc::new(Meter::default())).await.unwrap();
        for (index, (_, shown)) in written().iter().enumerate() {
            let user = server.get(&format!("/v1/users/user_{index}"), READER).await;
            assert!(
                user.text.contains(&format!(r#""unsafe_metadata":{{"v":{shown}}}"#)),
                "{}: {}",
                server.name,
                user.text
            );
            let status = if index % 2 == 0 { "banned" } else { "active" };
            assert!(user.text.contains(&format!(r#""status":"{status}""#)), "{}: {index}", server.name);
        }
        assert!(server.stop().await);
    }
}
