//! `/v1/changes`.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::server::{ADMIN, READER, Server, deletion, person};

fn seqs(answer: &Value) -> Vec<i64> {
    answer["data"].as_array().unwrap().iter().map(|frame| frame["seq"].as_i64().unwrap()).collect()
}

/// A person without a name: refused, which only operators are told.
fn nameless(id: &str) -> Value {
    person(id, 1, json!({"first_name": null, "last_name": null}))
}

#[tokio::test]
async fn changes_come_in_order_and_each_caller_gets_their_own() {
    for server in Server::start_all(&[]).await {
        let empty = server.read("/v1/changes").await;
        let epoch = server.app.meta.epoch.clone();
        assert_eq!(empty, json!({"data": [], "next": 0, "epoch": epoch}));
        server.sync("msg_1", &person("user_ada", 1, json!({}))).await; // 1
        server.sync("msg_2", &nameless("user_eve")).await; // 2, admin
        server.sync("msg_3", &person("user_ada", 2, json!({"first_name": "Grace"}))).await; // 3
        server.sync("msg_4", &deletion("user_ada")).await; // 4
        server.sql("update clerk_sync.outbox set topic = 'internal' where seq = 4").await;
        let read = server.read("/v1/changes?after=0").await;
        assert_eq!((seqs(&read), &read["next"]), (vec![1, 3], &json!(4)), "{}", server.name);
        let admin = server.admin("/v1/changes").await;
        assert_eq!((seqs(&admin), &admin["next"]), (vec![1, 2, 3], &json!(4)));
        let frame = &read["data"][1];
        let names: Vec<&String> = frame.as_object().unwrap().keys().collect();
        assert_eq!(names, ["at", "changed", "correlation_id", "data", "event", "seq", "subject", "topic"]);
        assert_eq!(
            (&frame["event"], &frame["topic"], &frame["subject"]),
            (&json!("user.updated"), &json!("users"), &json!("user_ada"))
        );
        assert_eq!(frame["changed"], json!(["display_name", "first_name"]));
        assert_eq!(frame["at"], "2023-11-14T22:13:22.000Z");
        // Others' changes carry the listed fields only.
        let fields = ["clerk_id", "display_name", "id", "image_url", "rev", "status"];
        assert_eq!(frame["data"].as_object().unwrap().keys().collect::<Vec<_>>(), fields);
        // Page by page.
        let page = server.read("/v1/changes?limit=1").await;
        assert_eq!((seqs(&page), &page["next"]), (vec![1], &json!(1)));
        let page = server.read("/v1/changes?limit=1&after=1").await;
        assert_eq!((seqs(&page), &page["next"]), (vec![3], &json!(3)));
        let page = server.read("/v1/changes?limit=1&after=3").await;
        assert_eq!((seqs(&page), &page["next"]), (vec![], &json!(4)));
    }
}

#[tokio::test]
async fn what_cannot_be_gone_on_from_is_refused_with_where_to_go_on() {
    for server in Server::start_all(&[]).await {
        for n in 1..=4 {
            server.sync(&format!("msg_{n}"), &person("user_ada", n, json!({"first_name": format!("A{n}")}))).await;
        }
        server.sql("delete from clerk_sync.outbox where seq <= 2").await;
        for after in [0, 1, 5, i64::MAX] {
            let answer = server.get(&format!("/v1/changes?after={after}&wait=20"), READER).await;
            answer.is_problem(422, "invalid_request", &format!("{} {after}", server.name));
            assert_eq!((&answer.json()["next"], &answer.json()["epoch"]), (&json!(4), &json!(server.app.meta.epoch)));
        }
        assert_eq!(seqs(&server.read("/v1/changes?after=2").await), [3, 4]);
        assert_eq!(seqs(&server.read("/v1/changes").await), [3, 4]);
        assert_eq!(seqs(&server.read("/v1/changes?after=4").await), [0; 0]);
    }
    let server = Server::start(&[]).await;
    for query in [
        "after=-1",
        "after=x",
        "after=",
        "after=9223372036854775808",
        "limit=0",
        "limit=1001",
        "wait=31",
        "wait=-1",
        "wait=0.5",
        "topic=admin",
        "after=0&after=0",
    ] {
        server.get(&format!("/v1/changes?{query}"), READER).await.is_problem(422, "invalid_request", query);
    }
}

