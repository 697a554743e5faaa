//! **Bans never wait**: banned and deprovisioned are facts of a user's highest version, whether it applies or not.

use clerk_sync::{
    clerk::object::{Kind, stored},
    domain::State,
    sync::objects::Origin,
};
use serde_json::{Value, json, value::RawValue};

use super::{execute, number, texts};
use crate::support::{
    organizations::{ended, member, organization},
    people::{address, deleted, user, with},
    steps,
    world::{World, worlds},
};

/// Ben's snapshot at `at` with Ada's address.
fn clashing(at: u64) -> Value {
    with(user("ben", at), "email_addresses", json!([address("ada@example.com", "idn_ben")]))
}

async fn deliver(world: &World, id: &str, body: &Value) -> String {
    world.deliver(id, body).await;
    world.drain().await;
    world.inbox(id).await.state
}

async fn status(world: &World, name: &str) -> String {
    texts(world, &format!("select status as t from clerk_sync.users where clerk_id = 'user_{name}'")).await.join(" ")
}

async fn facts(world: &World, name: &str) -> String {
    let flag = |name: &str| format!("case when {name} then '{name}' else '-' end");
    let sql = format!(
        "select {} || ' ' || {} as t from clerk_sync.subjects where key = 'user_{name}'",
        flag("banned"),
        flag("deprovisioned")
    );
    texts(world, &sql).await.join(" ")
}

#[tokio::test]
async fn the_newest_version_decides_also_where_it_is_in_conflict() {
    for world in worlds(&[]).await {
        for name in ["ada", "ben"] {
            assert_eq!(deliver(&world, &format!("msg_{name}"), &user(name, 1)).await, "done");
        }
        let before = number(&world, "select max(seq) as n from clerk_sync.outbox").await;
        assert_eq!(deliver(&world, "msg_2", &with(clashing(2), "banned", json!(true))).await, "conflict");
        assert_eq!((status(&world, "ben").await, facts(&world, "ben").await), ("banned".into(), "banned -".into()));
        let told = format!(
            "select event || ' ' || changed as t from clerk_sync.outbox where seq > {before} and topic = 'users'"
        );
        assert_eq!(
            texts(&world, &told.replace("|| changed", "|| cast(changed as text)")).await,
            ["user.updated [\"status\"]"],
            "{}",
            world.name
        );
        let audit = "select cast(diff as text) as t from clerk_sync.audit_log where subject = 'user_ben' and correlation_id = 'msg_2'";
        let diff: Value = serde_json::from_str(&texts(&world, audit).await[0]).unwrap();
        assert_eq!(diff, json!({"status": ["active", "banned"]}), "{}", world.name);
        // Nothing else of it shows, and its address goes on being in conflict.
        let shown = texts(&world, "select email as t from clerk_sync.users where clerk_id = 'user_ben'").await;
        assert_eq!(shown, ["ben@example.com"], "{}", world.name);
        // A repeat says nothing new.
        let head = number(&world, "select max(seq) as n from clerk_sync.outbox").await;
        assert_eq!(deliver(&world, "msg_2again", &with(clashing(2), "banned", json!(true))).await, "conflict");
        assert_eq!(number(&world, "select max(seq) as n from clerk_sync.outbox").await, head, "{}", world.name);
        // An older one changes nothing, nor does a replay.
        let older = with(user("ben", 1), "deprovisioned", json!(true));
        assert_eq!(deliver(&world, "msg_old", &older).await, "skipped");
        execute(
            &world,
            "update clerk_sync.inbox set state = 'pending', available_at = received_at where svix_id = 'msg_ben'",
        )
        .await;
        world.drain().await;
        assert_eq!(status(&world, "ben").await, "banned", "{}", world.name);
        // A newer one lifts it, in conflict or not.
        assert_eq!(deliver(&world, "msg_3", &clashing(3)).await, "conflict");
        assert_eq!((status(&world, "ben").await, facts(&world, "ben").await), ("active".into(), "- -".into()));
        execute(
            &world,
            "update clerk_sync.inbox set state = 'pending', available_at = received_at where svix_id = 'msg_2'",
        )
        .await;
        world.drain().await;
        assert_eq!(status(&world, "ben").await, "active", "{}: an old ban does not come back", world.name);
        let both = with(with(clashing(4), "banned", json!(true)), "deprovisioned", json!(true));
        assert_eq!(deliver(&world, "msg_4", &both).await, "conflict");
        assert_eq!(status(&world, "ben").await, "deprovisioned", "{}", world.name);
        // Once the address is free the whole version shows, and the status is the same.
        assert_eq!(deliver(&world, "msg_5", &deleted("ada", 900)).await, "done");
        let row =
            texts(&world, "select email || ' ' || status as t from clerk_sync.users where clerk_id = 'user_ben'").await;
        assert_eq!(row, ["ada@example.com deprovisioned"], "{}", world.name);
    }
}

