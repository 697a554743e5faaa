//! Receipts: their bodies, then their rows.

use clerk_sync::{
    clerk::private::BODY_EMPTIED,
    inbox::{admin, list, receive::Accepted},
    sync::replay::{self, Selection},
    upkeep::retention::Removed,
};
use serde_json::{Value, json};

use super::{after_days, execute, number, round};
use crate::support::{
    people::{deleted, user, with},
    server::{ADMIN, Server, person},
    world::{World, worlds},
};

/// One event in each state, named after it; all but `pending` ended just now.
async fn every_state(world: &World) {
    let nameless = |name| with(with(user(name, 1), "first_name", Value::Null), "last_name", Value::Null);
    world.deliver("msg_done", &user("ada", 1)).await;
    world.deliver("msg_skipped", &json!({"type": "plan.changed", "data": {"id": "plan_1"}})).await;
    world.deliver("msg_rejected", &nameless("eve")).await;
    world.deliver("msg_discarded", &nameless("mallory")).await;
    for state in ["conflict", "waiting", "held", "dead"] {
        world.deliver(&format!("msg_{state}"), &user(state, 1)).await;
    }
    world.drain().await;
    admin::discard(&world.app.db, "msg_discarded", world.app.clock.now()).await.unwrap();
    execute(&world.app, "update clerk_sync.inbox set state = substr(svix_id, 5), outcome = substr(svix_id, 5) where svix_id in ('msg_conflict', 'msg_waiting', 'msg_held', 'msg_dead')").await;
    world.deliver("msg_pending", &user("late", 1)).await;
}

const STATES: [&str; 9] =
    ["conflict", "dead", "discarded", "done", "held", "pending", "rejected", "skipped", "waiting"];

#[tokio::test]
async fn bodies_of_events_that_ended_well_are_emptied_and_no_others() {
    for world in worlds(&[]).await {
        every_state(&world).await;
        assert_eq!(round(&world.app, 29).await.bodies, 0, "{}: not yet", world.name);
        let before = world.inbox("msg_done").await;
        let removed = round(&world.app, 31).await;
        assert_eq!((removed.bodies, removed.receipts), (2, 0), "{}", world.name);
        for state in STATES {
            let row = world.inbox(&format!("msg_{state}")).await;
            assert_eq!(row.state, state, "{}", world.name);
            assert_eq!(row.body.is_none(), ["done", "skipped"].contains(&state), "{}: {state}", world.name);
        }
        // Everything else of the row is as it was.
        assert_eq!(world.inbox("msg_done").await, entity::inbox::Model { body: None, ..before });
        assert_eq!(round(&world.app, 31).await.bodies, 0, "once is enough");
    }
}

#[tokio::test]
async fn an_event_without_its_body_keeps_the_end_it_had() {
    for world in worlds(&[]).await {
        let (app, db) = (&world.app, &world.app.db);
        world.deliver("msg_ada", &user("ada", 1)).await;
        world.deliver("msg_ben", &user("ben", 1)).await;
        world.drain().await;
        execute(app, "update clerk_sync.inbox set body = null where svix_id = 'msg_ben'").await;
        let ben = world.inbox("msg_ben").await;
        let read = async || replay::page(db, &Selection::default(), 0, 10).await.unwrap().unwrap();
        let page = read().await;
        assert_eq!(page.emptied().collect::<Vec<_>>(), ["msg_ben"]);
        let dry = replay::dry_run(db, page, &app.policy, &app.clock, None).await.unwrap();
        assert_eq!((dry.emptied, dry.outcomes.len()), (vec!["msg_ben".to_owned()], 1));
        assert_eq!(dry.outcomes[0].0, "msg_ada");
        let page = read().await;
        assert_eq!(replay::requeue(db, &page, app.clock.now()).await.unwrap().len(), 1, "{}", world.name);
        world.drain().await;
        assert_eq!(world.inbox("msg_ben").await, ben, "{}", world.name);
        assert_eq!(world.inbox("msg_ada").await.outcome.as_deref(), Some("unchanged"));
        // Emptied after it was selected.
        let page = read().await;
        assert_eq!(round(app, 31).await.bodies, 1);
        assert!(replay::requeue(db, &page, app.clock.now()).await.unwrap().is_empty(), "{}", world.name);
        let refused = admin::retry(db, "msg_ben", app.clock.now()).await.unwrap_err();
        assert!(refused.to_string().contains(BODY_EMPTIED), "{refused}");
        assert_eq!(world.inbox("msg_ben").await, ben);
        let shown = list::show(db, "msg_ben").await.unwrap().unwrap();
        assert_eq!((shown["body"].is_null(), shown["body_note"].as_str()), (true, Some(BODY_EMPTIED)));
        // Types whose bodies are never stored need none.
        world.deliver("msg_mail", &json!({"type": "email.created", "data": {"id": "ema_1"}})).await;
        world.drain().await;
        assert!(!list::show(db, "msg_mail").await.unwrap().unwrap().contains_key("body_note"));
        let mail = Selection { svix_id: Some("msg_mail".into()), ..Selection::default() };
        let page = replay::page(db, &mail, 0, 10).await.unwrap().unwrap();
        assert_eq!(replay::requeue(db, &page, app.clock.now()).await.unwrap().len(), 1, "{}", world.name);
    }
}

