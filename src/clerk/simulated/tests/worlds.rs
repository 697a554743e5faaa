//! The world by itself, and that it is one: what the API shows is what the webhooks tell.

use crate::{
    clerk::{
        decode::{Stored, decode},
        envelope,
    },
    domain::event,
};

use super::{
    super::{Change, Kind, objects},
    *,
};

/// What the service makes of a webhook.
fn told(event: &Value) -> event::Change {
    let read = envelope::read(event.to_string().as_bytes()).unwrap();
    let stored = Stored {
        seq: 1,
        svix_id: "msg_1".to_owned(),
        event_type: read.event_type,
        body: read.body,
        subject: read.subject,
        object_id: read.object_id,
        instance_id: read.instance_id,
        occurred_at: read.occurred_at,
        received_at: None,
    };
    decode(stored, None).change
}

#[tokio::test]
async fn its_webhooks_are_read_without_a_complaint() {
    let sim = Sim::new(100, 5, 50);
    for n in 0..100 {
        let id = sim.world.nth(Kind::User, n).unwrap();
        let event = sim.world.event(Kind::User, Change::Created, &id).unwrap();
        assert_eq!(event["instance_id"], sim.world.instance_id());
        assert_eq!(event["data"], sim.get(&format!("/users/{id}")).await.1);
        let event::Change::User(snapshot) = told(&event) else { panic!("{event}") };
        assert!(snapshot.emptied.is_empty(), "{:?} of {event}", snapshot.emptied);
        assert!(snapshot.user.emails[0].verified && snapshot.user.first_name.is_some());
    }
    let new = sim.world.put_user(person("new@example.com", NOW));
    assert!(new.starts_with("user_") && new.len() == 32);
    let event = sim.world.event(Kind::User, Change::Updated, &new).unwrap();
    let event::Change::User(snapshot) = told(&event) else { panic!("{event}") };
    assert!(snapshot.emptied.is_empty() && snapshot.user.clerk_id == new);
    let organization = sim.world.nth(Kind::Organization, 2).unwrap();
    let event = sim.world.event(Kind::Organization, Change::Updated, &organization).unwrap();
    assert_eq!(event["data"]["members_count"], 10);
    assert!(matches!(told(&event), event::Change::Organization(_)));
    let membership = sim.world.nth(Kind::Membership, 12).unwrap();
    let event = sim.world.event(Kind::Membership, Change::Created, &membership).unwrap();
    assert!(matches!(told(&event), event::Change::Membership(_)), "{event}");
    sim.pass(10);
    assert!(sim.world.delete_membership(&membership) && sim.world.delete_user(&new));
    assert!(sim.world.delete_organization(&organization));
    let ended = sim.world.event(Kind::Membership, Change::Deleted, &membership).unwrap();
    assert!(matches!(told(&ended), event::Change::Membership(_)));
    assert_eq!(ended["data"], event["data"], "the end carries the whole membership");
    assert!(ended["timestamp"].as_i64() > event["timestamp"].as_i64());
    let event = sim.world.event(Kind::User, Change::Deleted, &new).unwrap();
    assert_eq!(event["data"], serde_json::json!({"id": new, "object": "user", "deleted": true}));
    assert!(matches!(told(&event), event::Change::UserDeleted { clerk_id } if clerk_id == new));
    let event = sim.world.event(Kind::Organization, Change::Deleted, &organization).unwrap();
    assert!(matches!(told(&event), event::Change::OrganizationDeleted { clerk_id } if clerk_id == organization));
    assert!(sim.world.event(Kind::User, Change::Updated, &new).is_none());
}

