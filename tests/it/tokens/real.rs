//! The same with Clerk's own deliveries: the rules that write memberships, holds and ended sessions, and the rights that
//! follow from what they write.

use serde_json::{Value, json};

use super::bed::{Bed, is_closed, is_refused, is_revoked};
use crate::support::server::deletion;

fn organization(kind: &str, at: u64) -> Value {
    let ms = 1_700_000_000_000 + at * 1000;
    let data = json!({"id": "org_one", "name": format!("One {at}"), "created_at": 1_700_000_000_000_u64, "updated_at": ms, "private_metadata": {"hidden": "never told"}});
    json!({"type": format!("organization.{kind}"), "object": "event", "timestamp": ms, "data": data})
}

fn membership(kind: &str, user: &str, role: &str, at: u64) -> Value {
    let ms = 1_700_000_000_000 + at * 1000;
    let data = json!({
        "id": format!("orgmem_{user}"), "role": role, "permissions": [], "created_at": 1_700_000_000_000_u64, "updated_at": ms,
        "organization": {"id": "org_one"}, "public_user_data": {"user_id": format!("user_{user}")},
    });
    json!({"type": format!("organizationMembership.{kind}"), "object": "event", "timestamp": ms, "data": data})
}

fn session(kind: &str, user: &str) -> Value {
    let data = json!({"id": format!("sess_{user}"), "user_id": format!("user_{user}"), "status": kind});
    json!({"type": format!("session.{kind}"), "object": "event", "timestamp": 1_700_000_900_000_u64, "data": data})
}

#[tokio::test]
async fn a_membership_of_clerks_opens_and_closes_the_organisations_topic() {
    for bed in Bed::each(&[]).await {
        for name in ["ada", "eve"] {
            bed.person(name, 1, json!({})).await;
        }
        bed.deliver(&organization("created", 1)).await;
        bed.deliver(&membership("created", "ada", "org:admin", 2)).await;
        bed.deliver(&membership("created", "eve", "org:member", 3)).await;
        let mut eve = bed.enter("eve").await;
        let topics = eve.subscribe(&["org:org_one"], json!({"after": 0})).await;
        // From their own joining on.
        let joined = eve.event().await;
        assert_eq!((&joined["event"], &joined["subject"]), (&json!("membership.created"), &json!("org_one/user_eve")));
        assert_eq!(joined["data"]["clerk_id"], "user_eve");
        assert_eq!(joined["data"]["role"], "org:member");
        assert_eq!(joined["data"].as_object().unwrap().len(), 5, "{joined}");
        bed.deliver(&organization("updated", 4)).await;
        let told = loop {
            let event = eve.event().await;
            if event["data"]["name"] == "One 4" {
                break event;
            }
        };
        assert_eq!(told["event"], "organization.updated");
        assert!(!told.to_string().contains("never told"));
        // A change of role is no new joining.
        bed.deliver(&membership("updated", "eve", "org:admin", 5)).await;
        assert_eq!(eve.event().await["data"]["role"], "org:admin");
        let mut again = bed.enter("eve").await;
        again.subscribe(&["org:org_one"], json!({"after": 0})).await;
        assert_eq!(again.event().await["seq"], joined["seq"]);
        bed.deliver(&membership("deleted", "eve", "org:admin", 6)).await;
        is_revoked(&mut eve, topics[0].as_str().unwrap(), "membership_ended").await;
        assert!(eve.rest().await.is_empty());
        let mut ada = bed.enter("ada").await;
        ada.subscribe(&["org:org_one"], json!({})).await;
        let gone = json!({"type": "organization.deleted", "timestamp": 1_700_000_900_000_u64, "data": {"id": "org_one", "deleted": true}});
        bed.deliver(&gone).await;
        let frame = ada.frame().await;
        assert_eq!((&frame["type"], &frame["topics"]), (&json!("revoked"), &topics), "{}", bed.server.name);
        ada.say(json!({"type": "subscribe", "topics": ["org:org_one"]})).await;
        assert_eq!(ada.frame().await["code"], "forbidden");
    }
}

#[tokio::test]
async fn an_ended_session_of_clerks_is_closed_and_refused() {
    for kind in ["ended", "removed", "revoked"] {
        for bed in Bed::each(&[]).await {
            bed.person("ada", 1, json!({})).await;
            let (mut ada, mut stranger) = (bed.enter("ada").await, bed.enter("nobody").await);
            for name in ["ada", "nobody"] {
                bed.deliver(&session(kind, name)).await;
            }
            is_closed(&mut ada, kind).await;
            is_closed(&mut stranger, kind).await;
            is_refused(&bed, &bed.token("ada"), kind).await;
            is_refused(&bed, &bed.token("nobody"), kind).await;
        }
    }
}

#[tokio::test]
async fn a_person_whose_deletion_is_held_is_closed_and_refused() {
    for bed in Bed::each(&[("organizations.sole_admin", "hold")]).await {
        for name in ["ada", "eve"] {
            bed.person(name, 1, json!({})).await;
        }
        bed.deliver(&organization("created", 1)).await;
        bed.deliver(&membership("created", "ada", "org:admin", 2)).await;
        bed.deliver(&membership("created", "eve", "org:member", 3)).await;
        let mut ada = bed.enter("ada").await;
        ada.subscribe(&["user:me", "org:org_one"], json!({})).await;
        bed.deliver(&deletion("user_ada")).await;
        let held = bed.rows("select deletion_held_at from users where clerk_id = ", "user_ada").await;
        assert!(held[0].try_get::<Option<clerk_sync::clock::Time>>("", "deletion_held_at").unwrap().is_some());
        is_closed(&mut ada, "held").await;
        is_refused(&bed, &bed.token("ada"), "held").await;
    }
}

#[tokio::test]
async fn a_person_who_is_deleted_without_a_trace_is_closed_and_refused() {
    for bed in Bed::each(&[("deletion.mode", "hard")]).await {
        bed.person("ada", 1, json!({})).await;
        let mut ada = bed.enter("ada").await;
        bed.deliver(&deletion("user_ada")).await;
        assert!(bed.rows("select id from users where clerk_id = ", "user_ada").await.is_empty());
        is_closed(&mut ada, "deleted").await;
        is_refused(&bed, &bed.token("ada"), "deleted").await;
    }
}
