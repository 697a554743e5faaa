//! What nobody may have too much of: connections, places, frames, subscriptions.

use std::time::{Duration, Instant};

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::{
    Bytes, Message,
    protocol::frame::{
        Frame,
        coding::{Data, OpCode},
    },
};

use super::bed::{Bed, keys};
use crate::support::{
    issuer::Issuer,
    server::Server,
    ws::{Client, Heard},
};

#[tokio::test]
async fn a_person_has_so_many_connections_and_no_more() {
    for bed in Bed::each(&[("gateway.max_connections_per_user", "3")]).await {
        bed.person("ada", 1, json!({})).await;
        bed.person("eve", 1, json!({})).await;
        let other = bed.token_with("ada", json!({"sid": "sess_other"}));
        let mut inside = vec![bed.enter("ada").await, bed.enter_with(&other).await, bed.enter("ada").await];
        for token in [bed.token("ada"), other.clone()] {
            let auth = Message::text(json!({"type": "auth", "token": token}).to_string());
            let told = flood(bed.stranger().await, std::iter::once(auth)).await;
            assert_eq!(told, (0, Value::Null, 4403, "too_many_connections".to_owned()), "{}", bed.server.name);
        }
        // Nobody else is concerned, and those who are in go on.
        let (_eve, _admin) = (bed.enter("eve").await, bed.admin().await);
        for (client, token) in inside.iter_mut().zip([bed.token("ada"), other.clone(), bed.token("ada")]) {
            client.auth(&token).await;
        }
        // A token that was refused took no place.
        inside.pop();
        let since = Instant::now();
        loop {
            let mut next = bed.stranger().await;
            next.say(json!({"type": "auth", "token": bed.token("ada")})).await;
            if let Heard::Frame(frame) = next.hear().await {
                assert_eq!(frame["type"], "welcome");
                break;
            }
            assert!(since.elapsed() < Duration::from_secs(5), "{}: no place was given back", bed.server.name);
        }
    }
}

#[tokio::test]
async fn strangers_take_no_place_from_people() {
    let keys = [
        ("gateway.max_connections", "14"),
        ("gateway.max_unauthenticated", "3"),
        ("gateway.auth_timeout", "1h"),
        ("gateway.write_timeout", "1h"),
    ];
    for bed in Bed::each(&keys).await {
        let mut strangers = Vec::new();
        let mut people = Vec::new();
        for n in 0..7 {
            for _ in 0..20 {
                let address = bed.server.url.trim_start_matches("http://").parse().unwrap();
                // Those who are turned away at the door itself are no harm either.
                strangers.extend(Client::open(address, &[], None).await.ok());
            }
            bed.person(&format!("p{n}"), 1, json!({})).await;
            people.push(bed.enter(&format!("p{n}")).await);
        }
        // Three of them wait, the last ones; the others were dropped, in the order in which they came.
        assert_eq!(strangers[0].hear().await, Heard::Lost, "{}", bed.server.name);
        // Who is in is in nobody's way.
        for person in &mut people {
            assert!(person.rest().await.is_empty());
        }
    }
}

/// Sends all of these, whether somebody takes them or not; how many frames came back, and how it ended: the error that was
/// told, the code and the word beside it.
async fn flood(client: Client, messages: impl Iterator<Item = Message> + Send) -> (usize, Value, u16, String) {
    let (mut sink, mut stream) = client.socket.split();
    let sending = async {
        for message in messages {
            if sink.feed(message).await.is_err() {
                return;
            }
        }
        let _ = sink.flush().await;
    };
    let hearing = async {
        let (mut frames, mut error) = (0, Value::Null);
        while let Some(Ok(message)) = stream.next().await {
            match message {
                Message::Text(text) => {
                    let frame: Value = serde_json::from_str(&text).unwrap();
                    if frame["code"] == "rate_limited" || frame["code"] == "bad_message" {
                        error = frame["code"].clone();
                    } else {
                        frames += 1;
                    }
                }
                Message::Close(Some(frame)) => return (frames, error, frame.code.into(), frame.reason.to_string()),
                _ => {}
            }
        }
        panic!("no close after {frames} frames");
    };
    // The close is heard although not everything was taken.
    tokio::select! {
        end = hearing => end,
        end = async { sending.await; std::future::pending().await } => end,
    }
}

/// Also where nobody said how many may wait.
#[tokio::test]
async fn half_of_the_places_are_peoples() {
    let pem = Issuer::ours().pem();
    let keys = [keys(&pem).as_slice(), &[("gateway.max_connections", "4")]].concat();
    let bed = Bed::of(Server::start(&keys).await);
    let (mut first, _second, _third) = (bed.stranger().await, bed.stranger().await, bed.stranger().await);
    assert_eq!(first.hear().await, Heard::Lost);
    let (_ada, _admin) = (bed.enter("ada").await, bed.admin().await);
}

