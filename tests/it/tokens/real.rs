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
        let held = bed.rows("select deletion_held_at from clerk_sync.users where clerk_id = ", "user_ada").await;
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
        assert!(bed.rows("select id from clerk_sync.users where clerk_id = ", "user_ada").await.is_empty());
        is_closed(&mut ada, "deleted").await;
        is_refused(&bed, &bed.token("ada"), "deleted").await;
    }
}

#[tokio::test]
async fn a_members_new_name_reaches_their_organisations() {
    for bed in Bed::each(&[]).await {
        for name in ["ada", "eve"] {
            bed.person(name, 1, json!({})).await;
        }
        bed.deliver(&organization("created", 1)).await;
        for name in ["ada", "eve"] {
            bed.deliver(&membership("created", name, "org:member", 2)).await;
        }
        let mut eve = bed.enter("eve").await;
        eve.subscribe(&["org:org_one"], json!({})).await;
        bed.person("ada", 5, json!({"first_name": "Augusta", "image_url": "https://img.example.com/2.png"})).await;
        let event = eve.event().await;
        assert_eq!((&event["event"], &event["subject"]), (&json!("membership.updated"), &json!("org_one/user_ada")));
        assert_eq!(event["changed"], json!(["display_name", "image_url"]), "{}", bed.server.name);
        assert_eq!(event["data"]["image_url"], "https://img.example.com/2.png");
        // What is no part of the profile is nobody's business there.
        bed.person(
            "ada",
            6,
            json!({"first_name": "Augusta", "image_url": "https://img.example.com/2.png", "public_metadata": {"k": 1}}),
        )
        .await;
        assert!(eve.rest().await.is_empty());
    }
}

#[tokio::test]
async fn members_read_their_organisation_over_http_and_nobody_else_does() {
    for bed in Bed::each(&[]).await {
        for name in ["ada", "eve"] {
            bed.person(name, 1, json!({})).await;
        }
        bed.deliver(&organization("created", 1)).await;
        bed.deliver(&membership("created", "ada", "org:member", 2)).await;
        let (ada, eve) = (bed.token("ada"), bed.token("eve"));
        let one = bed.server.get("/v1/organizations/org_one", &ada).await;
        assert_eq!((one.status, one.json()["members_count"].clone()), (200, json!(1)), "{}", bed.server.name);
        assert!(!one.text.contains("never told"));
        let members = bed.server.get("/v1/organizations/org_one/members", &ada).await.json();
        assert_eq!(members["data"][0]["clerk_id"], "user_ada");
        for mine in ["me", "user_ada"] {
            let mine = bed.server.get(&format!("/v1/users/{mine}/organizations"), &ada).await.json();
            assert_eq!(
                (&mine["data"][0]["clerk_id"], &mine["data"][0]["role"]),
                (&json!("org_one"), &json!("org:member"))
            );
        }
        for path in
            ["/v1/organizations/org_one", "/v1/organizations/org_one/members", "/v1/users/user_ada/organizations"]
        {
            bed.server.get(path, &eve).await.is_problem(404, "not_found", path);
        }
        bed.server.get("/v1/organizations", &ada).await.is_problem(403, "forbidden", "the list");
        // Whoever has left sees nothing any more, at once.
        bed.deliver(&membership("deleted", "ada", "org:member", 3)).await;
        bed.server.settle().await;
        bed.server.get("/v1/organizations/org_one", &ada).await.is_problem(404, "not_found", "who left");
    }
}
