//! `/v1/changes` for a person: what concerns them, and nothing of anybody else.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::bed::{Bed, message};
use crate::support::server::{READER, deletion, person};

/// What comes over the websocket, without its type.
async fn over_websocket(bed: &Bed, token: &str, count: usize) -> Vec<Value> {
    let mut client = bed.enter_with(token).await;
    client.subscribe(&["user:me"], json!({"after": 0})).await;
    let mut events = Vec::new();
    while events.len() < count {
        let mut event = client.event().await;
        event.as_object_mut().unwrap().remove("type");
        events.push(event);
    }
    assert!(client.rest().await.iter().all(|frame| frame["type"] == "notice"), "more than {count}");
    events
}

fn seqs(page: &Value) -> Vec<i64> {
    page["data"].as_array().unwrap().iter().map(|change| change["seq"].as_i64().unwrap()).collect()
}

async fn page(bed: &Bed, token: &str, query: &str) -> Value {
    let answer = bed.server.get(&format!("/v1/changes{query}"), token).await;
    assert_eq!(answer.status, 200, "{}: {query}: {}", bed.server.name, answer.text);
    answer.json()
}

#[tokio::test]
async fn a_person_reads_what_their_websocket_would_bring_and_nobody_elses() {
    for bed in Bed::each(&[]).await {
        let private = json!({"private_metadata": {"hidden": "marker-that-nobody-may-see"}});
        let ada = bed.person("ada", 1, private.clone()).await; // 1
        let eve = bed.person("eve", 1, private).await; // 2
        let one = bed.organization("one").await;
        bed.join(&one, "eve").await; // 3
        bed.join(&one, "ada").await; // 4
        bed.tell_org(&one, json!({"name": "One"})).await; // 5
        bed.person("eve", 2, json!({"first_name": "Eva"})).await;
        bed.person("ada", 2, json!({"first_name": "Ida"})).await;
        bed.revoke("ada", "sess_other").await;
        bed.tell(|seq| message(seq, "event.rejected", "admin", "user_ada", Vec::new(), json!({}))).await;
        // A name that contains hers is not hers.
        bed.person("ada2", 1, json!({})).await;
        let head = bed.server.read("/v1/changes").await["next"].clone();
        let token = bed.token("ada");
        let own = page(&bed, &token, "").await;
        let data = own["data"].as_array().unwrap();
        let expected = over_websocket(&bed, &token, data.len()).await;
        assert_eq!(*data, expected, "{}", bed.server.name);
        let subjects: Vec<_> = data.iter().map(|change| change["subject"].as_str().unwrap()).collect();
        assert!(subjects.starts_with(&["user_ada", "org_one/user_ada"]), "{subjects:?}");
        assert!(data.iter().all(|change| change["topic"] == format!("user:{ada}")));
        assert_eq!(
            (&data[0]["data"]["email"], data[0]["data"].get("private_metadata")),
            (&json!("user_ada@example.com"), None)
        );
        let text = own.to_string();
        assert!(
            !text.contains("user_eve")
                && !text.contains(&eve.to_string())
                && !text.contains("ada2")
                && !text.contains("marker"),
            "{text}"
        );
        assert_eq!((&own["next"], &own["epoch"]), (&head, &json!(bed.server.app.meta.epoch)));
        // A page at a time; the last also passes over what is others'.
        let mut seen = Vec::new();
        let mut after = 0;
        for number in 1..=data.len() {
            let part = page(&bed, &token, &format!("?limit=1&after={after}")).await;
            assert_eq!(seqs(&part).len(), 1);
            after = part["next"].as_i64().unwrap();
            seen.extend(seqs(&part));
            assert!(after == *seen.last().unwrap() || number == data.len(), "{part}");
        }
        assert_eq!(seen, seqs(&own));
        let rest = page(&bed, &token, &format!("?after={after}")).await;
        assert_eq!((seqs(&rest), &rest["next"]), (vec![], &head));
        // Whoever has no row here and no changes is told of none.
        let none = page(&bed, &bed.token("zoe"), "").await;
        assert_eq!((seqs(&none), &none["next"]), (vec![], &head));
        for query in ["?after=999999", "?epoch=another", "?limit=0", "?topic=users"] {
            let refused = bed.server.get(&format!("/v1/changes{query}"), &token).await;
            refused.is_problem(422, "invalid_request", query);
        }
        assert_eq!(bed.server.get("/v1/changes?after=999999", &token).await.json()["next"], head);
    }
}

#[tokio::test]
async fn a_long_feed_of_others_is_passed_over_a_bounded_part_at_a_time() {
    const OTHERS: i64 = 45_000;
    for bed in Bed::each(&[]).await {
        bed.person("ada", 1, json!({})).await; // 1
        bed.server.feed(2..=OTHERS, "users", json!(["user:7"]), json!({"id": "7"})).await;
        bed.server.app.signals.outbox.wake();
        bed.person("ada", 2, json!({"first_name": "Ida"})).await;
        let token = bed.token("ada");
        let (mut after, mut seen, mut pages) = (0, Vec::new(), Vec::new());
        while after <= OTHERS {
            // Where there is more to look through nobody is kept waiting.
            let started = Instant::now();
            let part = page(&bed, &token, &format!("?after={after}&wait=20")).await;
            assert!(started.elapsed() < Duration::from_secs(15), "{:?}", started.elapsed());
            let next = part["next"].as_i64().unwrap();
            assert!(next > after, "{part}");
            pages.push(next - after);
            seen.extend(seqs(&part));
            after = next;
        }
        assert_eq!(seen, [1, OTHERS + 1], "{}", bed.server.name);
        assert!(pages.len() >= 3 && pages.iter().all(|rows| *rows <= 20_000), "{pages:?}");
    }
}

