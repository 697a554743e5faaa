//! **Roles** of source `clerk` follow Clerk; those that the application granted are never touched.

use serde_json::json;

use super::{execute, texts};
use crate::support::{
    people::{user, with},
    world::worlds,
};

#[tokio::test]
async fn a_role_that_clerk_takes_back_stays_where_the_application_granted_it_too() {
    for world in
        worlds(&[("roles.path", "public_metadata.role".into()), ("roles.grantable", "editor,viewer".into())]).await
    {
        let of = |role: &str, at: u64| with(user("ada", at), "public_metadata", json!({ "role": role }));
        world.deliver("msg_1", &of("editor", 1)).await;
        world.drain().await;
        execute(
            &world,
            "insert into clerk_sync.user_roles (user_id, role_id, source) select user_id, role_id, 'local' from clerk_sync.user_roles",
        )
        .await;
        world.deliver("msg_2", &of("viewer", 2)).await;
        world.drain().await;
        let roles = "select r.name || ' ' || x.source as t from clerk_sync.user_roles x join clerk_sync.roles r on r.id = x.role_id order by 1";
        assert_eq!(texts(&world, roles).await, ["editor local", "viewer clerk"], "{}", world.name);
    }
}
