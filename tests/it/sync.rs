//! The loop around the plan: batches, failures, replicas.

use std::{collections::BTreeSet, time::Duration};

use clerk_sync::{
    clerk::decode::decode,
    db::Stmt,
    domain::{Event, State},
    inbox::due::{self, Bounds},
    outbox::feed,
    sync::commit::{CommitError, commit},
};
use sea_orm::{ConnectionTrait, EntityTrait};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::support::{
    people::{deleted, user, with},
    world::{World, postgres, worlds},
};

async fn number(world: &World, sql: &'static str) -> i64 {
    Stmt::new(&world.app.db.read, sql).all(&world.app.db.read).await.unwrap()[0].try_get("", "n").unwrap()
}

/// A batch is split only on errors of the data, until the guilty event is alone: it ends `dead`, the others apply.
#[tokio::test]
async fn one_event_that_cannot_be_written_ends_dead_and_takes_nobody_with_it() {
    for world in
        worlds(&[("sync.max_attempts", "2".into()), ("sync.backoff", "1ms".into()), ("sync.backoff_max", "1ms".into())])
            .await
    {
        let db = &world.app.db;
        let guard = if world.name == "postgres" {
            "alter table clerk_sync.users add constraint no_poison check (first_name <> 'poison')"
        } else {
            "create trigger no_poison before insert on users when new.first_name = 'poison' begin select raise(abort, 'no'); end"
        };
        db.write.execute_unprepared(guard).await.unwrap();
        for name in ["ada", "ben", "poison", "cleo", "dora"] {
            world.deliver(&format!("msg_{name}"), &user(name, 1)).await;
        }
        world.drain().await;
        for _ in 0..20 {
            tokio::time::sleep(Duration::from_millis(5)).await;
            world.drain().await;
        }
        let poison = world.inbox("msg_poison").await;
        assert_eq!(
            (poison.state.as_str(), poison.outcome.as_deref()),
            ("dead", Some("dead")),
            "{}: {poison:?}",
            world.name
        );
        assert!(poison.reason.unwrap().starts_with("data:"));
        assert_eq!(number(&world, "select count(*) as n from clerk_sync.users").await, 4);
        assert_eq!(number(&world, "select count(*) as n from clerk_sync.inbox where state = 'done'").await, 4);
        assert_eq!(number(&world, "select count(*) as n from clerk_sync.outbox where event = 'event.dead'").await, 1);
    }
}

/// A row that ended after it was read is left out of the commit.
#[tokio::test]
async fn what_another_applier_has_applied_is_left_out_of_the_commit() {
    for world in worlds(&[]).await {
        let app = &world.app;
        world.deliver("msg_1", &user("ada", 1)).await;
        world.deliver("msg_2", &user("ben", 1)).await;
        let (slow, fast) = (read(&world, 10).await, read(&world, 1).await);
        assert_eq!((slow.len(), fast.len()), (2, 1), "{}: reading claims nothing", world.name);
        let all = |events: &'static [Event]| events.iter().collect::<Vec<_>>();
        let (slow, fast) = (all(slow.leak()), all(fast.leak()));
        let done = commit(&app.db, State::Pending, &fast, &app.policy, &app.clock).await.unwrap();
        assert_eq!(done.outcomes.len(), 1);
        let rest = commit(&app.db, State::Pending, &slow, &app.policy, &app.clock).await.unwrap();
        assert_eq!(rest.outcomes.iter().map(|(seq, _)| *seq).collect::<Vec<_>>(), [2], "{}", world.name);
        let none = commit(&app.db, State::Pending, &slow, &app.policy, &app.clock).await.unwrap();
        assert!(none.outcomes.is_empty(), "{}", world.name);
        assert_eq!(number(&world, "select count(*) as n from clerk_sync.users").await, 2);
        assert_eq!(number(&world, "select max(attempts) as n from clerk_sync.inbox").await, 0);
    }
}

async fn read(world: &World, rows: u32) -> Vec<Event> {
    let bounds = Bounds { rows, bytes: usize::MAX };
    let rows = due::read(&world.app.db, None, bounds, world.app.clock.now()).await.unwrap();
    rows.into_iter().map(|row| decode(row.stored, None)).collect()
}

