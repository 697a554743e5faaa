//! What is taken from somebody who is connected: their place, or a topic; within a second of the commit.

use std::time::{Duration, Instant};

use clerk_sync::domain::plan::Message;
use serde_json::{Value, json};

use super::bed::{Bed, is_closed, is_refused, is_revoked, keys, message};
use crate::support::{
    issuer::Issuer,
    server::{Server, deletion, person},
    ws::Client,
};

fn held(seq: i64, event: &'static str, topic: &'static str, payload: Value) -> Message {
    message(seq, event, topic, "user_ada", Vec::new(), payload)
}

/// What may happen to `user_ada`.
async fn strike(bed: &Bed, what: &str) {
    let hold = "update clerk_sync.users set deletion_held_at = updated_at where clerk_id = ";
    match what {
        "banned" | "deprovisioned" => bed.deliver(&person("user_ada", 9, json!({what: true}))).await,
        "deleted" => bed.deliver(&deletion("user_ada")).await,
        "held" => {
            let payload = json!({"status": "active", "deletion_held_at": "2026-11-21T09:00:00.000Z"});
            bed.change(hold, "user_ada", |seq| held(seq, "user.updated", "users", payload)).await;
        }
        "held, as operators are told" => {
            bed.change(hold, "user_ada", |seq| held(seq, "event.held", "admin", json!({}))).await;
        }
        "the session ended" => drop(bed.revoke("ada", "sess_ada").await),
        _ => panic!("{what}"),
    }
}

#[tokio::test]
async fn who_may_not_be_here_any_more_is_closed_with_4401() {
    for what in ["banned", "deprovisioned", "deleted", "held", "held, as operators are told", "the session ended"] {
        for bed in Bed::each(&[]).await {
            let id = bed.person("ada", 1, json!({})).await;
            bed.person("eve", 1, json!({})).await;
            let (mut quiet, mut following, mut eve) =
                (bed.enter("ada").await, bed.enter("ada").await, bed.enter("eve").await);
            let mut other = bed.enter_with(&bed.token_with("ada", json!({"sid": "sess_other"}))).await;
            following.subscribe(&["user:me"], json!({})).await;
            eve.subscribe(&["user:me"], json!({})).await;
            strike(&bed, what).await;
            assert!(is_closed(&mut quiet, what).await.is_empty(), "{what}");
            // The row that took their place is the last they are told.
            let last = is_closed(&mut following, what).await;
            let told: Vec<_> = last.iter().map(|frame| (frame["type"].clone(), frame["event"].clone())).collect();
            let event = match what {
                "deleted" => "user.deleted",
                "banned" | "deprovisioned" => "user.updated",
                _ => "",
            };
            let expected = [(json!("event"), json!(event)), (json!("notice"), json!(event))];
            assert_eq!(told, expected[..if event.is_empty() { 0 } else { 2 }], "{}: {what}", bed.server.name);
            is_refused(&bed, &bed.token("ada"), what).await;
            if what == "the session ended" {
                other.subscribe(&[&format!("user:{id}")], json!({})).await;
            } else {
                is_closed(&mut other, what).await;
            }
            bed.person("eve", 2, json!({"first_name": "Eva"})).await;
            assert_eq!(eve.event().await["event"], "user.updated", "{what}");
        }
    }
}

#[tokio::test]
async fn whom_nobody_knows_yet_is_closed_when_their_session_ends_or_they_come_banned() {
    for bed in Bed::each(&[]).await {
        let (mut ada, mut eve) = (bed.enter("ada").await, bed.enter("eve").await);
        bed.revoke("ada", "sess_ada").await;
        is_closed(&mut ada, "ended").await;
        bed.person("eve", 1, json!({"banned": true})).await;
        is_closed(&mut eve, "banned").await;
    }
}

