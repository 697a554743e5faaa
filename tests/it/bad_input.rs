//! Whatever comes in gets a clear, stable answer and loses nothing: over real HTTP, with real signatures.

use std::time::Duration;

use clerk_sync::{app::Running, clerk::signature::Verifier, clock::Clock};
use reqwest::{Client, RequestBuilder, Response};
use sea_orm::{EntityTrait, PaginatorTrait};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::support::{
    people::{user, with},
    process::SECRET,
    tables::read,
    world::{World, sqlite, worlds},
};

fn client() -> Client {
    Client::builder().no_proxy().timeout(Duration::from_secs(20)).build().unwrap()
}

fn request(running: &Running, id: &str, body: &[u8], offset: i64) -> RequestBuilder {
    let at = Clock::system().now().timestamp() + offset;
    client()
        .post(format!("http://{}/webhooks/clerk", running.addr))
        .header("content-type", "application/json")
        .header("svix-id", id)
        .header("svix-timestamp", at)
        .header("svix-signature", signature(id, at, body))
        .body(body.to_vec())
}

/// Also of bytes that are no text, which the verifier itself does not sign.
fn signature(id: &str, at: i64, body: &[u8]) -> String {
    use base64::Engine as _;
    use hmac::Mac as _;
    let engine = base64::engine::general_purpose::STANDARD;
    let key = engine.decode(SECRET.trim_start_matches("whsec_")).unwrap();
    let mut mac = hmac::Hmac::<sha2::Sha256>::new_from_slice(&key).unwrap();
    mac.update(format!("{id}.{at}.").as_bytes());
    mac.update(body);
    format!("v1,{}", engine.encode(mac.finalize().into_bytes()))
}

async fn problem(response: Response) -> (u16, String) {
    let status = response.status().as_u16();
    let kind = response.headers()["content-type"].to_str().unwrap().to_owned();
    let body: Value = response.json().await.unwrap();
    assert_eq!(kind, "application/problem+json", "{body}");
    assert_eq!(body["status"], status);
    (status, body["code"].as_str().unwrap().to_owned())
}

async fn stored(world: &World) -> u64 {
    entity::inbox::Entity::find().count(&world.app.db.read).await.unwrap()
}

