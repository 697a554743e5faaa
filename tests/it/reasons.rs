//! A reason names every rule that failed.

use sea_orm::EntityTrait as _;
use serde_json::{Value, json};

use crate::support::{
    organizations::{dissolved, organization},
    people::{address, deleted, user, with},
    world::{World, worlds},
};

async fn end(world: &World, id: &str) -> (String, String) {
    let row = world.inbox(id).await;
    (row.state, row.reason.unwrap_or_default())
}

async fn alerts(world: &World) -> Vec<String> {
    let rows = entity::alerts::Entity::find().all(&world.app.db.read).await.unwrap();
    let mut keys: Vec<String> = rows.into_iter().map(|row| row.key).collect();
    keys.sort();
    keys
}

fn without(body: Value, members: &[&str]) -> Value {
    members.iter().fold(body, |body, member| with(body, member, Value::Null))
}

#[tokio::test]
async fn a_user_who_fails_both_rules_of_entry_is_told_both() {
    for world in worlds(&[]).await {
        let nobody = without(user("ada", 1), &["email_addresses", "first_name", "last_name"]);
        world.deliver("msg_both", &nobody).await;
        // No address that can be used: what was left out is named with the rule that it fails.
        let bad = with(user("ben", 1), "email_addresses", json!([address("no address", "idn_1")]));
        world.deliver("msg_bad", &bad).await;
        world.drain().await;
        let (state, reason) = end(&world, "msg_both").await;
        assert_eq!(state, "rejected");
        assert!(reason.starts_with("entry.require_email: ") && reason.contains("; entry.require_name: "), "{reason}");
        let (_, reason) = end(&world, "msg_bad").await;
        assert!(reason.starts_with("entry.require_email: "), "{reason}");
        assert!(reason.ends_with("; field.invalid: left empty: email_addresses"), "{reason}");
        // Found again when they enter.
        world.deliver("msg_now", &user("ada", 2)).await;
        world.drain().await;
        assert_eq!(end(&world, "msg_both").await.0, "skipped", "{}", world.name);
    }
}

#[tokio::test]
async fn fields_and_roles_are_named_together() {
    for world in worlds(&[("roles.path", "public_metadata.role".into()), ("roles.grantable", "editor".into())]).await {
        let mut ada = with(user("ada", 1), "public_metadata", json!({"role": ["editor", "admin", "owner"]}));
        ada["data"]["locale"] = json!("no locale");
        ada["data"]["first_name"] = json!(7);
        world.deliver("msg_ada", &ada).await;
        // In conflict, too.
        let hers = json!([address("ada@example.com", "idn_ben"), address("nothing", "idn_2")]);
        world.deliver("msg_ben", &with(user("ben", 2), "email_addresses", hers)).await;
        world.drain().await;
        assert_eq!(
            end(&world, "msg_ada").await.1,
            "field.invalid: left empty: first_name, locale; \
             role.not_grantable: 2 of the named roles not in roles.grantable and ignored",
            "{}",
            world.name
        );
        let (state, reason) = end(&world, "msg_ben").await;
        assert_eq!(state, "conflict");
        assert!(reason.starts_with("conflict.email: ") && reason.contains("user_ada; field.invalid: "), "{reason}");
    }
}

#[tokio::test]
async fn everybody_who_blocks_an_address_is_named() {
    for world in worlds(&[]).await {
        world.deliver("msg_1", &user("ada", 1)).await;
        world.deliver("msg_2", &user("cy", 1)).await;
        world.drain().await;
        let both = json!([address("cy@example.com", "idn_ben"), address("ada@example.com", "idn_2")]);
        world.deliver("msg_ben", &with(user("ben", 2), "email_addresses", both)).await;
        world.drain().await;
        let row = world.inbox("msg_ben").await;
        assert!(row.reason.unwrap().ends_with("user_ada, user_cy"), "{}", world.name);
        assert_eq!(row.awaits.as_deref(), Some("user_ada"), "the first address decides whom it waits for");
    }
}

