//! Federated identities: unique by user, provider, connection and subject.

use clerk_sync::db::Stmt;
use sea_orm::ConnectionTrait as _;
use serde_json::{Value, json};

use crate::support::{
    cases::case,
    people::{deleted, user, with},
    steps,
    world::{World, worlds},
};

const STEP: &str = "m20261130_000022_connections";
const A: &str = "user_2cases000000000000000000007";
const B: &str = "user_2cases000000000000000000008";

async fn texts(world: &World, sql: &str) -> Vec<String> {
    let db = &world.app.db.read;
    let rows = Stmt::new(db, "").sql(sql).all(db).await.unwrap();
    rows.iter().map(|row| row.try_get("", "t").unwrap()).collect()
}

/// Every row: user, provider, connection, subject, and whether it is shown.
async fn identities(world: &World) -> Vec<String> {
    texts(
        world,
        "select u.clerk_id || ' ' || f.provider || '/' || f.connection || '/' || f.provider_subject_id
            || case when f.current then '' else ' hidden' end as t
            from clerk_sync.federated_identities f join clerk_sync.users u on u.id = f.user_id order by 1",
    )
    .await
}

async fn moves(world: &World) -> Vec<String> {
    texts(world, "select subject as t from clerk_sync.audit_log where action = 'identity.moved' order by seq").await
}

fn account(provider: &str, subject: &str, connection: Value) -> Value {
    json!({"object": "enterprise_account", "protocol": "saml", "provider": provider, "provider_user_id": subject,
        "enterprise_connection_id": connection, "verification": {"status": "verified", "strategy": "saml"}})
}

fn enterprise(name: &str, at: u64, accounts: Value) -> Value {
    with(user(name, at), "enterprise_accounts", accounts)
}

#[tokio::test]
async fn two_tenants_may_use_one_name_for_two_people() {
    for world in worlds(&[]).await {
        world.deliver("msg_a", &case("04a-tenant-a")).await;
        world.drain().await;
        world.deliver("msg_b", &case("04b-tenant-b-same-nameid")).await;
        world.drain().await;
        let expected = [format!("{A} saml_custom/entconn_a/1001"), format!("{B} saml_custom/entconn_b/1001")];
        assert_eq!(identities(&world).await, expected, "{}", world.name);
        assert_eq!(moves(&world).await, [""; 0], "{}", world.name);
        let told = texts(
            &world,
            "select cast(payload as text) as t from clerk_sync.outbox where event = 'user.created' order by seq",
        )
        .await;
        for (payload, connection) in told.iter().zip(["entconn_a", "entconn_b"]) {
            let payload: Value = serde_json::from_str(payload).unwrap();
            let identity = json!({"provider": "saml_custom", "connection": connection, "provider_subject_id": "1001"});
            assert_eq!(payload["identities"], json!([identity]), "{}", world.name);
        }
    }
}

/// Within one connection an identity still moves, and both users are told.
#[tokio::test]
async fn an_identity_moves_within_its_connection_only() {
    for world in worlds(&[]).await {
        world.deliver("msg_1", &enterprise("ada", 1, json!([account("saml_okta", "1001", json!("entconn_a"))]))).await;
        world.deliver("msg_2", &enterprise("cy", 1, json!([account("saml_okta", "1001", json!("entconn_b"))]))).await;
        world.drain().await;
        world.deliver("msg_3", &enterprise("ben", 2, json!([account("saml_okta", "1001", json!("entconn_a"))]))).await;
        world.drain().await;
        let expected = [
            "user_ada saml_okta/entconn_a/1001 hidden",
            "user_ben saml_okta/entconn_a/1001",
            "user_cy saml_okta/entconn_b/1001",
        ];
        assert_eq!(identities(&world).await, expected, "{}", world.name);
        assert_eq!(moves(&world).await, ["user_ada"], "{}", world.name);
        let audit =
            texts(&world, "select cast(diff as text) as t from clerk_sync.audit_log where action = 'identity.moved'")
                .await;
        let identity = json!({"provider": "saml_okta", "connection": "entconn_a", "provider_subject_id": "1001"});
        assert_eq!(serde_json::from_str::<Value>(&audit[0]).unwrap(), json!({"identities": [[identity], []]}));
    }
}