#[tokio::test]
async fn a_change_that_bars_nobody_closes_nobody() {
    for bed in Bed::each(&[]).await {
        bed.person("ada", 1, json!({})).await;
        let mut ada = bed.enter("ada").await;
        ada.subscribe(&["user:me"], json!({})).await;
        bed.revoke("ada", "sess_other").await;
        bed.revoke("eve", "sess_ada_too").await;
        bed.person("ada", 2, json!({"locked": true, "first_name": "Ida"})).await;
        bed.tell(|seq| message(seq, "event.held", "admin", "org_ada", Vec::new(), json!({}))).await;
        bed.tell(|seq| message(seq, "event.rejected", "admin", "user_ada", Vec::new(), json!({"status": "banned"})))
            .await;
        bed.tell(|seq| message(seq, "user.updated", "users", "user_adam", Vec::new(), json!({"status": "banned"})))
            .await;
        bed.person("ada", 3, json!({"first_name": "Ada"})).await;
        assert_eq!([ada.event().await, ada.event().await].map(|event| event["event"].clone()), ["user.updated"; 2]);
        ada.rest().await;
        ada.auth(&bed.token("ada")).await;
    }
}

/// The judgement at the door knows more than this process has read.
#[tokio::test]
async fn a_row_that_the_database_had_got_over_before_the_door_closes_nobody() {
    for bed in Bed::each(&[("tail.poll", "1h")]).await {
        bed.person("ada", 1, json!({})).await;
        let mut early = bed.enter("ada").await;
        bed.hush().await;
        bed.tell(|seq| message(seq, "user.updated", "users", "user_ada", Vec::new(), json!({"status": "banned"})))
            .await;
        bed.tell(|seq| message(seq, "user.updated", "users", "user_ada", Vec::new(), json!({"status": "active"})))
            .await;
        let mut late = bed.enter("ada").await;
        let mut renewed = bed.enter("ada").await;
        renewed.auth(&bed.token("ada")).await;
        bed.wake();
        is_closed(&mut early, "banned while connected").await;
        for client in [&mut late, &mut renewed] {
            assert!(client.rest().await.is_empty(), "{}", bed.server.name);
        }
        bed.tell(|seq| message(seq, "user.updated", "users", "user_ada", Vec::new(), json!({"status": "banned"})))
            .await;
        bed.wake();
        for client in [&mut late, &mut renewed] {
            is_closed(client, "banned again").await;
        }
    }
}

#[tokio::test]
async fn who_is_banned_at_one_replica_is_closed_at_another() {
    let pem = Issuer::ours().pem();
    let Some(servers) = Server::replicas(2, &keys(&pem)).await else { return };
    let beds: Vec<Bed> = servers.into_iter().map(Bed::of).collect();
    let id = beds[0].person("ada", 1, json!({})).await;
    for bed in &beds {
        let mut client = bed.enter("ada").await;
        client.subscribe(&[&format!("user:{id}")], json!({})).await;
    }
    let mut client = beds[1].enter("ada").await;
    let since = Instant::now();
    assert_eq!(beds[0].server.deliver("msg_ban", &person("user_ada", 9, json!({"banned": true}))).await, 200);
    is_closed(&mut client, "banned elsewhere").await;
    assert!(since.elapsed() < Duration::from_secs(1));
}

#[tokio::test]
async fn what_is_committed_together_with_a_loss_is_told_up_to_it_and_no_further() {
    for bed in Bed::each(&[]).await {
        let ada = bed.person("ada", 1, json!({})).await;
        let org = bed.organization("one").await;
        bed.join(&org, "ada").await;
        let about = |name: &str| bed.of_org("organization.updated", &org, json!({"name": name}), 0);
        let routing = vec![format!("user:{ada}")];
        let own = |status: &str| {
            message(0, "user.updated", "users", "user_ada", routing.clone(), json!({"id": ada, "status": status}))
        };
        let mut clients = Vec::new();
        for _ in 0..10 {
            let mut client = bed.enter("ada").await;
            client.subscribe(&[&org.topic(), "user:me"], json!({})).await;
            clients.push(client);
        }
        let left = bed.of_member("membership.deleted", &org, "ada", ada, 0);
        bed.tell_all(vec![own("active"), left, about("after the leaving"), own("active")]).await;
        for client in &mut clients {
            let mut told = Vec::new();
            while told.iter().filter(|word| *word == "user.updated").count() < 2 {
                let frame = client.frame().await;
                if frame["type"] != "notice" {
                    told.push(frame["event"].as_str().unwrap_or("revoked").to_owned());
                }
            }
            let of_org: Vec<_> =
                told.iter().filter(|word| !["user.updated", "revoked"].contains(&word.as_str())).collect();
            assert_eq!(of_org, ["membership.deleted"], "{}: on their own topic, once: {told:?}", bed.server.name);
            assert!(told.contains(&"revoked".to_owned()));
            client.rest().await;
            client.subscribe(&[&org.topic()], json!({})).await;
        }
        let first =
            bed.tell_all(vec![about("before the ban"), own("banned"), about("after the ban"), own("active")]).await;
        for client in &mut clients {
            let frames = is_closed(client, "banned").await;
            let events = frames.iter().filter(|frame| frame["type"] == "event");
            let seqs: Vec<_> = events.map(|frame| frame["seq"].as_i64().unwrap()).collect();
            assert_eq!(seqs, [first, first + 1], "{}", bed.server.name);
        }
    }
}

