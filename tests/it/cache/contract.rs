//! What each operation promises by itself.

use clerk_sync::backends::cache::{CacheError, Entry, Loaded, Lookup};

use super::{Rig, row};

const KEY: &str = "user:user_1";

pub(super) async fn a_miss_leaves_a_lease_and_takes_the_row_for_it(rig: Rig) {
    let lease = rig.miss(KEY).await;
    assert!(rig.fill(lease, 5).await);
    rig.hits(KEY, 5).await;
    rig.hits(KEY, 5).await;
}

pub(super) async fn a_lease_serves_its_key_only(rig: Rig) {
    let one = rig.miss(KEY).await;
    let other = rig.miss("user:user_2").await;
    assert!(rig.fill(other, 3).await);
    rig.miss(KEY).await;
    assert!(rig.fill(one, 5).await);
    rig.hits(KEY, 5).await;
    rig.hits("user:user_2", 3).await;
}

pub(super) async fn readers_that_miss_together_share_a_lease(rig: Rig) {
    let (first, second, third) = (rig.miss(KEY).await, rig.miss(KEY).await, rig.miss(KEY).await);
    assert_eq!(first, second);
    assert!(rig.fill(first, 5).await, "the lease stands, whoever missed since");
    rig.hits(KEY, 5).await;
    assert!(rig.fill(second, 6).await, "a newer row");
    rig.hits(KEY, 6).await;
    assert!(!rig.fill(third, 5).await, "an older one");
    rig.hits(KEY, 6).await;
}

pub(super) async fn nothing_is_stored_of_a_row_that_does_not_exist(rig: Rig) {
    let lease = rig.miss(KEY).await;
    assert!(rig.fill_none(lease, 4).await);
    let (first, second, third) = (rig.miss(KEY).await, rig.miss(KEY).await, rig.miss(KEY).await);
    assert!(rig.fill_none(first, 4).await, "the lease stands");
    assert!(!rig.fill(second, 3).await, "it was absent after rev 3");
    assert!(!rig.put(KEY, 3).await);
    assert!(rig.fill(third, 5).await, "it was made since");
    rig.hits(KEY, 5).await;
}

pub(super) async fn a_floor_is_not_fallen_below(rig: Rig) {
    let early = rig.miss(KEY).await;
    rig.cache.evict(KEY).await.unwrap();
    let (low, lower, none) = (rig.miss(KEY).await, rig.miss(KEY).await, rig.miss(KEY).await);
    let (equal, higher) = (rig.miss(KEY).await, rig.miss(KEY).await);
    assert!(!rig.fill(early, 7).await, "its lease went");
    assert!(!rig.fill(low, 6).await);
    assert!(!rig.fill_none(none, 6).await);
    assert!(!rig.put(KEY, 6).await && !rig.remove(KEY, 6).await);
    assert!(rig.fill(equal, 7).await);
    assert!(rig.fill(higher, 8).await);
    assert!(!rig.fill(lower, 7).await);
    rig.hits(KEY, 8).await;
}

pub(super) async fn what_is_absent_takes_older_rows_with_it(rig: Rig) {
    let lease = rig.miss(KEY).await;
    rig.put(KEY, 5).await;
    assert!(!rig.fill_none(lease, 4).await, "it was absent before rev 5");
    rig.hits(KEY, 5).await;

    rig.cache.evict(KEY).await.unwrap();
    let lease = rig.miss(KEY).await;
    rig.put(KEY, 5).await;
    assert!(rig.fill_none(lease, 6).await);
    let lease = rig.miss(KEY).await;

    let earlier = rig.miss(KEY).await;
    rig.remove(KEY, 7).await;
    assert!(!rig.fill_none(earlier, 6).await, "it was deleted after that");
    assert!(rig.fill_none(lease, 9).await);
    rig.gone(KEY, 9).await;
    assert!(!rig.put(KEY, 8).await, "it was absent after rev 8");
}

pub(super) async fn a_write_goes_by_rev(rig: Rig) {
    assert!(rig.put(KEY, 5).await);
    assert!(!rig.put(KEY, 4).await);
    rig.hits(KEY, 5).await;
    assert!(rig.cache.put(KEY, 5, "again").await.unwrap(), "the same rev is written again");
    assert_eq!(rig.cache.get(KEY).await.unwrap(), Lookup::Hit { rev: 5, json: "again".into() });
    assert!(rig.put(KEY, 6).await);
    rig.hits(KEY, 6).await;
    assert!(!rig.remove(KEY, 5).await, "what was deleted came back since");
    rig.hits(KEY, 6).await;
}

