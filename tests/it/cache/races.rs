//! A reader pauses between its load and its offer, and something overtakes it: the key must not answer its row.

use super::Rig;

const KEY: &str = "user:user_1";

pub(super) async fn a_write_overtakes_a_paused_reader(rig: Rig) {
    let lease = rig.miss(KEY).await; // … loads rev 5
    assert!(rig.put(KEY, 7).await);
    assert!(!rig.fill(lease, 5).await);
    rig.hits(KEY, 7).await;
}

pub(super) async fn another_reader_overtakes_a_paused_reader(rig: Rig) {
    let paused = rig.miss(KEY).await; // … loads rev 5
    let other = rig.miss(KEY).await; // … loads rev 7
    assert!(rig.fill(other, 7).await); // … and answers it
    assert!(!rig.fill(paused, 5).await);
    rig.hits(KEY, 7).await;
    rig.cache.evict(KEY).await.unwrap();

    let (paused, later) = (rig.miss(KEY).await, rig.miss(KEY).await); // … load rev 8 and rev 9
    let other = rig.miss(KEY).await; // … loads rev 9
    assert!(rig.fill(other, 9).await);
    rig.cache.evict(KEY).await.unwrap();
    assert!(!rig.fill(paused, 8).await);
    let next = rig.miss(KEY).await; // … loads rev 9
    assert!(!rig.fill(later, 9).await, "its lease was used up by another's row");
    assert!(rig.fill(next, 9).await);
    rig.hits(KEY, 9).await;
}

pub(super) async fn a_deletion_overtakes_a_paused_reader(rig: Rig) {
    let lease = rig.miss(KEY).await; // … loads rev 5
    assert!(rig.remove(KEY, 7).await);
    assert!(!rig.fill(lease, 5).await);
    rig.gone(KEY, 7).await;

    // The marker itself is evicted before the offer comes.
    rig.cache.evict(KEY).await.unwrap();
    let lease = rig.miss(KEY).await; // … loads rev 5, by a mistake of its own
    rig.remove(KEY, 7).await;
    rig.cache.evict(KEY).await.unwrap();
    assert!(!rig.fill(lease, 5).await);
    rig.miss(KEY).await;
}

pub(super) async fn an_eviction_takes_the_lease_of_a_paused_reader(rig: Rig) {
    let lease = rig.miss(KEY).await; // … loads rev 5
    rig.cache.evict(KEY).await.unwrap();
    assert!(!rig.fill(lease, 5).await);
    rig.miss(KEY).await;

    let paused = rig.miss(KEY).await; // … loads rev 5
    rig.cache.evict(KEY).await.unwrap();
    let other = rig.miss(KEY).await; // … loads rev 7
    assert!(!rig.fill(paused, 5).await, "the lease that stands there is another one");
    assert!(rig.fill(other, 7).await);
    rig.hits(KEY, 7).await;
}

pub(super) async fn a_write_and_its_eviction_overtake_a_paused_reader(rig: Rig) {
    let paused = rig.miss(KEY).await; // … loads rev 5
    rig.put(KEY, 7).await;
    rig.hits(KEY, 7).await;
    rig.cache.evict(KEY).await.unwrap();
    assert!(!rig.fill(paused, 5).await);
    rig.miss(KEY).await;
}

/// Its offer is refused, but a reader that is not told so, because the cache fails just then, answers what it loaded.
pub(super) async fn an_early_reader_with_a_newer_row_is_not_hidden(rig: Rig) {
    let early = rig.miss(KEY).await;
    rig.cache.evict(KEY).await.unwrap();
    let late = rig.miss(KEY).await; // … loads rev 5; then `early` loads rev 7
    assert!(!rig.fill(early, 7).await); // … and answers it
    let latest = rig.miss(KEY).await; // … loads rev 5 too, from where it stood
    assert!(!rig.fill(late, 5).await);
    assert!(!rig.fill(latest, 5).await, "rev 7 was answered");
    let next = rig.miss(KEY).await;
    assert!(rig.fill(next, 7).await);
    rig.hits(KEY, 7).await;
}

pub(super) async fn a_late_write_does_not_hide_what_an_early_reader_answered(rig: Rig) {
    let early = rig.miss(KEY).await;
    rig.cache.evict(KEY).await.unwrap();
    rig.miss(KEY).await;
    rig.fill(early, 7).await; // … and answers it
    assert!(!rig.put(KEY, 6).await);
    assert!(rig.put(KEY, 7).await);
    rig.hits(KEY, 7).await;
}

pub(super) async fn an_absence_is_not_hidden_by_an_earlier_load(rig: Rig) {
    let early = rig.miss(KEY).await;
    let late = rig.miss(KEY).await; // … loads rev 5; then the row is deleted, and `early` finds none
    assert!(rig.fill_none(early, 6).await); // … and answers that
    assert!(!rig.fill(late, 5).await);
    let early = rig.miss(KEY).await;
    rig.cache.evict(KEY).await.unwrap();
    let late = rig.miss(KEY).await; // … loads rev 7; then the row is deleted again
    assert!(!rig.fill_none(early, 8).await); // … and answers that, not being told
    assert!(!rig.fill(late, 7).await);
    rig.miss(KEY).await;
}

pub(super) async fn concurrent_writes_leave_the_highest_rev(rig: Rig) {
    for round in 0..20 {
        let key = format!("user:{round}");
        let writes = (1..=16_i64).map(|n| {
            // Scattered, so that order of arrival is not order of revs.
            let (cache, key, rev) = (rig.cache.clone(), key.clone(), n * 7 % 17);
            tokio::spawn(async move { cache.put(&key, rev, super::row(rev)).await })
        });
        for write in writes.collect::<Vec<_>>() {
            write.await.unwrap().unwrap();
        }
        rig.hits(&key, 16).await;
    }
}
