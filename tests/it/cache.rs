//! Conformance of the cache seam: the same cases over memory and over Redis, and what each does in its own way.

mod apart;
mod contract;
mod histories;
pub(crate) mod proxy;
mod races;
mod seen;
mod through;

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use clerk_sync::{
    backends::cache::{Cache, Json, Lease, Lookup},
    clock::{Clock, from_millis},
    config,
};

use crate::support::services;

/// One cache and the clock it goes by.
struct Rig {
    cache: Cache,
    millis: Arc<AtomicI64>,
    again: Box<dyn Fn() -> Cache>,
}

const TTL: Duration = Duration::from_secs(3600);

impl Rig {
    fn local() -> Self {
        Self::new("", "unused")
    }

    /// `None` where there is no Redis.
    fn redis() -> Option<Self> {
        services::redis().map(|(url, prefix)| Self::new(&url, &prefix))
    }

    fn new(url: &str, prefix: &str) -> Self {
        let millis = Arc::new(AtomicI64::new(1_800_000_000_000));
        let reading = Arc::clone(&millis);
        let clock = Clock::from_fn(move || from_millis(reading.load(Ordering::SeqCst)).unwrap());
        let cache = config::Cache { ttl: TTL, capacity: 1000 };
        let redis = config::Redis { url: url.into(), prefix: prefix.to_owned() };
        let again = Box::new(move || Cache::new(&cache, &redis, clock.clone()).unwrap());
        Self { cache: again(), millis, again }
    }

    /// The cache as another replica has it; of one in memory there is one only.
    fn replica(&self) -> Cache {
        match self.cache {
            Cache::Local(_) => self.cache.clone(),
            Cache::Redis(_) => (self.again)(),
        }
    }

    fn advance(&self, by: Duration) {
        self.millis.fetch_add(i64::try_from(by.as_millis()).unwrap(), Ordering::SeqCst);
    }

    /// A lease: there must be nothing to answer.
    async fn miss(&self, key: &str) -> Lease {
        match self.cache.get(key).await.unwrap() {
            Lookup::Miss(lease) => lease,
            found => panic!("expected a miss, found {found:?}"),
        }
    }

    async fn put(&self, key: &str, rev: i64) -> bool {
        self.cache.put(key, rev, row(rev)).await.unwrap()
    }

    async fn remove(&self, key: &str, rev: i64) -> bool {
        self.cache.remove(key, rev).await.unwrap()
    }

    async fn fill(&self, lease: Lease, rev: i64) -> bool {
        self.cache.fill(lease, rev, Some(row(rev))).await.unwrap()
    }

    async fn fill_none(&self, lease: Lease, rev: i64) -> bool {
        self.cache.fill(lease, rev, None).await.unwrap()
    }

    async fn hits(&self, key: &str, rev: i64) {
        assert_eq!(self.cache.get(key).await.unwrap(), Lookup::Hit { rev, json: row(rev) });
    }

    async fn gone(&self, key: &str, rev: i64) {
        assert_eq!(self.cache.get(key).await.unwrap(), Lookup::Gone { rev });
    }
}

/// A row that shows its rev, and a character beyond ASCII.
fn row(rev: i64) -> Json {
    format!(r#"{{"rev":{rev},"first_name":"Zoë"}}"#).into()
}

macro_rules! over_both {
    ($($module:ident: $($case:ident),+ $(,)?;)+) => {
        mod local {
            $($(#[tokio::test]
            async fn $case() {
                super::$module::$case(super::Rig::local()).await;
            })+)+
        }
        mod redis {
            $($(#[tokio::test]
            async fn $case() {
                if let Some(rig) = super::Rig::redis() {
                    super::$module::$case(rig).await;
                }
            })+)+
        }
    };
}

over_both! {
    contract: a_miss_leaves_a_lease_and_takes_the_row_for_it, a_lease_serves_its_key_only,
        readers_that_miss_together_share_a_lease, a_floor_is_not_fallen_below,
        nothing_is_stored_of_a_row_that_does_not_exist, what_is_absent_takes_older_rows_with_it,
        a_write_goes_by_rev, a_write_takes_the_place_of_a_lease, a_deletion_keeps_older_rows_out,
        at_the_same_rev_a_deletion_wins, revs_are_whole_numbers_of_64_bits, a_batch_is_taken_in_order,
        nothing_of_ours_survives_clear, it_answers_a_ping, its_calls_may_move_between_threads;
    races: a_write_overtakes_a_paused_reader, another_reader_overtakes_a_paused_reader,
        a_deletion_overtakes_a_paused_reader, an_eviction_takes_the_lease_of_a_paused_reader,
        a_write_and_its_eviction_overtake_a_paused_reader, an_early_reader_with_a_newer_row_is_not_hidden,
        a_late_write_does_not_hide_what_an_early_reader_answered, an_absence_is_not_hidden_by_an_earlier_load,
        concurrent_writes_leave_the_highest_rev;
    seen: what_is_older_than_was_seen_is_loaded_again, an_unchanged_row_is_loaded_once,
        the_end_of_a_deletion_is_seen, a_write_of_the_same_row_forgets_nothing, a_stale_row_is_never_answered_twice,
        an_absence_found_before_the_row_was_seen_is_not_shared, a_load_from_before_is_replaced_by_one_for_all;
    through: what_stands_there_is_answered_without_a_load, what_was_loaded_is_offered_and_answered,
        a_refused_reader_asks_again, a_reader_refused_every_time_answers_what_it_loads_last,
        a_failed_load_is_its_readers_only, nobody_is_told_what_was_refused, a_reader_that_goes_away_takes_nobody_along,
        a_crowd_that_comes_one_by_one_settles, a_crowd_of_replicas_loads_once_each, a_crowd_in_one_process_loads_once,
        no_reader_goes_back;
}