#[tokio::test]
async fn a_user_whose_deletion_is_held_is_banned_and_unbanned() {
    for world in worlds(&[("organizations.sole_admin", "hold".into())]).await {
        for name in ["ada", "ben"] {
            deliver(&world, &format!("msg_{name}"), &user(name, 1)).await;
        }
        world.deliver("msg_org", &organization("books", "ada", 1)).await;
        world.deliver("msg_m1", &member("books", "ada", 2, "org:admin")).await;
        world.deliver("msg_m2", &member("books", "ben", 2, "org:member")).await;
        assert_eq!(deliver(&world, "msg_gone", &deleted("ada", 50)).await, "held");
        assert_eq!(deliver(&world, "msg_3", &with(user("ada", 60), "banned", json!(true))).await, "held");
        assert_eq!(status(&world, "ada").await, "banned", "{}", world.name);
        assert_eq!(deliver(&world, "msg_4", &user("ada", 70)).await, "held");
        assert_eq!(status(&world, "ada").await, "active", "{}", world.name);
    }
}

#[tokio::test]
async fn of_a_user_who_was_never_admitted_the_facts_are_kept() {
    for world in worlds(&[]).await {
        let nameless = |at| with(with(user("eve", at), "first_name", Value::Null), "last_name", Value::Null);
        assert_eq!(deliver(&world, "msg_1", &nameless(1)).await, "rejected");
        assert_eq!(deliver(&world, "msg_2", &with(nameless(2), "banned", json!(true))).await, "rejected");
        assert_eq!(facts(&world, "eve").await, "banned -", "{}", world.name);
        let inside = "select topic || ' ' || subject as t from clerk_sync.outbox where event = 'access.revoked'";
        assert_eq!(texts(&world, inside).await, ["internal user_eve"], "{}", world.name);
        // Admitted by an older snapshot they come as the newest one says.
        assert_eq!(deliver(&world, "msg_0", &user("eve", 0)).await, "skipped");
        assert_eq!(status(&world, "eve").await, "banned", "{}", world.name);
        assert_eq!(deliver(&world, "msg_3", &nameless(3)).await, "done");
        assert_eq!((status(&world, "eve").await, facts(&world, "eve").await), ("active".into(), "- -".into()));
    }
}

#[tokio::test]
async fn objects_of_the_api_take_the_same_way_and_leave_no_drift() {
    for world in worlds(&[]).await {
        for name in ["ada", "ben"] {
            deliver(&world, &format!("msg_{name}"), &user(name, 1)).await;
        }
        let object = |body: &Value| RawValue::from_string(body["data"].to_string()).unwrap();
        let ban = object(&with(clashing(5), "banned", json!(true)));
        let applier = world.app.applier();
        for origin in [Origin::Ensure, Origin::Backfill, Origin::Reconcile] {
            let report = applier.apply(vec![stored(Kind::User, &ban)], origin, false).await.unwrap();
            assert_eq!(report.applied[0].outcome.state, State::Conflict, "{}: {origin:?}", world.name);
            assert_eq!(status(&world, "ben").await, "banned", "{}: {origin:?}", world.name);
            let again = applier.apply(vec![stored(Kind::User, &ban)], origin, true).await.unwrap();
            assert!(again.changes.is_empty(), "{}: {origin:?}: {:?}", world.name, again.changes);
        }
        // What Clerk said before is no difference either.
        let old =
            applier.apply(vec![stored(Kind::User, &object(&user("ben", 1)))], Origin::Reconcile, true).await.unwrap();
        assert!(old.changes.is_empty(), "{}: {:?}", world.name, old.changes);
        let lifted = object(&clashing(6));
        applier.apply(vec![stored(Kind::User, &lifted)], Origin::Ensure, false).await.unwrap();
        assert_eq!(status(&world, "ben").await, "active", "{}", world.name);
    }
}