#[tokio::test]
async fn an_empty_answer_is_held_back_until_there_is_something() {
    for server in Server::start_all(&[("api.request_timeout", "1s")]).await {
        server.sync("msg_1", &person("user_ada", 1, json!({}))).await;
        // There is something already.
        let started = Instant::now();
        assert_eq!(seqs(&server.read("/v1/changes?after=0&wait=20").await), [1]);
        assert!(started.elapsed() < Duration::from_secs(5));
        // Nothing comes; longer than other requests may take.
        let started = Instant::now();
        let answer = server.read("/v1/changes?after=1&wait=2").await;
        assert_eq!((seqs(&answer), &answer["next"]), (vec![], &json!(1)));
        assert!((2000..6000).contains(&started.elapsed().as_millis()), "{:?}", started.elapsed());
        // Something comes that is not for this caller, then something that is.
        let started = Instant::now();
        let (answer, ()) = tokio::join!(server.read("/v1/changes?after=1&wait=25"), async {
            tokio::time::sleep(Duration::from_millis(200)).await;
            server.sync("msg_2", &nameless("user_eve")).await;
            tokio::time::sleep(Duration::from_millis(200)).await;
            server.sync("msg_3", &person("user_ada", 2, json!({"first_name": "Grace"}))).await;
        });
        assert_eq!((seqs(&answer), &answer["next"]), (vec![3], &json!(3)), "{}", server.name);
        assert!((400..10_000).contains(&started.elapsed().as_millis()), "{:?}", started.elapsed());
        // Only what is not for this caller: empty in the end, and not to be looked at again.
        let (answer, ()) = tokio::join!(server.read("/v1/changes?after=3&wait=1"), async {
            server.sync("msg_4", &nameless("user_mallory")).await;
        });
        assert_eq!((seqs(&answer), &answer["next"]), (vec![], &json!(4)));
    }
}

#[tokio::test]
async fn a_wake_up_ends_the_wait_at_once() {
    let server = Server::start(&[]).await;
    let mut slowest = Duration::ZERO;
    for n in 1..=8_u64 {
        let path = format!("/v1/changes?after={}&wait=25", n - 1);
        let (answered, told) = tokio::join!(
            async {
                assert_eq!(seqs(&server.read(&path).await), [i64::try_from(n).unwrap()]);
                Instant::now()
            },
            async {
                tokio::time::sleep(Duration::from_millis(30)).await;
                server.sync(&format!("msg_{n}"), &person("user_ada", n, json!({"first_name": format!("A{n}")}))).await;
                Instant::now()
            }
        );
        slowest = slowest.max(answered.saturating_duration_since(told));
    }
    // Without wake-ups every answer would wait for the next look, up to a second later.
    assert!(slowest < Duration::from_millis(700), "{slowest:?}");
}

#[tokio::test]
async fn whoever_waits_is_answered_when_the_service_ends() {
    let server = Server::start(&[]).await;
    let waiting = tokio::spawn({
        let request = server.request(reqwest::Method::GET, "/v1/changes?wait=30", ADMIN);
        async move { request.send().await.unwrap().status().as_u16() }
    });
    tokio::time::sleep(Duration::from_millis(300)).await;
    let started = Instant::now();
    assert!(server.stop().await);
    assert_eq!(waiting.await.unwrap(), 200);
    assert!(started.elapsed() < Duration::from_secs(5));
}

/// Two replicas share the work; whoever follows the changes on either of them sees every one once, in order (P5).
#[tokio::test(flavor = "multi_thread")]
async fn p5_followers_of_two_replicas_see_every_change_once_in_order() {
    const CHANGES: i64 = 240;
    let Some(replicas) = Server::replicas(2, &[]).await else { return };
    let follow = async |url: String, client: reqwest::Client| {
        let (mut seen, mut after) = (Vec::new(), 0);
        while after < CHANGES {
            let ask = client.get(format!("{url}/v1/changes?after={after}&limit=7&wait=5")).bearer_auth(READER);
            let page: Value = ask.send().await.unwrap().json().await.unwrap();
            seen.extend(page["data"].as_array().unwrap().iter().map(|change| change["seq"].as_i64().unwrap()));
            after = page["next"].as_i64().unwrap();
        }
        seen
    };
    let followers: Vec<_> =
        replicas.iter().map(|server| tokio::spawn(follow(server.url.clone(), server.client.clone()))).collect();
    for change in 0..CHANGES as u64 {
        let body = person(&format!("user_r{}", change % 60), change + 1, json!({"first_name": format!("N{change}")}));
        assert_eq!(replicas[change as usize % 2].deliver(&format!("msg_{change}"), &body).await, 200);
        // Everybody's snapshots in the order in which they were made, so that each is a change and none is stale.
        if change % 60 == 59 {
            replicas[0].settle().await;
        }
    }
    for follower in followers {
        assert_eq!(follower.await.unwrap(), (1..=CHANGES).collect::<Vec<_>>());
    }
}
