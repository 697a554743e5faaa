//! **Relink**: what hangs on somebody who returned under a new Clerk id moves to the id that they had; and until when.

use clerk_sync::{domain::operators::Action, sync::operate::Operator};
use serde_json::json;

use super::{execute, number, texts};
use crate::support::{
    organizations::{member, organization},
    people::{address, deleted, user, with},
    world::{World, worlds},
};

/// Ada is deleted; somebody new shows her address.
async fn returned(world: &World) {
    world.deliver("msg_ada", &user("ada", 1)).await;
    world.drain().await;
    world.deliver("msg_gone", &deleted("ada", 2)).await;
    world.drain().await;
}

async fn comes(world: &World) {
    let hers = json!([address("ada@example.com", "idn_new")]);
    world.deliver("msg_new", &with(user("new", 3), "email_addresses", hers)).await;
    world.drain().await;
}

async fn relink(world: &World) -> bool {
    let app = &world.app;
    let operator = Operator { db: &app.db, policy: &app.policy, clock: &app.clock, name: "tests" };
    operator.act(Action::Relink { from: "user_ada".into(), to: "user_new".into() }).await.is_ok()
}

#[tokio::test]
async fn memberships_ownership_and_local_roles_move() {
    for world in worlds(&[]).await {
        returned(&world).await;
        let id = texts(&world, "select cast(id as text) as t from clerk_sync.users").await;
        comes(&world).await;
        world.deliver("msg_org", &organization("books", "new", 4)).await;
        world.deliver("msg_m", &member("books", "new", 5, "org:admin")).await;
        world.drain().await;
        execute(
            &world,
            "insert into clerk_sync.user_roles (user_id, role_id, source)
                select u.id, r.id, 'local' from clerk_sync.users u cross join clerk_sync.roles r where u.clerk_id = 'user_new'
                on conflict do nothing",
        )
        .await;
        let joined = number(&world, "select joined_seq as n from clerk_sync.organization_memberships").await;
        let roles = "select r.name || ' ' || x.source as t from clerk_sync.user_roles x join clerk_sync.roles r on r.id = x.role_id
            join clerk_sync.users u on u.id = x.user_id where u.clerk_id = 'user_new' order by 1";
        let before = texts(&world, roles).await;
        assert!(relink(&world).await, "{}", world.name);
        assert_eq!(
            texts(&world, "select cast(id as text) as t from clerk_sync.users").await,
            id,
            "{}: one row",
            world.name
        );
        assert_eq!(texts(&world, "select clerk_id as t from clerk_sync.users").await, ["user_new"], "{}", world.name);
        assert_eq!(texts(&world, roles).await, before, "{}: what the application granted stays", world.name);
        for table in [
            "select cast(owner_id as text) as t from clerk_sync.organizations",
            "select cast(user_id as text) as t from clerk_sync.organization_memberships",
        ] {
            assert_eq!(texts(&world, table).await, id, "{}: {table}", world.name);
        }
        assert_eq!(number(&world, "select joined_seq as n from clerk_sync.organization_memberships").await, joined);
        assert_eq!(
            number(&world, "select count(*) as n from clerk_sync.tombstone_addresses").await,
            0,
            "{}",
            world.name
        );
    }
}

/// The window ends when it ends, not when its hashes are swept away.
#[tokio::test]
async fn after_the_window_nobody_returns() {
    for world in worlds(&[]).await {
        returned(&world).await;
        execute(
            &world,
            "update clerk_sync.tombstone_addresses set expires_at = (select min(received_at) from clerk_sync.inbox)",
        )
        .await;
        comes(&world).await;
        assert_eq!(
            number(&world, "select count(*) as n from clerk_sync.alerts").await,
            0,
            "{}: nothing is offered",
            world.name
        );
        assert!(!relink(&world).await, "{}", world.name);
    }
}