async fn heavy(bed: &Bed, org: &super::bed::Org, count: usize) -> i64 {
    let mut last = 0;
    for number in 0..count {
        last = bed.tell_org(org, json!({"number": number, "padding": "x".repeat(30_000)})).await;
    }
    last
}

async fn blocked(bed: &Bed, topics: &[&str], more: Value) -> Client {
    let address = bed.server.url.trim_start_matches("http://").parse().unwrap();
    let mut client = Client::open(address, &[], Some(4096)).await.unwrap();
    client.auth(&bed.token("ada")).await;
    client.subscribe(topics, more).await;
    client
}

fn org_seqs(frames: &[Value]) -> Vec<i64> {
    let events = frames.iter().filter(|frame| frame["topic"].as_str().is_some_and(|topic| topic.starts_with("org:")));
    events.map(|frame| frame["seq"].as_i64().unwrap()).collect()
}

#[tokio::test]
async fn who_takes_nothing_is_closed_all_the_same_and_told_nothing_newer() {
    for bed in Bed::each(&[("gateway.write_timeout", "1h"), ("gateway.queue", "1000")]).await {
        bed.person("ada", 1, json!({})).await;
        let org = bed.organization("one").await;
        bed.join(&org, "ada").await;
        let mut replayed = blocked(&bed, &["org:org_one"], json!({"after": 0})).await;
        let mut live = blocked(&bed, &["org:org_one"], json!({})).await;
        let before = heavy(&bed, &org, 300).await;
        let mut late = blocked(&bed, &["org:org_one"], json!({"after": 0})).await;
        tokio::time::sleep(Duration::from_millis(200)).await;
        bed.deliver(&person("user_ada", 9, json!({"banned": true}))).await;
        bed.tell_org(&org, json!({"name": "after the ban"})).await;
        for (what, client) in [("replayed", &mut replayed), ("live", &mut live), ("late", &mut late)] {
            let (frames, code) = client.closed().await;
            let seqs = org_seqs(&frames);
            assert_eq!(code, 4401, "{what}");
            assert!(seqs.len() < 300 && seqs.iter().all(|seq| *seq <= before), "{}: {what}", bed.server.name);
            // No gap: whoever comes back goes on after the last.
            assert!(seqs.windows(2).all(|pair| pair[1] == pair[0] + 1), "{what}: {seqs:?}");
        }
    }
}