/// One account that Clerk lists twice, however the provider is spelled and wherever the connection stands.
#[tokio::test]
async fn an_account_listed_as_saml_and_as_enterprise_account_is_one_identity() {
    let saml = |provider: &str, connection: Value| {
        json!([{"object": "saml_account", "provider": provider, "provider_user_id": "1001", "saml_connection": connection,
            "verification": {"status": "verified", "strategy": "saml"}}])
    };
    for world in worlds(&[]).await {
        let by_id = |at| enterprise("ada", at, json!([account("saml_custom", "1001", json!("entconn_a"))]));
        let mut by_object = enterprise("ada", 4, json!([account("saml_custom", "1001", Value::Null)]));
        by_object["data"]["enterprise_accounts"][0]["enterprise_connection"] = json!({"id": "entconn_a"});
        for (at, body) in [
            (1, with(by_id(1), "saml_accounts", saml("saml_custom", json!({"id": "entconn_a"})))),
            (2, with(by_id(2), "saml_accounts", saml("custom", json!({"id": "entconn_a"})))),
            (3, with(by_id(3), "saml_accounts", saml("saml_custom", Value::Null))),
            (4, by_object),
            (5, with(user("ada", 5), "saml_accounts", saml("saml_custom", json!({"id": "entconn_a"})))),
        ] {
            world.deliver(&format!("msg_{at}"), &body).await;
            world.drain().await;
            assert_eq!(identities(&world).await, ["user_ada saml_custom/entconn_a/1001"], "{}: {at}", world.name);
        }
        let told = texts(&world, "select event as t from clerk_sync.outbox order by seq").await;
        assert_eq!(told, ["user.created"], "{}: nothing changed", world.name);
    }
}

/// What an upgrade finds: one tenant's user hidden by the other's. Nothing is doubled, and nothing is taken for a move.
#[tokio::test]
async fn rows_from_before_connections_are_replaced_by_the_next_event() {
    for world in worlds(&[]).await {
        let db = &world.app.db.write;
        world.deliver("msg_a", &user("ada", 1)).await;
        world.deliver("msg_b", &user("ben", 2)).await;
        world.drain().await;
        steps::take_back(&world.app.db, STEP).await;
        db.execute_unprepared(
            "insert into clerk_sync.federated_identities (user_id, provider, provider_subject_id, current)
                select id, 'saml_custom', '1001', clerk_id = 'user_ben' from clerk_sync.users;
            insert into clerk_sync.federated_identities (user_id, provider, provider_subject_id, current)
                select id, 'google', 'g-' || clerk_id, true from clerk_sync.users",
        )
        .await
        .unwrap();
        steps::apply(&world.app.db).await;
        let before = ["user_ada google//g-user_ada", "user_ben google//g-user_ben", "user_ben saml_custom//1001"]
            .map(str::to_owned);
        assert_eq!(identities(&world).await, before, "{}", world.name);
        for (at, (name, connection)) in [(3, ("ben", "entconn_b")), (4, ("ada", "entconn_a"))] {
            let google = json!([{"provider": "oauth_google", "provider_user_id": format!("g-user_{name}")}]);
            let body = enterprise(name, at, json!([account("saml_custom", "1001", json!(connection))]));
            world.deliver(&format!("msg_{name}_{at}"), &with(body, "external_accounts", google)).await;
            world.drain().await;
        }
        let after = [
            "user_ada google//g-user_ada",
            "user_ada saml_custom/entconn_a/1001",
            "user_ben google//g-user_ben",
            "user_ben saml_custom/entconn_b/1001",
        ];
        assert_eq!(identities(&world).await, after, "{}", world.name);
        assert_eq!(moves(&world).await, [""; 0], "{}", world.name);
        let told = texts(
            &world,
            "select subject || ' ' || cast(changed as text) as t from clerk_sync.outbox where event = 'user.updated' order by seq",
        )
        .await;
        assert_eq!(told.len(), 2, "{}: {told:?}", world.name);
    }
}

/// Down and up again: identities that only the connection tells apart become one.
#[tokio::test]
async fn the_step_can_be_taken_back() {
    for world in worlds(&[]).await {
        let both = json!([
            account("saml_custom", "1001", json!("entconn_a")),
            account("saml_custom", "1001", json!("entconn_b"))
        ]);
        world.deliver("msg_a", &enterprise("ada", 1, both)).await;
        world.drain().await;
        assert_eq!(identities(&world).await.len(), 2);
        steps::take_back(&world.app.db, STEP).await;
        steps::apply(&world.app.db).await;
        assert_eq!(identities(&world).await, ["user_ada saml_custom//1001"], "{}", world.name);
        let plain = if world.name == "postgres" {
            "select indexdef as t from pg_indexes where indexname = 'federated_identities_subject'"
        } else {
            "select sql as t from sqlite_master where name = 'federated_identities_subject'"
        };
        assert!(texts(&world, plain).await[0].contains("(provider, connection, provider_subject_id)"));
        // What goes with a user goes still.
        world.deliver("msg_gone", &deleted("ada", 9)).await;
        world.drain().await;
        assert_eq!(identities(&world).await, [""; 0]);
    }
}
