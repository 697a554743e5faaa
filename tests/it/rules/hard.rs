//! **`deletion.mode = hard`**: no row is left, unless one of the application's own refers to it.

use std::collections::BTreeSet;

use super::{execute, number, texts};
use crate::support::{
    organizations::{member, organization},
    people::{deleted, user},
    world::worlds,
};

/// Tables of an application: two that refuse, one at once and one only at the commit; two that let go.
fn tables(id: &str) -> String {
    let users = if id == "uuid" { "clerk_sync.users" } else { "users" };
    let table = |name: &str, rule: &str| {
        format!(
            "create table {name} (no integer primary key, person {id}, constraint {name}_person foreign key (person) references {users} (id) {rule});"
        )
    };
    [
        table("orders", ""),
        table("invoices", "deferrable initially deferred"),
        table("visits", "on delete cascade"),
        table("notes", "on delete set null"),
    ]
    .concat()
}

#[tokio::test]
async fn no_row_is_left_unless_the_applications_own_refers_to_it() {
    let people = ["ada", "ben", "cleo", "dora", "eve", "finn"];
    for world in worlds(&[("deletion.mode", "hard".into())]).await {
        execute(&world, &tables(if world.name == "postgres" { "uuid" } else { "text" })).await;
        for name in people {
            world.deliver(&format!("msg_{name}"), &user(name, 1)).await;
        }
        world.deliver("msg_org", &organization("books", "ada", 1)).await;
        world.deliver("msg_m1", &member("books", "ada", 2, "org:admin")).await;
        world.deliver("msg_m2", &member("books", "finn", 3, "org:member")).await;
        world.drain().await;
        for (table, name) in [("orders", "ada"), ("invoices", "ben"), ("visits", "cleo"), ("notes", "dora")] {
            let insert =
                format!("insert into {table} select 1, id from clerk_sync.users where clerk_id = 'user_{name}'");
            execute(&world, &insert).await;
        }
        for name in ["ada", "ben", "cleo", "dora", "eve", "gus"] {
            world.deliver(&format!("msg_{name}_gone"), &deleted(name, 10)).await;
        }
        world.drain().await;
        for name in ["ada", "ben", "cleo", "dora", "eve", "gus"] {
            let row = world.inbox(&format!("msg_{name}_gone")).await;
            let end = (row.state.as_str(), row.outcome.as_deref());
            assert_eq!(end, ("done", Some("deleted")), "{}: {name} {row:?}", world.name);
        }
        let left = texts(
            &world,
            "select clerk_id || ' ' || status || coalesce(email, '') as t from clerk_sync.users order by 1",
        )
        .await;
        let expected = ["user_ada deleted", "user_ben deleted", "user_finn activefinn@example.com"];
        assert_eq!(left, expected, "{}: the emptied row where something refers to it, no row elsewhere", world.name);
        let alerts = texts(
            &world,
            "select subject || ': ' || text as t from clerk_sync.alerts where kind = 'deletion.refused' order by 1",
        )
        .await;
        let names = if world.name == "postgres" {
            ["orders_person", "invoices_person"]
        } else {
            ["orders.person", "invoices.person"]
        };
        assert_eq!(alerts.len(), 2, "{}: {alerts:?}", world.name);
        for ((alert, person), constraint) in alerts.iter().zip(["user_ada", "user_ben"]).zip(names) {
            assert!(alert.starts_with(person) && alert.contains(constraint), "{}: {alert}", world.name);
        }
        for (table, rows) in [("orders", 1), ("invoices", 1), ("visits", 0), ("notes where person is null", 1)] {
            assert_eq!(
                number(&world, &format!("select count(*) as n from {table}")).await,
                rows,
                "{}: {table}",
                world.name
            );
        }
        // Facts are never erased, so nobody comes back; memberships went, and the owner with them.
        world.deliver("msg_late", &user("eve", 20)).await;
        world.drain().await;
        assert_eq!(world.inbox("msg_late").await.outcome.as_deref(), Some("tombstoned"), "{}", world.name);
        let owner = texts(
            &world,
            "select u.clerk_id as t from clerk_sync.organizations o join clerk_sync.users u on u.id = o.owner_id where o.members_count = 1",
        )
        .await;
        assert_eq!(owner, ["user_finn"], "{}", world.name);
        let side = ["user_profiles", "user_settings", "user_metadata", "email_addresses", "user_roles"];
        for table in side {
            assert_eq!(
                number(&world, &format!("select count(*) as n from clerk_sync.{table}")).await,
                1,
                "{}: {table}",
                world.name
            );
        }
        // No address of those whose row went is remembered; of those whose row stays, as under soft.
        let remembered: BTreeSet<String> = texts(
            &world,
            "select u.clerk_id as t from clerk_sync.tombstone_addresses a join clerk_sync.users u on u.id = a.user_id",
        )
        .await
        .into_iter()
        .collect();
        assert_eq!(remembered, ["user_ada", "user_ben"].map(str::to_owned).into(), "{}", world.name);
    }
}

/// Whatever refers to whom, the others of the batch go: the batch is not split, and nothing is tried again.
#[tokio::test]
async fn one_that_is_refused_costs_the_others_of_the_batch_nothing() {
    for world in worlds(&[("deletion.mode", "hard".into()), ("deletion.breaker.max", "0".into())]).await {
        execute(&world, &tables(if world.name == "postgres" { "uuid" } else { "text" })).await;
        super::populate(&world, "p", 300).await;
        execute(&world, "insert into invoices select 1, id from clerk_sync.users where clerk_id = 'user_p150'").await;
        let gone: Vec<_> = (1..=300).map(|n| (format!("msg_{n}"), deleted(&format!("p{n}"), n))).collect();
        super::deliver_all(&world, &gone).await;
        world.drain().await;
        assert_eq!(texts(&world, "select clerk_id as t from clerk_sync.users").await, ["user_p150"], "{}", world.name);
        assert_eq!(
            number(&world, "select count(*) as n from clerk_sync.inbox where state = 'done' and attempts = 0").await,
            300
        );
        assert_eq!(
            number(&world, "select count(distinct finished_at) as n from clerk_sync.inbox").await,
            1,
            "{}: one batch",
            world.name
        );
    }
}