/// A batch's rows are not locked while it is planned: one may change from under it. Nothing is committed then.
#[tokio::test]
async fn a_row_that_changes_during_the_commit_undoes_it() {
    let Some(world) = postgres(&[]).await else { return };
    let app = &world.app;
    world.deliver("msg_ada", &user("ada", 1)).await;
    world.deliver("msg_ben", &user("ben", 1)).await;
    let events = read(&world, 10).await;
    // The commit comes as far as the audit trail, which stands behind the check and before the end.
    let held = app.db.begin().await.unwrap();
    held.execute_unprepared("lock table clerk_sync.audit_log in access exclusive mode").await.unwrap();
    let committing = app.clone();
    let slow = tokio::spawn(async move {
        let events: Vec<_> = events.iter().collect();
        commit(&committing.db, State::Pending, &events, &committing.policy, &committing.clock).await
    });
    let waits = "select count(*) as n from pg_locks where relation = 'clerk_sync.audit_log'::regclass and not granted";
    while number(&world, waits).await == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    app.db
        .lazy
        .execute_unprepared("update clerk_sync.inbox set state = 'discarded' where svix_id = 'msg_ben'")
        .await
        .unwrap();
    held.rollback().await.unwrap();
    assert!(matches!(slow.await.unwrap(), Err(CommitError::Changed)));
    assert_eq!(number(&world, "select count(*) as n from clerk_sync.users").await, 0);
    assert_eq!(world.drain().await, 1, "the other one applies");
}

/// Also where no rule of ours removes them: no row is left of somebody whose own row went.
#[tokio::test]
async fn whoever_removes_a_person_removes_what_hangs_on_them() {
    for world in worlds(&[]).await {
        world.deliver("msg_ada", &user("ada", 1)).await;
        world.deliver("msg_ben", &user("ben", 1)).await;
        world.drain().await;
        let db = &world.app.db.write;
        assert!(
            db.execute_unprepared("delete from clerk_sync.roles").await.is_err(),
            "{}: somebody has it",
            world.name
        );
        db.execute_unprepared("delete from clerk_sync.users where clerk_id = 'user_ada'").await.unwrap();
        for table in [
            "select count(*) as n from clerk_sync.user_profiles",
            "select count(*) as n from clerk_sync.user_settings",
            "select count(*) as n from clerk_sync.user_metadata",
            "select count(*) as n from clerk_sync.email_addresses",
            "select count(*) as n from clerk_sync.user_roles",
        ] {
            assert_eq!(number(&world, table).await, 1, "{}: {table}", world.name);
        }
        assert_eq!(number(&world, "select count(*) as n from clerk_sync.federated_identities f where not exists (select 1 from clerk_sync.users u where u.id = f.user_id)").await, 0);
    }
}

/// A later word about a deletion that carries an earlier time does not put off when the person is to be erased.
#[tokio::test]
async fn when_somebody_was_buried_stays() {
    for world in worlds(&[]).await {
        world.deliver("msg_1", &deleted("ada", 50)).await;
        world.drain().await;
        let long_ago = "update clerk_sync.subjects set buried_at = deleted_at";
        world.app.db.write.execute_unprepared(long_ago).await.unwrap();
        world.deliver("msg_2", &deleted("ada", 20)).await;
        world.drain().await;
        let subject = entity::subjects::Entity::find().one(&world.app.db.read).await.unwrap().unwrap();
        let ms = |time: Option<clerk_sync::clock::Time>| time.unwrap().timestamp_millis() - 1_760_000_000_000;
        assert_eq!((ms(subject.deleted_at), ms(subject.buried_at)), (20, 50), "{}", world.name);
    }
}

/// A change that names nothing but quiet fields is written, and nobody is told.
#[tokio::test]
async fn quiet_fields_are_written_without_telling_anybody() {
    for world in worlds(&[]).await {
        world.deliver("msg_1", &user("ada", 1)).await;
        world.deliver("msg_2", &with(user("ada", 2), "last_sign_in_at", json!(1_760_000_000_777_u64))).await;
        world.deliver("msg_3", &with(user("ada", 3), "last_name", json!("Lovelace"))).await;
        world.drain().await;
        let outcomes = [world.inbox("msg_1").await, world.inbox("msg_2").await, world.inbox("msg_3").await]
            .map(|row| row.outcome.unwrap());
        assert_eq!(outcomes, ["created", "unchanged", "updated"]);
        let feed = feed::read(&world.app.db.read, 0, 10).await.unwrap();
        assert_eq!(feed.iter().map(|entry| entry.event.as_str()).collect::<Vec<_>>(), ["user.created", "user.updated"]);
        assert_eq!(feed[1].changed, json!(["display_name", "last_name"]), "{}", world.name);
        let ada = entity::users::Entity::find().one(&world.app.db.read).await.unwrap().unwrap();
        assert_eq!(ada.rev, 2);
        assert_eq!(ada.last_sign_in_at, None, "a snapshot is whole: what msg_3 does not carry is empty");
    }
}