pub(super) async fn a_write_takes_the_place_of_a_lease(rig: Rig) {
    let lease = rig.miss(KEY).await;
    assert!(rig.put(KEY, 5).await);
    rig.hits(KEY, 5).await;
    assert!(rig.fill(lease, 6).await, "newer than what stands there");
    rig.hits(KEY, 6).await;
}

pub(super) async fn a_deletion_keeps_older_rows_out(rig: Rig) {
    let lease = rig.miss(KEY).await;
    assert!(rig.remove(KEY, 5).await, "nothing needs to be there");
    rig.gone(KEY, 5).await;
    assert!(!rig.put(KEY, 4).await);
    assert!(!rig.fill(lease, 4).await);
    assert!(!rig.remove(KEY, 4).await);
    rig.gone(KEY, 5).await;
    assert!(rig.remove(KEY, 6).await);
    assert!(rig.put(KEY, 7).await, "the person came back");
    rig.hits(KEY, 7).await;
}

pub(super) async fn at_the_same_rev_a_deletion_wins(rig: Rig) {
    let lease = rig.miss(KEY).await;
    rig.put(KEY, 5).await;
    assert!(rig.remove(KEY, 5).await);
    assert!(rig.remove(KEY, 5).await, "told twice");
    assert!(!rig.put(KEY, 5).await);
    assert!(!rig.fill(lease, 5).await);
    rig.gone(KEY, 5).await;
}

/// Redis compares them in Lua, whose numbers are floating.
pub(super) async fn revs_are_whole_numbers_of_64_bits(rig: Rig) {
    let big = (1_i64 << 53) + 1;
    assert!(rig.put(KEY, big).await);
    assert!(!rig.put(KEY, big - 1).await);
    rig.hits(KEY, big).await;
    assert!(rig.put(KEY, i64::MAX).await);
    rig.hits(KEY, i64::MAX).await;
    assert!(rig.put("user:9", 9).await && rig.put("user:9", 10).await, "10 is above 9, as text it is not");
    assert!(rig.put("user:0", 0).await);
    rig.hits("user:0", 0).await;
}

pub(super) async fn a_batch_is_taken_in_order(rig: Rig) {
    let put = |key: &str, rev| Entry { key: key.to_owned(), rev, json: Some(row(rev)) };
    let remove = |key: &str, rev| Entry { key: key.to_owned(), rev, json: None };
    assert!(rig.cache.put_many(&[]).await.unwrap().is_empty());

    rig.put("b", 9).await;
    rig.put("c", 3).await;
    let batch = [put("a", 5), put("b", 8), remove("c", 4), put("c", 4), put("d", 1), remove("d", 2), put("d", 3)];
    let taken = rig.cache.put_many(&batch).await.unwrap();
    assert_eq!(taken, [true, false, true, false, true, true, true]);
    rig.hits("a", 5).await;
    rig.hits("b", 9).await;
    rig.gone("c", 4).await;
    rig.hits("d", 3).await;
}

pub(super) async fn nothing_of_ours_survives_clear(rig: Rig) {
    // More than one step of it.
    let many: Vec<_> = (1..=1200)
        .map(|rev| Entry { key: format!("user:{rev}"), rev, json: (rev % 3 > 0).then(|| row(rev)) })
        .collect();
    rig.cache.put_many(&many).await.unwrap();
    let lease = rig.miss("user:0").await;
    rig.cache.clear().await.unwrap();
    assert!(!rig.fill(lease, 5).await, "a lease went with the rest");
    for entry in many {
        rig.miss(&entry.key).await;
    }
}

pub(super) async fn it_answers_a_ping(rig: Rig) {
    rig.cache.ping().await.unwrap();
}

/// What a handler awaits has to be fit to move between threads. This one holds when it compiles.
pub(super) async fn its_calls_may_move_between_threads(rig: Rig) {
    fn may_move<T>(call: impl Future<Output = T> + Send) -> impl Future<Output = T> {
        call
    }
    let Rig { cache, .. } = rig;
    if let Lookup::Miss(lease) = may_move(cache.get(KEY)).await.unwrap() {
        may_move(cache.fill(lease, 1, None)).await.unwrap();
    }
    let load = || async {
        cache.ping().await?; // as a handler would ask a database that it borrows
        Ok::<_, CacheError>(Loaded::Row { rev: 1, json: row(1) })
    };
    may_move(cache.read_through(KEY, load)).await.unwrap();
    may_move(cache.put(KEY, 1, row(1))).await.unwrap();
    may_move(cache.remove(KEY, 1)).await.unwrap();
    may_move(cache.put_many(&[])).await.unwrap();
    may_move(cache.evict(KEY)).await.unwrap();
    may_move(cache.clear()).await.unwrap();
    may_move(cache.ping()).await.unwrap();
}