/// Neither a boolean nor null bars a user, to be on the safe side; other truths are false then.
#[tokio::test]
async fn a_bar_that_is_no_boolean_counts_as_one() {
    for world in worlds(&[]).await {
        let cases = [json!("true"), json!(1), json!("false"), json!(0), json!({}), json!([])];
        for (index, value) in cases.iter().enumerate() {
            for (field, status) in [("banned", "banned"), ("deprovisioned", "deprovisioned")] {
                let name = format!("{field}{index}");
                let body = with(with(user(&name, 1), field, value.clone()), "two_factor_enabled", value.clone());
                world.deliver(&format!("msg_{name}"), &body).await;
                world.drain().await;
                let reason = format!("field.invalid: left empty: two_factor_enabled; taken as true: {field}");
                assert_eq!(
                    end(&world, &format!("msg_{name}")).await,
                    ("done".into(), reason),
                    "{}: {value}",
                    world.name
                );
                let found = entity::users::Entity::find().all(&world.app.db.read).await.unwrap();
                let row =
                    found.into_iter().find(|row| row.clerk_id.as_deref() == Some(&format!("user_{name}"))).unwrap();
                assert_eq!((row.status.as_str(), row.two_factor_enabled), (status, false), "{}: {value}", world.name);
            }
        }
        for (name, value) in [("null", Value::Null), ("false", json!(false))] {
            world.deliver(&format!("msg_{name}"), &with(user(name, 1), "banned", value)).await;
            world.drain().await;
            assert_eq!(end(&world, &format!("msg_{name}")).await, ("done".into(), String::new()), "{}", world.name);
        }
        assert!(alerts(&world).await.contains(&"field.invalid:user_banned0".to_owned()));
    }
}

#[tokio::test]
async fn a_deletion_that_says_it_is_none_deletes_nobody() {
    for world in worlds(&[]).await {
        for name in ["ada", "ben", "cy", "dee"] {
            world.deliver(&format!("msg_{name}"), &user(name, 1)).await;
        }
        for name in ["books", "press"] {
            world.deliver(&format!("msg_{name}"), &organization(name, "ada", 1)).await;
        }
        world.drain().await;
        let refused = "malformed: data.deleted is false, so nothing was deleted";
        for (id, body, expected) in [
            ("msg_d1", with(deleted("ada", 9), "deleted", json!(false)), Some(refused)),
            ("msg_d2", with(dissolved("books", 9), "deleted", json!(false)), Some(refused)),
            ("msg_d3", with(deleted("ben", 9), "deleted", Value::Null), None),
            ("msg_d4", with(deleted("cy", 9), "deleted", json!("false")), None),
            ("msg_d5", deleted("dee", 9), None),
            ("msg_d6", with(dissolved("press", 9), "deleted", json!(0)), None),
            ("msg_d7", json!({"type": "user.deleted", "data": {"id": "user_cy"}}), None),
        ] {
            world.deliver(id, &body).await;
            world.drain().await;
            let (state, reason) = end(&world, id).await;
            let state_expected = if expected.is_some() { "rejected" } else { "done" };
            assert_eq!(
                (state.as_str(), reason.as_str()),
                (state_expected, expected.unwrap_or_default()),
                "{}: {id}",
                world.name
            );
        }
        let users = entity::users::Entity::find().all(&world.app.db.read).await.unwrap();
        let live = users.iter().filter(|row| row.status != "deleted");
        assert_eq!(live.filter_map(|row| row.clerk_id.clone()).collect::<Vec<_>>(), ["user_ada"], "{}", world.name);
        assert_eq!(alerts(&world).await, ["deletion.denied:org_books", "deletion.denied:user_ada"], "{}", world.name);
        // It raises no facts: a later snapshot applies.
        world.deliver("msg_later", &user("ada", 20)).await;
        world.drain().await;
        assert_eq!(end(&world, "msg_later").await.0, "done");
    }
}
