//! `/v1/changes` as server-sent events, for a person: what is theirs, for as long as they may be here.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::bed::{Bed, message};
use crate::support::{
    server::{deletion, person},
    sse::Events,
};

/// How long what must happen within a second may take here.
const SOON: Duration = Duration::from_millis(1500);

/// Opens a person's stream, which is ready.
async fn open(bed: &Bed, token: &str, query: &str) -> Events {
    let mut stream = bed.server.stream(query, token).await;
    stream.ready().await;
    stream
}

fn kinds(changes: &[Value]) -> Vec<&str> {
    changes.iter().map(|change| change["event"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn a_stream_brings_a_person_what_a_page_does() {
    for bed in Bed::each(&[]).await {
        let token = bed.token("ada");
        // Before the row is there.
        let mut early = open(&bed, &token, "").await;
        bed.person("eve", 1, json!({})).await; // 1
        let ada = bed.person("ada", 1, json!({})).await; // 2
        let one = bed.organization("one").await;
        bed.join(&one, "eve").await; // 3
        let mut late = open(&bed, &token, "").await;
        bed.join(&one, "ada").await; // 4
        bed.tell_org(&one, json!({"name": "One"})).await; // 5
        let mut all = open(&bed, &token, "?after=0").await;
        bed.person("ada", 2, json!({"first_name": "Ida"})).await;
        let own = bed.server.get("/v1/changes", &token).await.json()["data"].as_array().unwrap().clone();
        assert!(own.len() >= 3 && own[0]["seq"] == 2 && own[1]["seq"] == 4, "{own:?}");
        for expected in &own {
            assert_eq!(all.change().await, *expected, "{}", bed.server.name);
            let mut change = early.change().await;
            // Named as they were known when it was opened.
            assert_eq!(change["topic"], "user:user_ada");
            change["topic"] = json!(format!("user:{ada}"));
            assert_eq!(change, *expected, "{}", bed.server.name);
        }
        for expected in &own[1..] {
            assert_eq!(late.change().await, *expected, "{}", bed.server.name);
        }
    }
}

#[tokio::test]
async fn a_stream_ends_when_its_person_may_not_be_here_any_more() {
    for what in ["banned", "deprovisioned", "deleted", "held", "the session ended"] {
        for bed in Bed::each(&[]).await {
            bed.person("ada", 1, json!({})).await;
            bed.person("eve", 1, json!({})).await;
            let (mut ada, mut eve) = (open(&bed, &bed.token("ada"), "").await, open(&bed, &bed.token("eve"), "").await);
            let other = bed.token_with("ada", json!({"sid": "sess_other"}));
            let mut other = open(&bed, &other, "?after=0").await;
            assert_eq!(other.seqs(1).await, [1]);
            match what {
                "banned" | "deprovisioned" => bed.deliver(&person("user_ada", 9, json!({what: true}))).await,
                "deleted" => bed.deliver(&deletion("user_ada")).await,
                "held" => {
                    let hold = "update clerk_sync.users set deletion_held_at = updated_at where clerk_id = ";
                    let held = |seq| message(seq, "event.held", "admin", "user_ada", Vec::new(), json!({}));
                    bed.change(hold, "user_ada", held).await;
                }
                _ => drop(bed.revoke("ada", "sess_ada").await),
            }
            let since = Instant::now();
            let rest = ada.rest().await;
            assert!(since.elapsed() < SOON, "{what}: {:?}", since.elapsed());
            assert!(!ada.broken, "{what}");
            // The row that took their place is the last they are told, as over the websocket.
            let last: &[&str] = match what {
                "deleted" => &["user.deleted"],
                "banned" | "deprovisioned" => &["user.updated"],
                _ => &[],
            };
            assert_eq!(kinds(&rest), last, "{}: {what}", bed.server.name);
            let refused =
                Events::open(bed.server.request(reqwest::Method::GET, "/v1/changes", &bed.token("ada"))).await;
            refused.err().unwrap().is_problem(401, "unauthenticated", what);
            if what == "the session ended" {
                bed.person("ada", 2, json!({"first_name": "Ida"})).await;
                assert_eq!(other.change().await["event"], "user.updated");
            } else {
                assert_eq!(kinds(&other.rest().await), last, "{what}");
            }
            bed.person("eve", 2, json!({"first_name": "Eva"})).await;
            assert_eq!(eve.change().await["event"], "user.updated", "{what}");
        }
    }
}

/// What took their place may be in the database and not yet in what this process has read.
#[tokio::test]
async fn what_was_taken_between_the_door_and_the_feed_is_in_the_second_judgement() {
    for bed in Bed::each(&[("tail.poll", "1h")]).await {
        bed.person("ada", 1, json!({})).await;
        bed.hush().await;
        let banned = |status: &'static str| {
            move |seq| message(seq, "user.updated", "users", "user_ada", Vec::new(), json!({"status": status}))
        };
        bed.tell(banned("banned")).await;
        bed.tell(banned("active")).await;
        // Got over before the stream was opened: nothing is taken by it.
        let mut stream = open(&bed, &bed.token("ada"), "").await;
        bed.wake();
        bed.tell(banned("banned")).await;
        bed.wake();
        let since = Instant::now();
        assert!(stream.rest().await.is_empty(), "{}", bed.server.name);
        assert!(since.elapsed() < SOON, "{:?}", since.elapsed());
    }
}

#[tokio::test]
async fn a_stream_ends_with_its_token() {
    for bed in Bed::each(&[]).await {
        bed.person("ada", 1, json!({})).await;
        let exp = crate::support::issuer::now() + 2;
        let started = Instant::now();
        let mut stream = open(&bed, &bed.token_with("ada", json!({"exp": exp})), "").await;
        assert!(stream.rest().await.is_empty() && !stream.broken);
        assert!((900..3500).contains(&started.elapsed().as_millis()), "{:?}", started.elapsed());
        // One that lives on by the leeway between clocks opens none.
        let token = bed.token_with("ada", json!({"exp": exp - 3}));
        assert_eq!(bed.server.get("/v1/users/me", &token).await.status, 200);
        let refused = Events::open(bed.server.request(reqwest::Method::GET, "/v1/changes", &token)).await;
        refused.err().unwrap().is_problem(401, "unauthenticated", bed.server.name);
    }
}

/// The feed tells nobody of this end; what is sent is judged all the same.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_sent_on_an_old_judgement() {
    for bed in Bed::each(&[("gateway.write_timeout", "1h")]).await {
        let ada = bed.person("ada", 1, json!({})).await; // 1
        let (routing, payload) = (json!([format!("user:{ada}")]), json!({"padding": "x".repeat(30_000)}));
        bed.server.feed(2..=600, "users", routing, payload).await;
        let mut stream = open(&bed, &bed.token("ada"), "?after=0").await;
        assert_eq!(stream.seqs(1).await, [1]);
        tokio::time::sleep(Duration::from_millis(500)).await;
        let until = bed.server.app.clock.now() + chrono::Duration::days(1);
        bed.revoke_until("sess_ada", until).await;
        tokio::time::sleep(Duration::from_millis(1000)).await;
        // What lay between here and there.
        let seen = stream.rest().await.len();
        assert!(seen < 590 && !stream.broken, "{}: {seen}", bed.server.name);
    }
}

#[tokio::test]
async fn a_long_feed_of_others_is_passed_over_and_the_point_reached_is_told() {
    for bed in Bed::each(&[]).await {
        bed.person("ada", 1, json!({})).await; // 1
        bed.server.feed(2..=30_000, "users", json!(["user:7"]), json!({"id": "7"})).await;
        bed.wake();
        bed.person("ada", 2, json!({"first_name": "Ida"})).await; // 30001
        let mut stream = open(&bed, &bed.token("ada"), "?after=0").await;
        assert_eq!(stream.seqs(2).await, [1, 30_001], "{}", bed.server.name);
        bed.person("eve", 1, json!({})).await;
        bed.person("ada", 3, json!({"first_name": "Ada"})).await;
        assert_eq!(stream.seqs(1).await, [30_003], "{}", bed.server.name);
    }
}