#[tokio::test]
async fn operators_are_told_that_a_body_is_gone() {
    for server in Server::start_all(&[]).await {
        server.sync("msg_ada", &person("user_ada", 1, json!({}))).await;
        assert!(server.admin("/v1/admin/events/msg_ada").await.get("body_note").is_none());
        assert_eq!(round(&server.app, 31).await.bodies, 1, "{}", server.name);
        let shown = server.admin("/v1/admin/events/msg_ada").await;
        assert_eq!((shown["body"].is_null(), shown["body_note"].as_str()), (true, Some(BODY_EMPTIED)));
        let answer = server.post("/v1/admin/events/msg_ada/retry", ADMIN).await;
        answer.is_problem(409, "conflict_condition", server.name);
        assert!(answer.text.contains(BODY_EMPTIED), "{}", answer.text);
        assert_eq!(server.admin("/v1/admin/events/msg_ada").await["outcome"], "created");
    }
}

#[tokio::test]
async fn rows_of_events_that_ended_are_removed_and_a_repetition_does_no_harm() {
    for world in worlds(&[]).await {
        every_state(&world).await;
        world.deliver("msg_gone", &user("gone", 1)).await;
        world.deliver("msg_gone_deleted", &deleted("gone", 2)).await;
        execute(
            &world.app,
            "update clerk_sync.inbox set available_at = '2100-01-01T00:00:00+00:00' where svix_id = 'msg_pending'",
        )
        .await;
        world.drain().await;
        assert_eq!(round(&world.app, 89).await.receipts, 0, "{}: not yet", world.name);
        assert_eq!(round(&world.app, 91).await.receipts, 5, "{}", world.name);
        let kept = number(&world.app, "select count(*) as n from clerk_sync.inbox where state in ('conflict', 'dead', 'held', 'pending', 'rejected', 'waiting')").await;
        assert_eq!(
            (kept, number(&world.app, "select count(*) as n from clerk_sync.inbox").await),
            (6, 6),
            "{}",
            world.name
        );
        // The same deliveries again: new to the inbox, old to everybody else.
        let feed = number(&world.app, "select max(seq) as n from clerk_sync.outbox").await;
        assert_eq!(world.deliver("msg_done", &user("ada", 1)).await, Accepted::New);
        world.deliver("msg_gone", &user("gone", 1)).await;
        world.drain().await;
        assert_eq!(world.inbox("msg_done").await.outcome.as_deref(), Some("unchanged"));
        assert_eq!(world.inbox("msg_gone").await.outcome.as_deref(), Some("tombstoned"));
        assert_eq!(
            number(&world.app, "select max(seq) as n from clerk_sync.outbox").await,
            feed,
            "nobody is told anything"
        );
        assert!(world.inbox("msg_done").await.seq > world.inbox("msg_conflict").await.seq, "no seq is given twice");
    }
}

#[tokio::test]
async fn nothing_goes_where_retention_is_never() {
    let never = ["bodies", "receipts", "outbox", "audit"].map(|key| (format!("retention.{key}"), "0s".to_owned()));
    let never: Vec<_> = never.iter().map(|(key, value)| (key.as_str(), value.clone())).collect();
    for world in worlds(&never).await {
        every_state(&world).await;
        assert_eq!(round(&world.app, 100_000).await, Removed::default(), "{}", world.name);
    }
}

#[tokio::test]
async fn a_round_goes_in_chunks_and_ends() {
    for world in worlds(&[]).await {
        for n in 0..10 {
            world.deliver(&format!("msg_{n}"), &user(&format!("u{n}"), 1)).await;
        }
        world.drain().await;
        // They ended at one moment.
        assert_eq!(number(&world.app, "select count(distinct finished_at) as n from clerk_sync.inbox").await, 1);
        let mut retention = after_days(&world.app, 500);
        (retention.pace.rows, retention.pace.most) = (3, 2);
        let first = retention.round().await.unwrap().unwrap();
        assert_eq!((first.bodies, first.receipts, first.changes, first.entries), (6, 6, 6, 6), "{}", world.name);
        let second = retention.round().await.unwrap().unwrap();
        // All but the newest change.
        assert_eq!((second.receipts, second.changes, second.entries), (4, 3, 4), "{}", world.name);
        assert_eq!(retention.round().await.unwrap().unwrap(), Removed::default(), "{}", world.name);
    }
}