#[tokio::test]
async fn a_membership_that_ends_takes_the_topic_and_nothing_else() {
    for bed in Bed::each(&[]).await {
        let ada = bed.person("ada", 1, json!({})).await;
        bed.person("eve", 1, json!({})).await;
        let (one, two) = (bed.organization("one").await, bed.organization("two").await);
        for org in [&one, &two] {
            bed.join(org, "ada").await;
            bed.join(org, "eve").await;
        }
        let (mut client, mut eve, mut admin) = (bed.enter("ada").await, bed.enter("eve").await, bed.admin().await);
        let topics = client.subscribe(&["org:org_one", &two.topic(), "user:me"], json!({})).await;
        assert_eq!(topics, json!([one.topic(), two.topic(), format!("user:{ada}")]));
        eve.subscribe(&["org:org_one"], json!({})).await;
        admin.subscribe(&["org:org_one"], json!({})).await;
        let left = bed.leave(&one, "ada").await;
        is_revoked(&mut client, &one.topic(), "membership_ended").await;
        // Their own topic says what happened; the organisation's says it to who is still there.
        let event = client.event().await;
        assert_eq!((&event["topic"], &event["seq"]), (&json!(format!("user:{ada}")), &json!(left)));
        for who in [&mut eve, &mut admin] {
            assert_eq!((&who.event().await["seq"], who.rest().await.len()), (&json!(left), 0));
        }
        let told = bed.tell_org(&one, json!({"name": "later"})).await;
        assert!(client.rest().await.is_empty());
        assert_eq!((eve.seqs(1).await, admin.seqs(1).await), (vec![told], vec![told]));
        for more in [json!({}), json!({"after": 0})] {
            let mut frame = json!({"type": "subscribe", "topics": ["org:org_one"]});
            frame.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            client.say(frame).await;
            assert_eq!(client.frame().await["code"], "forbidden");
        }
        // The other organisation goes on, and so does this one once they are back.
        let other = bed.tell_org(&two, json!({"name": "two"})).await;
        assert_eq!(client.seqs(1).await, [other]);
        let back = bed.join(&one, "ada").await;
        assert_eq!(client.event().await["topic"], format!("user:{ada}"), "no topic comes back by itself");
        assert!(client.rest().await.is_empty());
        client.subscribe(&["org:org_one"], json!({"after": 0})).await;
        assert_eq!(client.seqs(1).await, [back]);
        bed.leave(&one, "ada").await;
        is_revoked(&mut client, &one.topic(), "membership_ended").await;
    }
}

#[tokio::test]
async fn an_organisation_that_is_deleted_is_taken_from_everybody_but_admins() {
    for bed in Bed::each(&[]).await {
        let org = bed.organization("one").await;
        let mut clients = Vec::new();
        for name in ["ada", "eve"] {
            bed.person(name, 1, json!({})).await;
            bed.join(&org, name).await;
            let mut client = bed.enter(name).await;
            client.subscribe(&["org:org_one"], json!({})).await;
            clients.push(client);
        }
        // The second join was told to the first.
        clients[0].seqs(1).await;
        let mut admin = bed.admin().await;
        admin.subscribe(&["org:org_one"], json!({})).await;
        let deleted = bed.dissolve(&org).await;
        for client in &mut clients {
            is_revoked(client, &org.topic(), "organization_deleted").await;
            assert!(client.rest().await.is_empty());
            client.say(json!({"type": "subscribe", "topics": [org.topic()]})).await;
            assert_eq!(client.frame().await["code"], "forbidden");
        }
        assert_eq!(admin.seqs(1).await, [deleted]);
    }
}

#[tokio::test]
async fn a_topic_that_is_taken_during_its_replay_ends_there() {
    for bed in Bed::each(&[("gateway.write_timeout", "1h"), ("gateway.queue", "1000")]).await {
        let ada = bed.person("ada", 1, json!({})).await;
        let org = bed.organization("one").await;
        bed.join(&org, "ada").await;
        let before = heavy(&bed, &org, 300).await;
        let mut client = blocked(&bed, &["org:org_one", "user:me"], json!({"after": 0})).await;
        tokio::time::sleep(Duration::from_millis(200)).await;
        let left = bed.leave(&org, "ada").await;
        let after = bed.tell_org(&org, json!({"name": "after"})).await;
        let own = bed.person("ada", 2, json!({"first_name": "Ida"})).await;
        assert_eq!(own, ada);
        let (mut told, mut revoked) = (Vec::new(), 0);
        loop {
            let frame = client.frame().await;
            match frame["type"].as_str().unwrap() {
                "revoked" => {
                    assert_eq!(frame["topics"], json!([org.topic()]));
                    revoked += 1;
                }
                "event" if frame["topic"] == org.topic() => {
                    assert_eq!(revoked, 0, "{}: {}", bed.server.name, frame["seq"]);
                    told.push(frame["seq"].as_i64().unwrap());
                }
                // The person's own topic is told whole.
                "event" if frame["data"]["first_name"] == "Ida" => break,
                _ => {}
            }
        }
        assert_eq!(revoked, 1);
        assert!(told.len() < 300 && told.iter().all(|seq| *seq <= before && *seq < left && *seq < after));
        assert_eq!(client.rest().await.len(), 1, "a notice");
    }
}
