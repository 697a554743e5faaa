//! Who gets in: upgrade, origin, token; and what ends a connection that talks wrongly.

use std::net::SocketAddr;

use futures_util::SinkExt as _;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::{Error, Message};

use super::server::{ADMIN, READER, Server};
use crate::support::{
    process::{Process, free_port},
    services,
    ws::{self, Heard},
};

/// The status and code with which an upgrade is refused.
async fn refusal(server: &Server, headers: &[(&'static str, &str)]) -> (u16, Value) {
    let Err(Error::Http(response)) = server.open(headers, None).await else { panic!("the upgrade was not refused") };
    assert_eq!(response.headers()["content-type"], "application/problem+json");
    let body: Value = serde_json::from_slice(response.body().as_deref().unwrap()).unwrap();
    (response.status().as_u16(), body["code"].clone())
}

#[tokio::test]
async fn the_admin_token_is_welcome() {
    let server = Server::start(&[]).await;
    let (mut client, welcome) = server.admin().await;
    assert_eq!(welcome["seq"], 0);
    assert_eq!(welcome["epoch"], server.app.meta.epoch);
    assert_eq!(welcome["user"], Value::Null);
    assert!(welcome.as_object().unwrap().contains_key("user"));
    // Again, in band.
    client.auth(ADMIN).await;
    assert!(server.stop().await);
}

#[tokio::test]
async fn every_other_token_is_refused_with_4401() {
    let server = Server::start(&[]).await;
    for token in ["", "wrong", "the-admin-token ", READER, "eyJhbGciOiJSUzI1NiJ9.e30.AAAA"] {
        let mut client = server.stranger().await;
        client.say(json!({"type": "auth", "token": token})).await;
        assert_eq!(client.hear().await, Heard::Closed(4401), "{token}");
    }
    // Nor may somebody who is in become somebody else.
    let (mut client, _) = server.admin().await;
    client.say(json!({"type": "auth", "token": READER})).await;
    assert_eq!(client.hear().await, Heard::Closed(4401));
    assert!(server.stop().await);
}

#[tokio::test]
async fn tokens_are_not_logged_however_much_is() {
    let (folder, database) = services::sqlite();
    let (port, path) = (free_port(), folder.path().join("log"));
    let log = std::fs::File::create(&path).unwrap();
    let environment = [("CLERK_SYNC_ADMIN_TOKEN", ADMIN), ("RUST_LOG", "trace,tungstenite=trace")];
    let process = Process::serve_logging_to(log.into(), port, &database, &environment).await;
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    ws::Client::open(address, &[], None).await.unwrap().auth(ADMIN).await;
    let mut wrong = ws::Client::open(address, &[], None).await.unwrap();
    wrong.say(json!({"type": "auth", "token": "a-wrong-token"})).await;
    assert_eq!(wrong.hear().await, Heard::Closed(4401));
    assert!(process.terminate());
    let log = std::fs::read_to_string(path).unwrap();
    assert!(log.contains("TRACE"), "nothing was logged that finely");
    let hex = |text: &str| text.bytes().map(|byte| format!("{byte:02x}")).collect::<String>();
    for token in [ADMIN, "a-wrong-token"] {
        assert!(!log.contains(token) && !log.contains(&hex(token)));
    }
}

#[tokio::test]
async fn no_token_in_time_is_4401_and_so_is_anything_before_it() {
    let server = Server::start(&[("gateway.auth_timeout", "200ms")]).await;
    let mut late = server.stranger().await;
    assert_eq!(late.hear().await, Heard::Closed(4401));
    for first in [json!({"type": "subscribe", "topics": ["users"]}), json!({"type": "ping"})] {
        let mut client = server.stranger().await;
        client.say(first).await;
        assert_eq!(client.hear().await, Heard::Closed(4401));
    }
    assert!(server.stop().await);
}

#[tokio::test]
async fn what_is_no_frame_of_ours_is_told_and_closed_with_4400() {
    let server = Server::start(&[("gateway.max_frame", "20000")]).await;
    let long = json!({"type": "ping", "padding": "x".repeat(30_000)}).to_string();
    let wrong = [
        Message::text("{"),
        Message::text("[]"),
        Message::text(r#"{"type":"shout"}"#),
        Message::text(r#"{"type":"subscribe"}"#),
        Message::text(r#"{"type":"subscribe","topics":["users"],"after":"7"}"#),
        Message::binary(vec![1, 2, 3]),
        Message::text(long),
    ];
    for message in wrong {
        for authenticated in [true, false] {
            let mut client = server.stranger().await;
            if authenticated {
                client.auth(ADMIN).await;
            }
            client.socket.send(message.clone()).await.unwrap();
            let (frames, code) = client.closed().await;
            assert_eq!((frames[0]["type"].as_str(), frames[0]["code"].as_str()), (Some("error"), Some("bad_message")));
            assert_eq!((frames.len(), code), (1, 4400));
        }
    }
    // Before a token is known, a frame may be no longer than a token needs.
    let mut client = server.stranger().await;
    client.say(json!({"type": "auth", "token": "x".repeat(10_000)})).await;
    assert_eq!(client.closed().await.1, 4400);
    assert!(server.stop().await);
}

#[tokio::test]
async fn a_flood_of_frames_is_closed_with_4400() {
    let server = Server::start(&[]).await;
    let (mut client, _) = server.admin().await;
    for _ in 0..200 {
        client.socket.feed(Message::text(r#"{"type":"ping"}"#)).await.unwrap();
    }
    client.socket.flush().await.unwrap();
    let (frames, code) = client.closed().await;
    let pongs = frames.iter().filter(|frame| frame["type"] == "pong").count();
    assert!((99..150).contains(&pongs), "{pongs}");
    assert_eq!((frames.last().unwrap()["code"].as_str(), code), (Some("rate_limited"), 4400));
    assert!(server.stop().await);
}

#[tokio::test]
async fn the_subprotocol_is_ours_or_none() {
    let server = Server::start(&[]).await;
    let client = server.open(&[("sec-websocket-protocol", "other, clerk-sync.v1")], None).await.unwrap();
    assert_eq!(client.response.headers()["sec-websocket-protocol"], "clerk-sync.v1");
    let client = server.stranger().await;
    assert!(!client.response.headers().contains_key("sec-websocket-protocol"));
    let refused = refusal(&server, &[("sec-websocket-protocol", "other, clerk-sync.v2")]).await;
    assert_eq!(refused, (400, json!("invalid_request")));
    // No websocket at all.
    let plain = reqwest::get(format!("{}/v1/ws", server.url)).await.unwrap();
    assert_eq!(plain.status(), 400);
    assert_eq!(plain.headers()["content-type"], "application/problem+json");
    assert!(server.stop().await);
}

#[tokio::test]
async fn other_origins_are_refused() {
    let origins = [("gateway.origins", "https://app.example.com,http://localhost:5173")];
    let server = Server::start(&origins).await;
    for origin in ["https://evil.example.com", "https://app.example.com.evil.example", "null"] {
        assert_eq!(refusal(&server, &[("origin", origin)]).await, (403, json!("forbidden")));
    }
    server.open(&[("origin", "http://localhost:5173")], None).await.unwrap();
    server.stranger().await;
    assert!(server.stop().await);
    let server = Server::start(&[]).await;
    server.open(&[("origin", "https://anybody.example.com")], None).await.unwrap();
    assert!(server.stop().await);
}

#[tokio::test]
async fn no_more_clients_than_there_are_places() {
    let server = Server::start(&[("gateway.max_connections", "4")]).await;
    let _admins = (server.admin().await, server.admin().await);
    let (_first, mut second) = (server.stranger().await, server.stranger().await);
    assert_eq!(refusal(&server, &[]).await, (503, json!("not_ready")));
    second.say(json!({"type": "ping"})).await;
    assert_eq!(second.hear().await, Heard::Closed(4401));
    // The place is free once the close is answered and the socket gone.
    assert_eq!(second.hear().await, Heard::Lost);
    while server.open(&[], None).await.is_err() {
        tokio::task::yield_now().await;
    }
    assert!(server.stop().await);
}

#[tokio::test]
async fn topics_that_are_none_and_too_many_topics_are_errors_that_close_nothing() {
    let server = Server::start(&[("gateway.max_topics", "3")]).await;
    let (mut client, _) = server.admin().await;
    client.say(json!({"type": "subscribe", "topics": ["users", "nonsense", "user:me"]})).await;
    for topic in ["nonsense", "user:me"] {
        assert_eq!(client.frame().await, json!({"type": "error", "code": "invalid_topic", "topic": topic}));
    }
    assert_eq!(client.frame().await, json!({"type": "subscribed", "topics": ["users"]}));
    for topics in [vec!["admin", "user:user_1", "user:user_2"], vec!["user:user_1"; 4]] {
        client.say(json!({"type": "subscribe", "topics": topics})).await;
        assert_eq!(client.frame().await, json!({"type": "error", "code": "too_many_topics"}));
    }
    assert_eq!(
        client.subscribe(&["admin", "organizations", "users"], json!({})).await,
        json!(["users", "admin", "organizations"])
    );
    assert!(client.rest().await.is_empty());
    assert!(server.stop().await);
}
