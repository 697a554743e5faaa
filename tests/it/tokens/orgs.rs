//! An organisation's topic: for its members, from their joining on.

use serde_json::json;

use super::bed::Bed;

#[tokio::test]
async fn a_member_follows_an_organisation_by_either_id_and_sees_public_profiles() {
    for bed in Bed::each(&[]).await {
        let ada = bed.person("ada", 1, json!({})).await;
        let eve = bed.person("eve", 1, json!({})).await;
        let org = bed.organization("one").await;
        bed.join(&org, "ada").await;
        let mut client = bed.enter("ada").await;
        let topics = client.subscribe(&["org:org_one", &org.topic(), "user:me"], json!({})).await;
        assert_eq!(topics, json!([org.topic(), format!("user:{ada}")]));
        let seq = bed.join(&org, "eve").await;
        let event = client.event().await;
        assert_eq!((&event["topic"], &event["seq"]), (&json!(org.topic()), &json!(seq)));
        assert_eq!((&event["event"], &event["subject"]), (&json!("membership.created"), &json!("org_one/user_eve")));
        let profile =
            json!({"id": eve, "clerk_id": "user_eve", "display_name": "eve", "image_url": null, "role": "org:member"});
        assert_eq!(event["data"], profile);
        bed.tell_org(&org, json!({"name": "Two", "public_metadata": {"a": 1}, "private_metadata": {"b": 2}})).await;
        let event = client.event().await;
        assert_eq!(event["data"], json!({"name": "Two", "public_metadata": {"a": 1}}));
        assert!(client.rest().await.is_empty());
        // Followed by one id, left by the other.
        client.say(json!({"type": "unsubscribe", "topics": ["org:org_one"]})).await;
        bed.tell_org(&org, json!({"name": "Three"})).await;
        bed.person("ada", 2, json!({"first_name": "Ida"})).await;
        assert_eq!(client.event().await["subject"], "user_ada");
    }
}

#[tokio::test]
async fn a_replay_begins_with_the_joining() {
    for bed in Bed::each(&[]).await {
        bed.person("ada", 1, json!({})).await;
        bed.person("eve", 1, json!({})).await;
        let org = bed.organization("one").await;
        let mut expected = Vec::new();
        bed.tell_org(&org, json!({"name": "before"})).await;
        bed.join(&org, "eve").await;
        expected.push(bed.join(&org, "ada").await);
        expected.push(bed.tell_org(&org, json!({"name": "after"})).await);
        // A later write of the membership is no joining.
        bed.server.sql("update clerk_sync.organization_memberships set rev = 1000").await;
        let mut client = bed.enter("ada").await;
        client.subscribe(&["org:org_one"], json!({"after": 0})).await;
        assert_eq!(client.seqs(2).await, expected, "{}", bed.server.name);
        // Going back further than that brings nothing more: the next to come is the next that is told.
        client.subscribe(&[&org.topic()], json!({"after": 0})).await;
        expected.push(bed.tell_org(&org, json!({"name": "live"})).await);
        assert_eq!(client.seqs(1).await, expected[2..]);
        client.say(json!({"type": "unsubscribe", "topics": ["org:org_one"]})).await;
        client.subscribe(&[&org.topic()], json!({"after": expected[0]})).await;
        assert_eq!(client.seqs(2).await, expected[1..]);
        // Where it is not known by which row somebody joined: not before the last that wrote the membership.
        bed.server.sql("update clerk_sync.organization_memberships set joined_seq = 0").await;
        let (rev, told) = (expected[2], ["organization.updated", "organizations", "org_one"]);
        let change = bed.change("update clerk_sync.organization_memberships set rev = ", rev, |seq| {
            super::bed::message(seq, told[0], told[1], told[2], vec![org.topic()], json!({}))
        });
        let last = change.await;
        let mut client = bed.enter("ada").await;
        client.subscribe(&["org:org_one"], json!({"after": 0})).await;
        assert_eq!(client.seqs(2).await, [rev, last]);
    }
}

#[tokio::test]
async fn who_left_and_came_back_is_not_told_what_was_said_meanwhile() {
    for bed in Bed::each(&[]).await {
        bed.person("ada", 1, json!({})).await;
        let org = bed.organization("one").await;
        bed.join(&org, "ada").await;
        bed.tell_org(&org, json!({"name": "here"})).await;
        bed.leave(&org, "ada").await;
        bed.tell_org(&org, json!({"name": "away"})).await;
        let mut client = bed.enter("ada").await;
        client.say(json!({"type": "subscribe", "topics": ["org:org_one"], "after": 0})).await;
        assert_eq!(client.frame().await["code"], "forbidden");
        let back = bed.join(&org, "ada").await;
        client.subscribe(&["org:org_one"], json!({"after": 0})).await;
        let next = bed.tell_org(&org, json!({"name": "back"})).await;
        assert_eq!(client.seqs(2).await, [back, next]);
    }
}

/// The database knows of a joining before this process has read what came before it.
#[tokio::test]
async fn a_process_that_lags_behind_tells_nothing_from_before_the_joining() {
    for bed in Bed::each(&[("tail.poll", "1h")]).await {
        bed.person("ada", 1, json!({})).await;
        let org = bed.organization("one").await;
        let mut client = bed.enter("ada").await;
        bed.hush().await;
        bed.join(&org, "ada").await;
        bed.leave(&org, "ada").await;
        bed.tell_org(&org, json!({"name": "before"})).await;
        let joined = bed.join(&org, "ada").await;
        client.subscribe(&["org:org_one"], json!({})).await;
        client.subscribe(&["user:me"], json!({"after": 0})).await;
        let after = bed.tell_org(&org, json!({"name": "after"})).await;
        bed.wake();
        let mut told = Vec::new();
        while told.last() != Some(&after) {
            let event = client.event().await;
            if event["topic"] == org.topic() {
                told.push(event["seq"].as_i64().unwrap());
            }
        }
        // The leaving is older than the answer that let them in: it takes nothing.
        assert_eq!(told, [joined, after], "{}", bed.server.name);
        assert!(client.rest().await.is_empty());
    }
}