#[tokio::test]
async fn a_person_waits_for_their_own_changes_only() {
    for bed in Bed::each(&[]).await {
        bed.person("ada", 1, json!({})).await; // 1
        let token = bed.token("ada");
        let (own, ()) = tokio::join!(page(&bed, &token, "?after=1&wait=25"), async {
            tokio::time::sleep(Duration::from_millis(200)).await;
            bed.person("eve", 1, json!({})).await; // 2
            tokio::time::sleep(Duration::from_millis(200)).await;
            bed.person("ada", 2, json!({"first_name": "Ida"})).await; // 3
        });
        assert_eq!((seqs(&own), &own["next"]), (vec![3], &json!(3)), "{}", bed.server.name);
        // Others' changes only: nothing in the end, and not to be looked at again.
        let started = Instant::now();
        let (none, _) = tokio::join!(page(&bed, &token, "?after=3&wait=1"), bed.person("bob", 1, json!({})));
        assert_eq!((seqs(&none), &none["next"]), (vec![], &json!(4)), "{}", bed.server.name);
        assert!((1000..6000).contains(&started.elapsed().as_millis()), "{:?}", started.elapsed());
        // From the first page on, before the row is there.
        let zoe = bed.token("zoe");
        let (first, _) = tokio::join!(page(&bed, &zoe, "?after=4&wait=25"), async {
            tokio::time::sleep(Duration::from_millis(200)).await;
            bed.person("zoe", 1, json!({})).await // 5
        });
        assert_eq!((&first["data"][0]["event"], &first["next"]), (&json!("user.created"), &json!(5)));
        assert_eq!(first["data"][0]["topic"], "user:user_zoe");
    }
}

#[tokio::test]
async fn who_loses_their_place_while_they_wait_is_told_nothing_more() {
    for what in ["banned", "deleted", "the session ended", "the session ended, told by nobody"] {
        for bed in Bed::each(&[]).await {
            bed.person("ada", 1, json!({})).await;
            bed.person("eve", 1, json!({})).await;
            let (token, eve) = (bed.token("ada"), bed.token("eve"));
            let started = Instant::now();
            let (refused, undisturbed, ()) = tokio::join!(
                bed.server.get("/v1/changes?after=2&wait=20", &token),
                bed.server.get("/v1/changes?after=2&wait=1", &eve),
                async {
                    tokio::time::sleep(Duration::from_millis(200)).await;
                    match what {
                        "banned" => bed.deliver(&person("user_ada", 9, json!({"banned": true}))).await,
                        "deleted" => bed.deliver(&deletion("user_ada")).await,
                        "the session ended" => drop(bed.revoke("ada", "sess_ada").await),
                        _ => {
                            let until = bed.server.app.clock.now() + chrono::Duration::days(1);
                            bed.revoke_until("sess_ada", until).await;
                            bed.person("ada", 2, json!({"first_name": "Ida"})).await;
                        }
                    }
                }
            );
            refused.is_problem(401, "unauthenticated", &format!("{}: {what}", bed.server.name));
            assert!(started.elapsed() < Duration::from_secs(8), "{what}: {:?}", started.elapsed());
            assert_eq!((undisturbed.status, undisturbed.json()["data"].clone()), (200, json!([])), "{what}");
        }
    }
}

#[tokio::test]
async fn who_waits_is_answered_when_the_service_ends() {
    for bed in Bed::each(&[]).await {
        bed.person("ada", 1, json!({})).await;
        let request = bed.server.request(reqwest::Method::GET, "/v1/changes?after=1&wait=30", &bed.token("ada"));
        let waiting = tokio::spawn(async move { request.send().await.unwrap().status().as_u16() });
        tokio::time::sleep(Duration::from_millis(300)).await;
        let started = Instant::now();
        assert!(bed.server.stop().await);
        assert_eq!(waiting.await.unwrap(), 200);
        assert!(started.elapsed() < Duration::from_secs(5));
    }
}

/// What another replica has committed is there for whoever asks now, also before this process has read it.
#[tokio::test]
async fn what_is_committed_is_read_at_once() {
    for bed in Bed::each(&[("tail.poll", "1h")]).await {
        let ada = bed.person("ada", 1, json!({})).await; // 1
        bed.hush().await;
        let routing = vec![format!("user:{ada}")];
        let seq = bed.tell(|seq| message(seq, "user.updated", "users", "user_ada", routing, json!({"id": ada}))).await;
        let token = bed.token("ada");
        let own = page(&bed, &token, "").await;
        assert_eq!((seqs(&own), &own["next"]), (vec![1, seq], &json!(seq)), "{}", bed.server.name);
        let mut stream = bed.server.stream("?after=1", &token).await;
        stream.ready().await;
        assert_eq!(stream.seqs(1).await, [seq], "{}", bed.server.name);
        // Once this process has read it, too, it does not come again.
        bed.wake();
        bed.person("ada", 2, json!({"first_name": "Ida"})).await;
        bed.wake();
        assert_eq!(stream.seqs(1).await, [seq + 1], "{}", bed.server.name);
    }
}

/// What a service is told is as it was.
#[tokio::test]
async fn services_are_told_of_everybody() {
    for bed in Bed::each(&[]).await {
        bed.person("ada", 1, json!({})).await;
        bed.person("eve", 1, json!({})).await;
        assert_eq!(seqs(&bed.server.read("/v1/changes").await), [1, 2]);
        assert_eq!(seqs(&page(&bed, READER, "?after=1").await), [2]);
    }
}
