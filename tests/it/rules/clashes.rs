//! **Clashes** that come and go within one batch.

use serde_json::json;

use super::texts;
use crate::support::{
    people::{address, user, with},
    world::worlds,
};

#[tokio::test]
async fn a_conflict_that_is_over_within_its_batch_is_resolved() {
    for world in worlds(&[]).await {
        world.deliver("msg_ada", &user("ada", 1)).await;
        world.drain().await;
        let hers = json!([address("ada@example.com", "idn_ben")]);
        world.deliver("msg_ben1", &with(user("ben", 1), "email_addresses", hers)).await;
        world.deliver("msg_ben2", &user("ben", 2)).await;
        world.drain().await;
        assert_eq!(world.inbox("msg_ben2").await.state, "done", "{}", world.name);
        let conflicts = "select state || ' ' || case when resolved_at is null then 'open' else 'over' end as t from clerk_sync.conflicts";
        assert_eq!(texts(&world, conflicts).await, ["resolved over"], "{}", world.name);
    }
}
