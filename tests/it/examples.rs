//! Clerk's "Send Example": what it sends is recognised, and nothing of it is applied.

use serde_json::{Value, json};

use crate::support::{
    clerk::{Clerk, Simulated},
    dump::number,
    people::user,
    world::{World, worlds},
};
use clerk_sync::clock::Clock;

/// The catalogue's user: an ordinary body under its id, without an instance.
fn catalogue_user(event_type: &str) -> Value {
    let mut body = user("example", 1);
    body["type"] = event_type.into();
    body["data"]["id"] = "user_29w83sxmDNGwOuEthce5gg56FcC".into();
    body.as_object_mut().unwrap().remove("instance_id");
    body
}

fn member(id: &str, organization: &str, user: &str, event_type: &str) -> Value {
    json!({"type": event_type, "object": "event", "timestamp": 1_654_013_203_217_u64, "data": {
        "id": id, "object": "organization_membership", "role": "admin", "created_at": 1_654_013_203_217_u64,
        "updated_at": 1_654_013_203_217_u64, "organization": {"id": organization, "name": "Acme"},
        "public_user_data": {"user_id": user, "first_name": "Example"}}})
}

/// One event of each kind that is applied, under ids of the catalogue and of the specification.
fn examples() -> Vec<Value> {
    let object = |event_type: &str, data: Value| {
        json!({"type": event_type, "object": "event", "timestamp": 1_716_883_200, "data": data,
            "instance_id": "ins_2g7np7Hrk0SN6kj5EDMLDaKNL0S"})
    };
    let organization = "org_29w9IfBrPmcpi0IeBVaKtA7R94W";
    vec![
        catalogue_user("user.created"),
        catalogue_user("user.updated"),
        object("user.deleted", json!({"id": "user_29wBMCtzATuFJut8jO2VNTVekS4", "deleted": true})),
        object(
            "user.created",
            json!({"id": "user_2g7np7Hrk0SN6kj5EDMLDaKNL0S", "first_name": "Jane",
            "updated_at": 1_716_883_200_000_u64, "email_addresses": [{"email_address": "jane@example.com"}]}),
        ),
        object(
            "organization.created",
            json!({"id": organization, "name": "Acme", "updated_at": 1_654_013_202_977_u64}),
        ),
        object("organization.deleted", json!({"id": "org_2g7np7Hrk0SN6kj5EDMLDaKNL0S", "deleted": true})),
        member("orgmem_1", organization, "user_29w83sxmDNGwOuEthce5gg56FcC", "organizationMembership.created"),
        member(
            "orgmem_2",
            "org_2g7np7Hrk0SN6kj5EDMLDaKNL0S",
            "user_2h8op3Isl1QR7tKu5FGNfaLKEoU",
            "organizationMembership.deleted",
        ),
        object(
            "session.ended",
            json!({"id": "sess_2g7np7Hrk0SN6kj5EDMLDaKNL0S", "user_id": "user_2g7np7Hrk0SN6kj5EDMLDaKNL0S"}),
        ),
        object("role.created", json!({"id": "role_2g7np7Hrk0SN6kj5EDMLDaKNL0S"})),
        object("subscription.created", json!({"id": "csub_2g7np7Hrk0SN6kj5EDMLDaKNL0S"})),
        object("waitlistEntry.created", json!({"id": "wle_2g7np7Hrk0SN6kj5EDMLDaKNL0S"})),
    ]
}

async fn check(world: &World) {
    let name = world.name;
    for (n, body) in examples().iter().enumerate() {
        world.deliver(&format!("msg_{n}"), body).await;
    }
    world.drain().await;
    for (n, body) in examples().iter().enumerate() {
        let row = world.inbox(&format!("msg_{n}")).await;
        assert_eq!((row.state.as_str(), row.outcome.as_deref()), ("skipped", Some("example")), "{name}: {body}");
        assert!(row.reason.unwrap().starts_with("example: "), "{name}: {body}");
    }
    let rows = "select (select count(*) from clerk_sync.users) + (select count(*) from clerk_sync.subjects) + (select count(*) from clerk_sync.outbox)
        + (select count(*) from clerk_sync.organizations) + (select count(*) from clerk_sync.organization_memberships)
        + (select count(*) from clerk_sync.revoked_sessions) + (select count(*) from clerk_sync.alerts) as n";
    assert_eq!(number(&world.app.db, rows).await, 0, "{name}: no fact, row, message or alert");
}

#[tokio::test]
async fn examples_are_skipped_and_raise_no_facts() {
    for world in worlds(&[]).await {
        check(&world).await;
        // A real user is nobody's example, though one stands in their metadata.
        let mut real = user("ada", 1);
        real["data"]["public_metadata"] = json!({"seen": "user_29w83sxmDNGwOuEthce5gg56FcC"});
        world.deliver("msg_real", &real).await;
        world.drain().await;
        assert_eq!(world.inbox("msg_real").await.outcome.as_deref(), Some("created"), "{}", world.name);
    }
}

#[tokio::test]
async fn neither_a_pinned_instance_nor_clerk_is_asked_about_examples() {
    let clerk = Simulated::of(Clerk::new(Clock::system())).await;
    let keys = clerk.keys(&[("clerk.instance_id", "ins_tests"), ("clerk.confirm", "required")]);
    for world in worlds(&keys).await {
        check(&world).await;
        assert_eq!(clerk.modes.counts().total(), 0, "{}", world.name);
    }
}