#[tokio::test]
async fn what_is_no_delivery_is_refused_and_not_stored() {
    let world = sqlite(&[]).await;
    let running = world.serve().await;
    let ada = user("ada", 1).to_string().into_bytes();
    let wrong = |request: RequestBuilder, name: &'static str, value: String| {
        let mut request = request.build().unwrap();
        request.headers_mut().insert(name, value.parse().unwrap());
        client().execute(request)
    };
    let without = |name: &'static str| {
        let mut request = request(&running, "msg_x", &ada, 0).build().unwrap();
        request.headers_mut().remove(name);
        client().execute(request)
    };
    let send = |body: Vec<u8>, offset: i64| request(&running, "msg_x", &body, offset).send();

    let cases: Vec<(&str, Response, u16, &str)> = vec![
        ("truncated JSON", send(ada[..ada.len() / 2].to_vec(), 0).await.unwrap(), 400, "invalid_payload"),
        (
            "invalid UTF-8",
            send(b"{\"type\":\"user.created\",\"data\":{\"id\":\"\xff\"}}".to_vec(), 0).await.unwrap(),
            400,
            "invalid_payload",
        ),
        ("a list", send(b"[]".to_vec(), 0).await.unwrap(), 400, "invalid_payload"),
        (
            "data is a text",
            send(br#"{"type":"user.created","data":"x"}"#.to_vec(), 0).await.unwrap(),
            400,
            "invalid_payload",
        ),
        ("type is a number", send(br#"{"type":7,"data":{}}"#.to_vec(), 0).await.unwrap(), 400, "invalid_payload"),
        ("empty", send(Vec::new(), 0).await.unwrap(), 400, "invalid_payload"),
        ("too old", send(ada.clone(), -301).await.unwrap(), 401, "stale_timestamp"),
        ("from the future", send(ada.clone(), 302).await.unwrap(), 401, "stale_timestamp"),
        ("no id", without("svix-id").await.unwrap(), 400, "missing_headers"),
        ("no timestamp", without("svix-timestamp").await.unwrap(), 400, "missing_headers"),
        ("no signature", without("svix-signature").await.unwrap(), 400, "missing_headers"),
        (
            "another id",
            wrong(request(&running, "msg_x", &ada, 0), "svix-id", "msg_y".into()).await.unwrap(),
            401,
            "invalid_signature",
        ),
        (
            "garbage",
            wrong(request(&running, "msg_x", &ada, 0), "svix-signature", "v1,AAAA v2 ,".into()).await.unwrap(),
            401,
            "invalid_signature",
        ),
        (
            "-1",
            wrong(request(&running, "msg_x", &ada, 0), "svix-timestamp", "-1".into()).await.unwrap(),
            401,
            "invalid_signature",
        ),
        (
            "no number",
            wrong(request(&running, "msg_x", &ada, 0), "svix-timestamp", "now".into()).await.unwrap(),
            401,
            "invalid_signature",
        ),
        (
            "unsigned and no UTF-8",
            wrong(request(&running, "msg_x", b"\xff", 0), "svix-signature", "v1,AAAA".into()).await.unwrap(),
            401,
            "invalid_signature",
        ),
        (
            "a form",
            wrong(request(&running, "msg_x", &ada, 0), "content-type", "application/x-www-form-urlencoded".into())
                .await
                .unwrap(),
            415,
            "unsupported_media_type",
        ),
        ("5 MiB", send(vec![b' '; 5 << 20], 0).await.unwrap(), 413, "payload_too_large"),
        (
            "GET",
            client().get(format!("http://{}/webhooks/clerk", running.addr)).send().await.unwrap(),
            405,
            "method_not_allowed",
        ),
        ("elsewhere", client().get(format!("http://{}/nowhere", running.addr)).send().await.unwrap(), 404, "not_found"),
    ];
    for (name, response, status, code) in cases {
        assert_eq!(problem(response).await, (status, code.to_owned()), "{name}");
    }
    assert_eq!(stored(&world).await, 0);
    assert!(running.stop().await);
}

/// A sender that hangs up in the middle of the body stores nothing and leaves nothing behind.
#[tokio::test]
async fn a_body_that_does_not_arrive_whole_is_not_stored() {
    let world = sqlite(&[]).await;
    let running = world.serve().await;
    let body = user("ada", 1).to_string();
    let at = Clock::system().now().timestamp();
    let signature = signature("msg_cut", at, body.as_bytes());
    let head = format!(
        "POST /webhooks/clerk HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\nsvix-id: msg_cut\r\nsvix-timestamp: {at}\r\nsvix-signature: {signature}\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    let mut socket = TcpStream::connect(running.addr).await.unwrap();
    socket.write_all(head.as_bytes()).await.unwrap();
    socket.write_all(&body.as_bytes()[..100]).await.unwrap();
    socket.shutdown().await.unwrap();
    let mut answer = Vec::new();
    let _ = socket.read_to_end(&mut answer).await;
    assert!(!String::from_utf8_lossy(&answer).starts_with("HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
    assert_eq!(stored(&world).await, 0);
    assert_eq!(request(&running, "msg_cut", body.as_bytes(), 0).send().await.unwrap().status(), 200);
    assert!(running.stop().await);
}

/// Signed, stored, and judged in the inbox: nothing that Clerk signs is answered with a 4xx for its content.
#[tokio::test]
async fn strange_content_is_accepted_and_judged_in_the_inbox() {
    for world in worlds(&[]).await {
        let running = world.serve().await;
        let nul = with(user("nul", 1), "public_metadata", json!({"no\u{0}te": "a\u{0}b"}));
        let bodies = [
            ("msg_nul", nul.to_string()),
            ("msg_no_id", r#"{"type":"user.created","data":{"first_name":"x"}}"#.to_owned()),
            ("msg_id_is_a_number", r#"{"type":"user.created","timestamp":1760000000000,"data":{"id":7}}"#.to_owned()),
            ("msg_no_times", r#"{"type":"user.updated","data":{"id":"user_1"}}"#.to_owned()),
            ("msg_huge_number", r#"{"type":"user.updated","data":{"id":"user_2","updated_at":1e999}}"#.to_owned()),
            (
                "msg_wrong_kinds",
                with(with(user("kinds", 1), "first_name", json!(["x"])), "external_accounts", json!("none"))
                    .to_string(),
            ),
            ("msg_unknown", r#"{"type":"robot.rebooted","data":{}}"#.to_owned()),
            ("msg_long_type", format!(r#"{{"type":"{}","data":{{}}}}"#, "x".repeat(3000))),
            ("msg_large", with(user("large", 1), "unsafe_metadata", json!({"pad": "x".repeat(900_000)})).to_string()),
        ];
        for (id, body) in &bodies {
            let response = request(&running, id, body.as_bytes(), 0).send().await.unwrap();
            assert_eq!(response.status(), 200, "{id}");
            assert_eq!(response.json::<Value>().await.unwrap(), json!({"status": "accepted", "id": id}));
            let again = request(&running, id, body.as_bytes(), 0).send().await.unwrap().json::<Value>().await.unwrap();
            assert_eq!(again["status"], "duplicate", "{id}");
        }
        world.drain().await;
        while entity::inbox::Entity::find()
            .all(&world.app.db.read)
            .await
            .unwrap()
            .iter()
            .any(|row| row.state == "pending")
        {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let end = |row: entity::inbox::Model| format!("{} {}", row.state, row.reason.unwrap_or_default());
        for (id, expected) in [
            ("msg_nul", "done "),
            ("msg_no_id", "rejected malformed: data has no id"),
            ("msg_id_is_a_number", "rejected malformed: data has no id"),
            ("msg_no_times", "rejected malformed: neither data.updated_at nor timestamp is a time"),
            ("msg_huge_number", "rejected malformed: neither data.updated_at nor timestamp is a time"),
            ("msg_wrong_kinds", "done field.invalid: left empty: external_accounts, first_name"),
            ("msg_unknown", "skipped no rule for this type"),
            ("msg_long_type", "skipped no rule for this type"),
            ("msg_large", "done "),
        ] {
            assert_eq!(end(world.inbox(id).await), expected, "{}: {id}", world.name);
        }
        let metadata = entity::user_metadata::Entity::find().all(&world.app.db.read).await.unwrap();
        assert!(
            metadata.iter().any(|row| read(&row.public_metadata) == json!({"no\u{fffd}te": "a\u{fffd}b"})),
            "{}",
            world.name
        );
        assert!(running.stop().await);
    }
}

/// `webhook-*` headers do as well as `svix-*`.
#[tokio::test]
async fn unbranded_headers_are_accepted() {
    let world = sqlite(&[]).await;
    let running = world.serve().await;
    let body = user("ada", 1).to_string();
    let at = Clock::system().now().timestamp();
    let signature =
        Verifier::new(SECRET, Duration::from_secs(300)).unwrap().sign("msg_w", at, body.as_bytes()).unwrap();
    let request = client().post(format!("http://{}/webhooks/clerk", running.addr)).header("webhook-id", "msg_w");
    let response =
        request.header("webhook-timestamp", at).header("webhook-signature", signature).body(body).send().await.unwrap();
    assert_eq!(response.status(), 200, "and a content type may be missing");
    assert!(running.stop().await);
}

/// The database goes away: 503 with Retry-After, nothing acknowledged; it comes back: everything goes on by itself.
#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_down_is_answered_with_503_and_recovers() {
    for world in worlds(&[
        ("database.acquire_timeout", "500ms".into()),
        ("receiver.answer_within", "3s".into()),
        ("sync.poll", "50ms".into()),
    ])
    .await
    {
        let running = world.serve().await;
        let body = user("ada", 1).to_string().into_bytes();
        assert_eq!(request(&running, "msg_before", &body, 0).send().await.unwrap().status(), 200);
        let outage = Outage::begin(&world).await;
        let down = request(&running, "msg_during", &body, 0).send().await.unwrap();
        assert!(down.headers().contains_key("retry-after"), "{}", world.name);
        assert_eq!(problem(down).await, (503, "unavailable".to_owned()), "{}", world.name);
        outage.end().await;
        let mut status = 0;
        for _ in 0..100 {
            status = request(&running, "msg_during", &body, 0).send().await.unwrap().status().as_u16();
            if status == 200 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        assert_eq!(status, 200, "{}: recovers by itself", world.name);
        for _ in 0..100 {
            if world.inbox("msg_during").await.state == "done" {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert_eq!(world.inbox("msg_during").await.state, "done");
        assert!(running.stop().await);
    }
}

/// A way to make each database refuse writes and to heal it again.
enum Outage {
    /// Every connection is closed and new ones are refused.
    Postgres(String),
    /// Somebody else holds the file's write lock for longer than anybody waits.
    Sqlite(Box<sqlx::SqliteConnection>),
}

impl Outage {
    async fn begin(world: &World) -> Self {
        use sqlx::Connection as _;
        let url = world.app.config.database.url.expose().to_owned();
        if world.name == "sqlite" {
            let mut connection = sqlx::SqliteConnection::connect(&url).await.unwrap();
            sqlx::query("begin exclusive").execute(&mut connection).await.unwrap();
            return Self::Sqlite(Box::new(connection));
        }
        let name = url.rsplit('/').next().unwrap().to_owned();
        Self::admin(&format!("alter database {name} with allow_connections false")).await;
        Self::admin(&format!("select pg_terminate_backend(pid) from pg_stat_activity where datname = '{name}'")).await;
        Self::Postgres(name)
    }

    async fn admin(sql: &str) {
        use sqlx::Connection as _;
        let server = std::env::var("TEST_POSTGRES_URL").unwrap();
        let mut connection = sqlx::PgConnection::connect(&server).await.unwrap();
        sqlx::raw_sql(sqlx::AssertSqlSafe(sql.to_owned())).execute(&mut connection).await.unwrap();
    }

    async fn end(self) {
        match self {
            Self::Postgres(name) => Self::admin(&format!("alter database {name} with allow_connections true")).await,
            Self::Sqlite(mut connection) => drop(sqlx::query("rollback").execute(&mut *connection).await.unwrap()),
        }
    }
}
