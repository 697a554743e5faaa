//! What this process has seen of the change feed makes older entries stale, however far the sink is behind.

use std::{cell::Cell, convert::Infallible};

use clerk_sync::backends::cache::{Cache, Lease, Loaded, Lookup};
use futures_util::future::{join, join_all};
use tokio::{sync::Semaphore, task::yield_now};

use super::{Rig, row};

const KEY: &str = "user:user_1";

/// The process reads a row of the feed about `key`.
fn see(cache: &Cache, key: &str, seq: i64) {
    cache.watermarks().note(key, seq);
    cache.watermarks().advance(seq);
}

async fn stale(rig: &Rig, key: &str) -> Lease {
    match rig.cache.get(key).await.unwrap() {
        Lookup::Stale(lease) => lease,
        found => panic!("expected a stale row, found {found:?}"),
    }
}

async fn settle(cache: &Cache) {
    for _ in 0..10 {
        cache.ping().await.unwrap();
        yield_now().await;
    }
}

pub(super) async fn what_is_older_than_was_seen_is_loaded_again(rig: Rig) {
    rig.put(KEY, 5).await;
    see(&rig.cache, KEY, 7);
    let early = stale(&rig, KEY).await;
    stale(&rig, KEY).await;
    assert!(!rig.fill(early, 4).await, "the row that stands there is newer");
    let load = || async { Ok::<_, Infallible>(Loaded::Row { rev: 7, json: row(7) }) };
    assert_eq!(rig.cache.read_through(KEY, load).await, Ok(Some((7, row(7)))));
    rig.hits(KEY, 7).await;
    see(&rig.cache, KEY, 8);
    rig.put(KEY, 8).await;
    rig.hits(KEY, 8).await;
    // Of somebody who is deleted.
    see(&rig.cache, KEY, 9);
    let load = || async { Ok::<_, Infallible>(Loaded::Absent { head: 9 }) };
    assert_eq!(rig.cache.read_through(KEY, load).await, Ok(None));
    rig.miss(KEY).await;
}

/// A mark may be too high: another key shares its counter, or it is not known what was missed.
pub(super) async fn an_unchanged_row_is_loaded_once(rig: Rig) {
    rig.put(KEY, 5).await;
    rig.cache.watermarks().raise(100);
    let loads = Cell::new(0);
    let load = || async {
        loads.set(loads.get() + 1);
        Ok::<_, Infallible>(Loaded::Row { rev: 5, json: row(5) })
    };
    for _ in 0..3 {
        assert_eq!(rig.cache.read_through(KEY, load).await, Ok(Some((5, row(5)))));
    }
    assert_eq!(loads.get(), 1);
    // The same of a marker.
    rig.remove("user:gone", 5).await;
    rig.cache.watermarks().raise(200);
    let load = || async {
        loads.set(loads.get() + 1);
        Ok::<_, Infallible>(Loaded::Absent { head: 5 })
    };
    for _ in 0..3 {
        assert_eq!(rig.cache.read_through("user:gone", load).await, Ok(None));
    }
    assert_eq!(loads.get(), 2);
    rig.gone("user:gone", 5).await;
}

pub(super) async fn the_end_of_a_deletion_is_seen(rig: Rig) {
    rig.remove(KEY, 5).await;
    see(&rig.cache, KEY, 7);
    rig.miss(KEY).await;
    let load = || async { Ok::<_, Infallible>(Loaded::Row { rev: 7, json: row(7) }) };
    assert_eq!(rig.cache.read_through(KEY, load).await, Ok(Some((7, row(7)))));
    rig.hits(KEY, 7).await;
}

/// The sink knows of a row what its rev says; a reader has found out more.
pub(super) async fn a_write_of_the_same_row_forgets_nothing(rig: Rig) {
    rig.put(KEY, 5).await;
    rig.cache.watermarks().raise(100);
    let lease = stale(&rig, KEY).await;
    assert!(rig.fill(lease, 5).await);
    assert!(rig.put(KEY, 5).await);
    rig.hits(KEY, 5).await;
    rig.remove("user:gone", 5).await;
    rig.cache.watermarks().raise(200);
    let lease = rig.miss("user:gone").await;
    assert!(rig.fill_none(lease, 5).await);
    assert!(rig.remove("user:gone", 5).await);
    rig.gone("user:gone", 5).await;
}

/// What is offered for a stale row goes by rev, and where it was evicted meanwhile, by the lease that stands.
pub(super) async fn a_stale_row_is_never_answered_twice(rig: Rig) {
    rig.put(KEY, 5).await;
    see(&rig.cache, KEY, 6);
    let paused = stale(&rig, KEY).await; // … loads rev 6
    see(&rig.cache, KEY, 8);
    rig.put(KEY, 8).await;
    assert!(!rig.fill(paused, 6).await);
    rig.hits(KEY, 8).await;
    see(&rig.cache, KEY, 9);
    let paused = stale(&rig, KEY).await; // … loads rev 9
    rig.cache.evict(KEY).await.unwrap();
    let lower = rig.miss(KEY).await;
    assert!(!rig.fill(paused, 9).await, "it has no lease");
    assert!(!rig.fill(lower, 8).await, "rev 9 was offered");
    // What was loaded before a row was seen is taken, and stale from then on.
    let before = rig.miss(KEY).await; // … loads rev 9
    see(&rig.cache, KEY, 10);
    assert!(rig.fill(before, 9).await);
    stale(&rig, KEY).await;
}

/// Of an absence nothing is stored, but readers share a load.
pub(super) async fn an_absence_found_before_the_row_was_seen_is_not_shared(rig: Rig) {
    rig.miss("warm").await;
    let (loads, slow) = (Cell::new(0), Semaphore::new(0));
    let load = || async {
        loads.set(loads.get() + 1);
        if loads.get() > 1 {
            return Ok::<_, Infallible>(Loaded::Row { rev: 5, json: row(5) });
        }
        let _ = slow.acquire().await.unwrap();
        Ok(Loaded::Absent { head: 4 })
    };
    let after = async {
        settle(&rig.cache).await;
        assert_eq!(loads.get(), 1);
        see(&rig.cache, KEY, 5); // … and a client is told that the row was made
        rig.cache.read_through(KEY, load).await
    };
    let course = async {
        let answer = after.await;
        slow.add_permits(1);
        answer
    };
    let (early, late) = join(rig.cache.read_through(KEY, load), course).await;
    assert_eq!(late, Ok(Some((5, row(5)))), "whoever asks after that gets it");
    // Refused, because the row stands there by now: this one asks again.
    assert_eq!(early, Ok(Some((5, row(5)))));
}

pub(super) async fn a_load_from_before_is_replaced_by_one_for_all(rig: Rig) {
    rig.miss("warm").await;
    let (loads, slow) = (Cell::new(0), Semaphore::new(0));
    let load = || async {
        loads.set(loads.get() + 1);
        let rev = if loads.get() > 1 { 5 } else { 4 };
        slow.acquire().await.unwrap().forget();
        Ok::<_, Infallible>(Loaded::Row { rev, json: row(rev) })
    };
    let course = async {
        settle(&rig.cache).await;
        see(&rig.cache, KEY, 5);
        let late = join_all((0..8).map(|_| rig.cache.read_through(KEY, load)));
        let release = async {
            settle(&rig.cache).await;
            assert_eq!(loads.get(), 2, "one loads for those who came after");
            slow.add_permits(8);
        };
        join(late, release).await.0
    };
    let (_, late) = join(rig.cache.read_through(KEY, load), course).await;
    assert_eq!(late, vec![Ok(Some((5, row(5)))); 8]);
}