/// What a merge of two users at Clerk says, as far as it is known: which one is kept, and whom it absorbed.
fn merged() -> Value {
    json!({"type": "user.merged", "object": "event", "timestamp": 1_792_000_000_000_u64, "data": {
        "id": "user_ada", "merged_user_id": "user_dup", "email": "dup@example.com",
        "phone_numbers": [{"id": "idn_1", "backup_codes": ["s3cr3t-backup"]}],
        "unsafe_metadata": {"nonce": "theirs"}}})
}

/// Types that a later version reads: kept with their bodies, as far as those may be stored at all.
#[tokio::test]
async fn what_a_later_version_reads_is_kept() {
    let types = [
        "role.updated",
        "permission.created",
        "organizationDomain.created",
        "subscription.active",
        "subscriptionItem.ended",
        "paymentAttempt.updated",
    ];
    for world in worlds(&[]).await {
        world.deliver("msg_ada", &user("ada", 1)).await;
        world.deliver("msg_merged", &merged()).await;
        for event_type in
            types.into_iter().chain(["waitlistEntry.created", "organizationInvitation.accepted", "plan.changed"])
        {
            let body = json!({"type": event_type, "data": {"id": "x_1", "url": "https://example.com/t1cket"}});
            world.deliver(&format!("msg_{event_type}"), &body).await;
        }
        world.drain().await;
        assert_eq!(
            round(&world.app, 31).await.bodies,
            2,
            "{}: Ada's, and of the type that no version reads",
            world.name
        );
        assert_eq!(round(&world.app, 31).await.bodies, 0, "{}: none of the others is found again", world.name);
        let row = world.inbox("msg_merged").await;
        assert_eq!((row.state.as_str(), row.outcome.as_deref()), ("skipped", Some("ignored")), "{}", world.name);
        assert!(row.reason.unwrap().starts_with("not applied yet"), "{}", world.name);
        assert_eq!(row.user_ids, json!(["user_ada", "user_dup"]), "{}", world.name);
        let body = String::from_utf8(row.body.unwrap()).unwrap();
        assert!(body.contains("dup@example.com") && body.contains("theirs") && !body.contains("s3cr3t"), "{body}");
        for event_type in types {
            assert!(world.inbox(&format!("msg_{event_type}")).await.body.is_some(), "{}: {event_type}", world.name);
        }
        for bodiless in ["waitlistEntry.created", "organizationInvitation.accepted"] {
            let row = world.inbox(&format!("msg_{bodiless}")).await;
            assert_eq!((row.body, row.outcome.as_deref()), (None, Some("ignored")), "{}: {bodiless}", world.name);
            assert!(row.reason.unwrap().starts_with("not applied yet"), "{}: {bodiless}", world.name);
        }
        assert!(world.inbox("msg_plan.changed").await.body.is_none(), "{}", world.name);
    }
}

/// The index leaves kept bodies out, so that retention's statement never passes over them.
#[tokio::test]
async fn kept_bodies_are_no_part_of_retentions_index() {
    use clerk_sync::db::Stmt;
    let world = crate::support::world::sqlite(&[]).await;
    let read = &world.app.db.read;
    let explain =
        Stmt::new(read, "explain query plan select seq from clerk_sync.inbox where ").sql(entity::inbox::SPENT);
    let rows = explain.sql(" and finished_at < 'x' order by finished_at limit 5").all(read).await.unwrap();
    let plan: String = rows.iter().map(|row| row.try_get::<String>("", "detail").unwrap()).collect();
    assert!(plan.contains("inbox_bodies (finished_at<?)") && !plan.contains("TEMP B-TREE"), "{plan}");
}

#[tokio::test]
async fn erasing_reaches_what_is_kept_for_a_later_version() {
    use crate::support::dump::naming;
    for world in worlds(&[]).await {
        world.deliver("msg_dup", &user("dup", 1)).await;
        world.deliver("msg_merged", &merged()).await;
        world.deliver("msg_gone", &deleted("dup", 2)).await;
        world.drain().await;
        assert!(!naming(&world.app.db, "dup@example.com").await.is_empty(), "{}", world.name);
        world.app.eraser().erase(&["user_dup".to_owned()].into()).await.unwrap();
        assert_eq!(naming(&world.app.db, "dup@example.com").await, Vec::<String>::new(), "{}", world.name);
    }
}
