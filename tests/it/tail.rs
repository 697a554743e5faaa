//! A process's own tail of the change feed: every row once, in order, whatever becomes of the reader or the database.

use std::{sync::Arc, time::Duration};

use clerk_sync::{
    backends::cache::Watermarks,
    db::{Db, Stmt},
    outbox::{
        feed::Entry,
        tail::{Follower, Next, Tail},
    },
};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::support::world::{World, worlds};

async fn append(db: &Db, seqs: std::ops::RangeInclusive<i64>) {
    let tx = db.begin_commit().await.unwrap();
    for seq in seqs {
        Stmt::new(
            &tx,
            "insert into clerk_sync.outbox (id, event, topic, subject, routing, payload, changed, created_at, seq) values (",
        )
        .val(uuid::Uuid::from_u128(u128::try_from(seq).unwrap()))
        .sql(", 'user.updated', 'users', 'user_1', '[]', '{}', '[]', ")
        .val(clerk_sync::clock::from_millis(0).unwrap())
        .sql(", ")
        .val(seq)
        .sql(")")
        .exec(&tx)
        .await
        .unwrap();
    }
    tx.commit().await.unwrap();
}

/// What comes next, which is a row; nothing, where nothing comes.
fn row(next: Option<Next>) -> Option<Arc<Entry>> {
    next.map(|next| match next {
        Next::Row(entry) => entry,
        Next::Lost(upto) => panic!("rows up to {upto} were trimmed"),
    })
}

async fn take(follower: &mut Follower, count: usize) -> Vec<i64> {
    let mut seqs = Vec::new();
    while seqs.len() < count {
        let next = timeout(Duration::from_secs(20), follower.next()).await.expect("nothing comes");
        seqs.push(row(next).unwrap().seq);
    }
    seqs
}

/// Nothing more comes: what was appended last is what comes next.
async fn nothing_else(world: &World, follower: &mut Follower, next: i64) {
    append(&world.app.db, next..=next).await;
    world.app.signals.outbox.wake();
    assert_eq!(take(follower, 1).await, [next], "{}", world.name);
}

fn range(seqs: std::ops::RangeInclusive<i64>) -> Vec<i64> {
    seqs.collect()
}

#[tokio::test]
async fn followers_see_every_row_once_in_order_however_far_behind_they_are() {
    let keys = [("tail.batch", "7"), ("tail.buffer", "5"), ("tail.poll", "20ms"), ("tail.backoff", "5ms")];
    for world in worlds(&keys.map(|(key, value)| (key, value.to_owned()))).await {
        let (db, signals) = (&world.app.db, &world.app.signals);
        append(db, 1..=10).await;
        let tail = Tail::new(
            db.clone(),
            signals.clone(),
            world.app.config.tail.clone(),
            Watermarks::default(),
            &world.app.meta.epoch,
            CancellationToken::new(),
        )
        .await
        .unwrap();
        let (mut brisk, mut idle) = (tail.follow("brisk"), tail.follow("idle"));
        assert_eq!((*tail.head().borrow(), brisk.at()), (10, 10));
        let stop = CancellationToken::new();
        let running = tokio::spawn(tail.clone().run(stop.clone()));
        // Woken, and by the poll alone.
        append(db, 11..=13).await;
        signals.outbox.wake();
        assert_eq!(take(&mut brisk, 3).await, [11, 12, 13], "{}", world.name);
        append(db, 14..=14).await;
        assert_eq!(take(&mut brisk, 1).await, [14], "{}", world.name);
        // One reads while many rows come, another does not.
        let reading = tokio::spawn(async move { (take(&mut brisk, 300).await, brisk) });
        for first in (15..315).step_by(20) {
            append(db, first..=first + 19).await;
            signals.outbox.wake();
        }
        let (seen, mut brisk) = reading.await.unwrap();
        assert_eq!(seen, range(15..=314), "{}", world.name);
        assert_eq!(take(&mut idle, 304).await, range(11..=314), "{}", world.name);
        // One that comes later begins at the head, which those who read again may have passed.
        tail.head().wait_for(|head| *head == 314).await.unwrap();
        let mut late = tail.follow("late");
        nothing_else(&world, &mut brisk, 315).await;
        assert_eq!(take(&mut late, 1).await, [315]);
        assert_eq!(take(&mut idle, 1).await, [315]);
        stop.cancel();
        running.await.unwrap();
    }
}

#[tokio::test]
async fn a_database_that_fails_for_a_while_loses_nothing() {
    let keys = [
        ("tail.batch", "3"),
        ("tail.buffer", "2"),
        ("tail.poll", "10ms"),
        ("tail.backoff", "5ms"),
        ("tail.backoff_max", "20ms"),
    ];
    for world in worlds(&keys.map(|(key, value)| (key, value.to_owned()))).await {
        let (db, signals) = (&world.app.db, &world.app.signals);
        let tail = Tail::new(
            db.clone(),
            signals.clone(),
            world.app.config.tail.clone(),
            Watermarks::default(),
            &world.app.meta.epoch,
            CancellationToken::new(),
        )
        .await
        .unwrap();
        let (mut one, mut two) = (tail.follow("one"), tail.follow("two"));
        let stop = CancellationToken::new();
        let running = tokio::spawn(tail.clone().run(stop.clone()));
        append(db, 1..=20).await;
        signals.outbox.wake();
        assert_eq!(take(&mut one, 20).await, range(1..=20), "{}", world.name);
        Stmt::new(&db.write, "alter table clerk_sync.outbox rename to elsewhere").exec(&db.write).await.unwrap();
        signals.outbox.wake();
        // It has to read again, and cannot.
        let reading = tokio::spawn(async move { (take(&mut two, 20).await, two) });
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert!(!reading.is_finished());
        Stmt::new(&db.write, "alter table clerk_sync.elsewhere rename to outbox").exec(&db.write).await.unwrap();
        let (seen, mut two) = reading.await.unwrap();
        assert_eq!(seen, range(1..=20), "{}", world.name);
        nothing_else(&world, &mut one, 21).await;
        assert_eq!(take(&mut two, 1).await, [21]);
        stop.cancel();
        running.await.unwrap();
    }
}

#[tokio::test]
async fn a_follower_may_be_asked_and_left_at_any_moment() {
    let keys = [("tail.batch", "4"), ("tail.buffer", "2")];
    for world in worlds(&keys.map(|(key, value)| (key, value.to_owned()))).await {
        let (db, signals) = (&world.app.db, &world.app.signals);
        let tail = Tail::new(
            db.clone(),
            signals.clone(),
            world.app.config.tail.clone(),
            Watermarks::default(),
            &world.app.meta.epoch,
            CancellationToken::new(),
        )
        .await
        .unwrap();
        let mut follower = tail.follow("restless");
        let stop = CancellationToken::new();
        let running = tokio::spawn(tail.clone().run(stop.clone()));
        append(db, 1..=200).await;
        signals.outbox.wake();
        let mut seen: Vec<Arc<_>> = Vec::new();
        while seen.len() < 200 {
            let patience = Duration::from_micros(fastrand::u64(0..400));
            seen.extend(row(timeout(patience, follower.next()).await.ok().flatten()));
        }
        assert_eq!(seen.iter().map(|entry| entry.seq).collect::<Vec<_>>(), range(1..=200), "{}", world.name);
        stop.cancel();
        running.await.unwrap();
    }
}