#[tokio::test]
async fn a_flag_that_is_no_boolean_counts_as_true() {
    for world in worlds(&[]).await {
        for (n, value) in [json!("false"), json!(0), json!({}), json!([])].into_iter().enumerate() {
            let at = 10 * (n as u64 + 1);
            assert_eq!(
                deliver(&world, &format!("msg_{n}a"), &with(user("ada", at), "banned", value.clone())).await,
                "done"
            );
            assert_eq!(status(&world, "ada").await, "banned", "{}: {value}", world.name);
            let reason = world.inbox(&format!("msg_{n}a")).await.reason;
            assert_eq!(reason.as_deref(), Some("field.invalid: taken as true: banned"), "{value}");
            deliver(&world, &format!("msg_{n}b"), &with(user("ada", at + 1), "banned", Value::Null)).await;
            assert_eq!(status(&world, "ada").await, "active", "{}", world.name);
        }
    }
}

#[tokio::test]
async fn an_upgrade_takes_over_what_the_rows_show() {
    for world in worlds(&[]).await {
        for name in ["ada", "ben", "eve"] {
            world.deliver(&format!("msg_{name}"), &user(name, 1)).await;
        }
        world.deliver("msg_org", &organization("books", "ada", 1)).await;
        world.deliver("msg_m1", &member("books", "ada", 2, "org:admin")).await;
        world.deliver("msg_m2", &member("books", "nobody", 2, "org:member")).await;
        world.deliver("msg_m3", &ended(member("books", "gone", 2, "org:member"))).await;
        world.drain().await;
        assert_eq!(deliver(&world, "msg_ben2", &with(clashing(2), "banned", json!(true))).await, "conflict");
        // As an earlier version left it: the ban in the conflict shows nowhere.
        steps::take_back(&world.app.db, "m20261130_000024_access_facts").await;
        execute(&world, "update clerk_sync.users set status = 'active'").await;
        execute(&world, "update clerk_sync.users set status = 'banned' where clerk_id = 'user_ada'").await;
        execute(&world, "update clerk_sync.users set status = 'deprovisioned' where clerk_id = 'user_eve'").await;
        steps::apply(&world.app.db).await;
        assert_eq!(facts(&world, "ada").await, "banned -", "{}", world.name);
        assert_eq!(facts(&world, "eve").await, "- deprovisioned", "{}", world.name);
        let ended = "case when deleted then ' ended' else '' end";
        let ids = format!(
            "select key || ' ' || pair || {ended} as t from clerk_sync.subjects where kind = 'membership_id' order by key"
        );
        let expected = [
            "orgmem_ada_books org_books/user_ada",
            "orgmem_gone_books org_books/user_gone ended",
            "orgmem_nobody_books org_books/user_nobody",
        ];
        assert_eq!(texts(&world, &ids).await, expected, "{}", world.name);
        world.drain().await;
        assert_eq!(world.inbox("msg_ben2").await.state, "conflict", "{}", world.name);
        assert_eq!((status(&world, "ben").await, facts(&world, "ben").await), ("banned".into(), "banned -".into()));
        assert_eq!(
            number(&world, "select count(*) as n from clerk_sync.conflicts where state = 'open'").await,
            1,
            "{}",
            world.name
        );
    }
}