#[tokio::test]
async fn a_change_raises_updated_at_and_nothing_else_that_is_fixed() {
    let sim = Sim::new(10, 2, 10);
    for (kind, n) in [(Kind::User, 4), (Kind::Organization, 1), (Kind::Membership, 7)] {
        let id = sim.world.nth(kind, n).unwrap();
        let before = sim.world.get(kind, &id).unwrap();
        for at in [NOW, NOW + 1] {
            assert!(sim.world.touch(kind, &id, |object| {
                object["public_metadata"] = serde_json::json!({"a": 1});
                object["id"] = "other".into();
                object["created_at"] = 5.into();
            }));
            let mut expected = before.clone();
            expected["public_metadata"] = serde_json::json!({"a": 1});
            expected["updated_at"] = at.into();
            assert_eq!(sim.world.get(kind, &id).unwrap(), expected, "the clock stands still, updated_at does not");
        }
        assert_eq!(sim.world.nth(kind, n), Some(id.clone()), "its place in the list stays");
        // A member that is taken away stays away.
        sim.world.touch(kind, &id, |object| drop(object.as_object_mut().unwrap().remove("private_metadata")));
        assert!(sim.world.get(kind, &id).unwrap().get("private_metadata").is_none());
    }
    assert!(!sim.world.touch_user("user_nobody", |_| {}));
}

#[tokio::test]
async fn memberships_show_their_parents_as_they_are_and_go_with_them() {
    let sim = Sim::new(30, 3, 60);
    let [user, organization] = [Kind::User, Kind::Organization].map(|kind| sim.world.nth(kind, 0).unwrap());
    let new = sim.world.put_user(person("member@example.com", NOW));
    let at = from_millis(NOW).unwrap();
    let joined = sim.world.put_membership(objects::membership(&organization, &new, "org:admin", at));
    sim.world.touch_organization(&organization, |organization| organization["name"] = "Renamed".into());
    sim.world.touch_user(&user, |user| user["last_name"] = "Renamed".into());
    let of_organization = sim.list(&format!("/organizations/{organization}/memberships?limit=500")).await;
    assert!(of_organization.iter().all(|membership| membership["organization"]["name"] == "Renamed"));
    assert_eq!((of_organization.len(), id(&of_organization[0])), (21, joined.clone()));
    assert_eq!(of_organization[0]["public_user_data"]["identifier"], "member@example.com");
    let of_user = sim.list(&format!("/users/{user}/organization_memberships")).await;
    assert!(of_user.len() == 2 && of_user.iter().all(|each| each["public_user_data"]["last_name"] == "Renamed"));
    // A changed role stays in its place and with its parents.
    let one = id(&of_user[0]);
    assert!(sim.world.touch_membership(&one, |membership| membership["role"] = "org:billing".into()));
    assert_eq!(sim.world.memberships_of_user(&user).len(), 2);
    assert_eq!(sim.get("/organization_memberships").await.1["total_count"], 61);

    assert!(sim.world.delete_user(&new) && sim.world.membership(&joined).is_none());
    assert!(sim.world.delete_user(&user) && sim.world.membership(&one).is_none());
    assert_eq!(sim.world.count(Kind::Membership), 58);
    let path = format!("/organizations/{organization}?include_members_count=true");
    let left = sim.get(&path).await.1["members_count"].as_u64().unwrap();
    assert_eq!(left, sim.world.memberships_of_organization(&organization).len() as u64);
    assert!(sim.get(&format!("/organizations/{organization}")).await.1.get("members_count").is_none());
    assert!(sim.world.delete_organization(&organization));
    assert_eq!(sim.world.count(Kind::Membership), 58 - left);
    assert!(
        sim.list("/organization_memberships?limit=500")
            .await
            .iter()
            .all(|membership| { membership["organization"]["id"] != organization.as_str() })
    );
}

#[tokio::test]
async fn the_same_seed_is_the_same_world() {
    let [a, b] = [Sim::new(50, 5, 80), Sim::new(50, 5, 80)];
    for kind in [Kind::User, Kind::Organization, Kind::Membership] {
        assert_eq!(a.world.ids(kind, 0, 100), b.world.ids(kind, 0, 100));
    }
    let id = a.world.nth(Kind::User, 17).unwrap();
    assert_eq!(a.world.user(&id), b.world.user(&id));
    let instance = a.get("/instance").await.1;
    assert_eq!((&instance["object"], &instance["id"]), (&"instance".into(), &a.world.instance_id().into()));
    a.world.set_jwks(serde_json::json!({"keys": [{"kid": "ins_1"}]}));
    assert_eq!(a.get("/jwks").await.1["keys"][0]["kid"], "ins_1");
}