#[tokio::test]
async fn what_is_too_large_or_no_text_closes_with_4400() {
    let long = json!({"type": "ping", "padding": "x".repeat(70_000)}).to_string();
    let part = |opcode| Message::Frame(Frame::message(vec![b'x'; 40_000], opcode, false));
    let kinds = [
        ("long", vec![Message::text(long)]),
        ("in fragments", vec![part(OpCode::Data(Data::Text)), part(OpCode::Data(Data::Continue))]),
        ("binary", vec![Message::binary(vec![1, 2, 3])]),
        ("long and binary", vec![Message::binary(vec![0; 1 << 20])]),
        ("empty", vec![Message::text("")]),
        ("deep", vec![Message::text("[".repeat(60_000))]),
        ("not ours", vec![Message::text(r#"{"type":"auth","token":7}"#)]),
    ];
    for bed in Bed::each(&[]).await {
        bed.person("ada", 1, json!({})).await;
        for (what, messages) in &kinds {
            for authenticated in [true, false] {
                let client = if authenticated { bed.enter("ada").await } else { bed.stranger().await };
                let (frames, error, code, reason) = flood(client, messages.iter().cloned()).await;
                assert_eq!((frames, error, code), (0, json!("bad_message"), 4400), "{}: {what}", bed.server.name);
                assert_eq!(reason, "bad_message", "{what}");
            }
        }
    }
}

#[tokio::test]
async fn a_flood_of_any_kind_is_closed_with_4400() {
    for bed in Bed::each(&[("gateway.max_rate", "5"), ("gateway.max_burst", "20")]).await {
        bed.person("ada", 1, json!({})).await;
        let text = |frame: Value| Message::text(frame.to_string());
        let kinds = [
            text(json!({"type": "ping"})),
            text(json!({"type": "auth", "token": bed.token("ada")})),
            text(json!({"type": "subscribe", "topics": ["user:me"]})),
            text(json!({"type": "subscribe", "topics": ["user:user_eve"]})),
            text(json!({"type": "unsubscribe", "topics": ["user:me"]})),
            Message::Ping(Bytes::from_static(b"x")),
            Message::Pong(Bytes::new()),
        ];
        for kind in kinds {
            let what = format!("{kind:?}");
            let (frames, error, code, reason) = flood(bed.enter("ada").await, std::iter::repeat_n(kind, 1_000)).await;
            assert_eq!((error, code, reason.as_str()), (json!("rate_limited"), 4400, "rate_limited"), "{what}");
            assert!(frames <= 40, "{frames} of {what}");
        }
        // Before anybody has said who they are, too.
        let pings = std::iter::repeat_n(Message::Ping(Bytes::new()), 1_000);
        let (_, error, code, _) = flood(bed.stranger().await, pings).await;
        assert_eq!((error, code), (json!("rate_limited"), 4400));
    }
}

#[tokio::test]
async fn a_hundred_thousand_subscriptions_are_not_had_at_once_nor_one_by_one() {
    let topics =
        |from: usize, count: usize| -> Vec<String> { (from..from + count).map(|n| format!("user:user_{n}")).collect() };
    for bed in Bed::each(&[("gateway.max_frame", "8388608")]).await {
        bed.person("ada", 1, json!({})).await;
        // In one frame: of a person, of an admin who may follow anybody.
        for mut client in [bed.enter("ada").await, bed.admin().await] {
            client.say(json!({"type": "subscribe", "topics": topics(0, 100_000)})).await;
            assert_eq!(
                client.frame().await,
                json!({"type": "error", "code": "too_many_topics"}),
                "{}",
                bed.server.name
            );
            client.say(json!({"type": "unsubscribe", "topics": topics(0, 100_000)})).await;
            assert!(client.rest().await.is_empty());
        }
        // In many: the first hundred are had, and no other.
        let mut admin = bed.admin().await;
        let first = topics(0, 100);
        let first: Vec<&str> = first.iter().map(String::as_str).collect();
        admin.subscribe(&first, json!({})).await;
        let more = |n: usize| Message::text(json!({"type": "subscribe", "topics": topics(n * 100, 100)}).to_string());
        let (frames, error, code, _) = flood(admin, (1..1_000).map(more)).await;
        assert_eq!((error, code), (json!("rate_limited"), 4400), "{}", bed.server.name);
        assert!(frames < 1_000, "one error a frame, up to the limit: {frames}");
        let (frames, error, code, _) = flood(bed.enter("ada").await, (0..1_000).map(more)).await;
        assert_eq!((error, code), (json!("rate_limited"), 4400), "{}", bed.server.name);
        assert!((9_900..90_000).contains(&frames), "each topic is refused by name, up to the limit: {frames}");
    }
    // With the frames that are usual it is too long.
    let bed = Bed::of(Server::start(&[]).await);
    let all = Message::text(json!({"type": "subscribe", "topics": topics(0, 100_000)}).to_string());
    let (frames, error, code, _) = flood(bed.admin().await, std::iter::once(all)).await;
    assert_eq!((frames, error, code), (0, json!("bad_message"), 4400), "all in one frame");
}
