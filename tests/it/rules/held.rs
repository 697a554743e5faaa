//! **Held deletions**: under `organizations.sole_admin = hold`, and what becomes of newer events of somebody held.

use serde_json::json;

use super::{number, texts};
use crate::support::{
    organizations::{member, organization},
    people::{deleted, user, with},
    world::worlds,
};

#[tokio::test]
async fn a_sole_administrator_is_held_and_so_are_their_newer_events() {
    for world in worlds(&[("organizations.sole_admin", "hold".into())]).await {
        for (id, body) in [
            ("msg_ada", user("ada", 1)),
            ("msg_ben", user("ben", 1)),
            ("msg_org", organization("books", "ada", 1)),
            ("msg_m1", member("books", "ada", 2, "org:admin")),
            ("msg_m2", member("books", "ben", 3, "org:member")),
        ] {
            world.deliver(id, &body).await;
        }
        world.drain().await;
        let before = number(&world, "select max(seq) as n from clerk_sync.outbox").await;
        world.deliver("msg_gone", &deleted("ada", 10)).await;
        world.drain().await;
        world.deliver("msg_newer", &with(user("ada", 20), "first_name", json!("Adah"))).await;
        world.deliver("msg_older", &user("ada", 0)).await;
        world.drain().await;
        let ends = [world.inbox("msg_gone").await, world.inbox("msg_newer").await, world.inbox("msg_older").await];
        assert_eq!(ends.clone().map(|row| row.state), ["held", "held", "skipped"], "{}", world.name);
        assert!(ends[0].reason.as_deref().unwrap().contains("org_books"), "the reason names the organisation");
        let name = texts(
            &world,
            "select first_name as t from clerk_sync.users where clerk_id = 'user_ada' and deletion_held_at is not null",
        )
        .await;
        assert_eq!(name, ["ada"], "{}: the row shows what it showed", world.name);
        // Its own facts rise: an address of hers is judged by her newest version.
        let newest =
            texts(&world, "select version as t from clerk_sync.subjects where key = 'user_ada' and not deleted").await;
        let shown = texts(&world, "select version as t from clerk_sync.users where clerk_id = 'user_ada'").await;
        assert!(newest > shown, "{}: {newest:?} {shown:?}", world.name);
        let told = texts(
            &world,
            &format!("select topic || ' ' || event as t from clerk_sync.outbox where seq > {before} order by seq"),
        )
        .await;
        assert_eq!(
            told,
            ["users user.updated", "admin event.held", "admin alert.raised", "admin event.held"],
            "{}",
            world.name
        );
        // An administrator joins: nobody is released by that; an operator is asked, once.
        world
            .deliver(
                "msg_m3",
                &with(member("books", "ben", 3, "org:admin"), "updated_at", json!(1_760_000_000_900_u64)),
            )
            .await;
        world.drain().await;
        assert_eq!(world.inbox("msg_gone").await.state, "held");
        assert_eq!(number(&world, "select count(*) as n from clerk_sync.alerts where kind = 'deletion.held'").await, 1);
        assert_eq!(number(&world, "select count(*) as n from clerk_sync.organization_memberships").await, 2);
    }
}