/// A deleted person leaves the emptied row and the tombstone; nothing that names them is left in the side tables.
#[tokio::test]
async fn deletion_empties_everything() {
    for world in worlds(&[]).await {
        world.deliver("msg_1", &with(user("ada", 1), "private_metadata", json!({"secret": 1}))).await;
        world.deliver("msg_2", &deleted("ada", 5)).await;
        world.deliver("msg_3", &user("ada", 9)).await;
        world.drain().await;
        assert_eq!(world.inbox("msg_3").await.outcome.as_deref(), Some("tombstoned"));
        for table in
            ["user_profiles", "user_settings", "user_metadata", "email_addresses", "federated_identities", "user_roles"]
        {
            let rows = Stmt::new(&world.app.db.read, "select count(*) as n from clerk_sync.")
                .sql(table)
                .all(&world.app.db.read)
                .await
                .unwrap();
            assert_eq!(rows[0].try_get::<i64>("", "n").unwrap(), 0, "{}: {table}", world.name);
        }
        assert_eq!(number(&world, "select count(*) as n from clerk_sync.tombstone_addresses").await, 1);
        let row = entity::users::Entity::find().one(&world.app.db.read).await.unwrap().unwrap();
        assert_eq!((row.status.as_str(), row.email, row.first_name, row.version), ("deleted", None, None, None));
        assert_eq!(row.deleted_at.unwrap().timestamp_millis(), 1_760_000_000_005);
    }
}

/// Of two replicas on one database one applies; a reader of the feed on each sees every number once, in order (P5).
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn p5_with_two_replicas_the_feed_stays_in_order() {
    for world in worlds(&[("sync.batch", "7".into()), ("sync.poll", "20ms".into())]).await {
        if world.name != "postgres" {
            continue;
        }
        let stop = CancellationToken::new();
        let (one, two) = (world.app.worker(), world.app.worker());
        let workers = [tokio::spawn(one.run(stop.clone())), tokio::spawn(two.run(stop.clone()))];
        let readers: Vec<_> = (0..2)
            .map(|_| {
                let (db, stop) = (world.app.db.clone(), stop.clone());
                tokio::spawn(async move {
                    let mut seen = Vec::new();
                    loop {
                        let ended = stop.is_cancelled();
                        let after = seen.last().copied().unwrap_or(0);
                        let page = feed::read(&db.read, after, 50).await.unwrap();
                        if page.is_empty() && ended {
                            return seen;
                        }
                        seen.extend(page.iter().map(|entry| entry.seq));
                    }
                })
            })
            .collect();
        for round in 0..30_u64 {
            for person in 0..20_u64 {
                world.deliver(&format!("msg_{round}_{person}"), &user(&format!("p{person}x{round}"), round)).await;
            }
        }
        while number(&world, "select count(*) as n from clerk_sync.inbox where state = 'pending'").await > 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        stop.cancel();
        for worker in workers {
            worker.await.unwrap();
        }
        for reader in readers {
            assert_eq!(reader.await.unwrap(), (1..=600).collect::<Vec<i64>>());
        }
        let batches = Stmt::new(&world.app.db.read, "select distinct finished_at from clerk_sync.inbox")
            .all(&world.app.db.read)
            .await
            .unwrap();
        assert!(batches.len() > 10, "many batches");
        // Writers waited for one another; nobody had to find out by running into somebody else's numbers.
        assert_eq!(number(&world, "select max(attempts) as n from clerk_sync.inbox").await, 0, "no event failed");
    }
}

/// A batch costs the same number of statements whatever its size, and a hundred persons land whole.
#[tokio::test]
async fn a_large_batch_lands_whole() {
    for world in worlds(&[]).await {
        for index in 0..600 {
            world.deliver(&format!("msg_{index}"), &user(&format!("u{index}"), index)).await;
        }
        assert_eq!(world.drain().await, 600);
        let emails: BTreeSet<String> = entity::users::Entity::find()
            .all(&world.app.db.read)
            .await
            .unwrap()
            .into_iter()
            .filter_map(|row| row.email)
            .collect();
        assert_eq!(emails.len(), 600, "{}", world.name);
    }
}
