//! High-water marks of the change feed: for each cache key the highest seq about it that this process has read. A cached
//! entry that is older than its key's mark is stale, whatever the sink that feeds the cache has come to.
//!
//! The marks are a fixed table of counters, indexed by a hash of the key (as the version stripes of a transactional
//! memory are). Two keys that share a counter raise each other's mark. So a mark may be too high, never too low: an entry
//! is then read once more from the database than necessary, and with that is as new as the mark.
//!
//! Invariants:
//! - Marks only rise.
//! - A row of the feed is noted before any reader in this process gets it ([`Watermarks::note`] before
//!   [`Watermarks::advance`] before it is handed on). Hence an entry that was current as of a seq not below its key's
//!   mark is current as of [`Watermarks::head`].

use std::{
    fmt,
    hash::{BuildHasher as _, RandomState},
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering::SeqCst},
    },
};

/// Counters of a process: 512 KiB. A thousand changes a second make an entry stale by a shared counter about every half
/// minute, and it lives no longer than a minute anyway.
const COUNTERS: usize = 1 << 16;

/// The marks of a process. Cheap to clone; all clones are one.
#[derive(Clone)]
pub struct Watermarks(Arc<Table>);

struct Table {
    hasher: RandomState,
    counters: Box<[AtomicI64]>,
    /// No key's mark is below this.
    floor: AtomicI64,
    head: AtomicI64,
}

impl Default for Watermarks {
    fn default() -> Self {
        Self::with_counters(COUNTERS)
    }
}

impl Watermarks {
    fn with_counters(counters: usize) -> Self {
        let counters = (0..counters.max(1)).map(|_| AtomicI64::new(0)).collect();
        Self(Arc::new(Table {
            hasher: RandomState::new(),
            counters,
            floor: AtomicI64::new(0),
            head: AtomicI64::new(0),
        }))
    }

    /// Raises the mark of `key`: the row `seq` of the feed is about it.
    pub fn note(&self, key: &str, seq: i64) {
        if let Some(counter) = self.counter(key) {
            counter.fetch_max(seq, SeqCst);
        }
    }

    /// Raises every mark, where it is not known which keys the rows up to `seq` are about.
    pub fn raise(&self, seq: i64) {
        self.0.floor.fetch_max(seq, SeqCst);
        self.advance(seq);
    }

    /// Every row up to `seq` has been noted.
    pub fn advance(&self, seq: i64) {
        self.0.head.fetch_max(seq, SeqCst);
    }

    /// The seq up to which every row has been noted.
    pub fn head(&self) -> i64 {
        self.0.head.load(SeqCst)
    }

    /// The mark of `key`: an entry has to be current as of this seq.
    pub fn required(&self, key: &str) -> i64 {
        let noted = self.counter(key).map_or(i64::MAX, |counter| counter.load(SeqCst));
        noted.max(self.0.floor.load(SeqCst))
    }

    /// What is loaded from the database from now on is current as of this seq: it was committed before it was noted.
    pub(super) fn horizon(&self, key: &str) -> i64 {
        self.head().max(self.required(key))
    }

    fn counter(&self, key: &str) -> Option<&AtomicI64> {
        let counters = &self.0.counters;
        let hash = usize::try_from(self.0.hasher.hash_one(key) & 0xffff_ffff).unwrap_or_default();
        counters.get(hash % counters.len())
    }
}

impl fmt::Debug for Watermarks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watermarks").field("head", &self.head()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, time::Duration};

    use proptest::{collection::vec, prelude::*};

    use super::{
        super::{Cache, Json, Lease, Local, Lookup},
        *,
    };
    use crate::{clock, config};

    const KEYS: [&str; 6] = ["user:a", "user:b", "user:c", "user:d", "user:e", "user:f"];

    #[derive(Debug, Clone, Copy)]
    enum Step {
        /// A row of the feed is committed: the key's row changes.
        Commit(usize),
        /// The process reads so many rows of the feed.
        See(usize),
        /// The rows up to the newest were trimmed unread.
        Lose,
        /// The sink writes the key's row as it is now.
        Write(usize),
        /// A reader looks, then loads, then offers what it loaded.
        Read(usize),
        Evict(usize),
    }

    fn step() -> impl Strategy<Value = Step> {
        let key = 0..KEYS.len();
        prop_oneof![
            6 => key.clone().prop_map(Step::Commit),
            5 => (1..4_usize).prop_map(Step::See),
            1 => Just(Step::Lose),
            3 => key.clone().prop_map(Step::Write),
            20 => key.clone().prop_map(Step::Read),
            1 => key.prop_map(Step::Evict),
        ]
    }

    /// A cache whose marks share this many counters.
    fn cache(counters: usize) -> Local {
        let config = config::Cache { ttl: Duration::from_secs(60), capacity: 100 };
        let clock = clock::Clock::from_fn(|| clock::from_millis(0).unwrap());
        let mut local = Local::new(&config, clock);
        local.watermarks = Watermarks::with_counters(counters);
        local
    }

    fn row(rev: i64) -> Option<Json> {
        Some(rev.to_string().into())
    }

    /// A feed, what the process has read of it, and readers on their way, one a key.
    #[derive(Default)]
    struct Feed {
        rows: Vec<usize>,
        read: usize,
        loading: BTreeMap<usize, (Lease, Option<i64>)>,
    }

    impl Feed {
        /// The rev of a key's row, as of the first `rows` of the feed.
        fn rev(&self, key: usize, rows: usize) -> i64 {
            self.rows.iter().take(rows).rposition(|row| *row == key).map_or(0, |at| at as i64 + 1)
        }
    }

    fn run(cache: &Local, steps: Vec<Step>) -> Result<u32, TestCaseError> {
        let (mut feed, mut hits) = (Feed::default(), 0);
        for step in steps {
            match step {
                Step::Commit(key) => feed.rows.push(key),
                Step::See(rows) => {
                    for _ in 0..rows.min(feed.rows.len() - feed.read) {
                        let key = feed.rows[feed.read];
                        feed.read += 1;
                        cache.watermarks.note(KEYS[key], feed.read as i64);
                        cache.watermarks.advance(feed.read as i64);
                    }
                }
                Step::Lose => {
                    feed.read = feed.rows.len();
                    cache.watermarks.raise(feed.read as i64);
                }
                Step::Write(key) => {
                    let rev = feed.rev(key, feed.rows.len());
                    cache.write(&super::super::Entry { key: KEYS[key].into(), rev, json: row(rev) });
                }
                Step::Evict(key) => cache.evict(KEYS[key]),
                Step::Read(key) => match feed.loading.remove(&key) {
                    None => match cache.get(KEYS[key]) {
                        Lookup::Miss(lease) | Lookup::Stale(lease) => drop(feed.loading.insert(key, (lease, None))),
                        Lookup::Hit { rev, .. } => {
                            let seen = feed.rev(key, feed.read);
                            prop_assert!(rev >= seen, "{} answers {rev}, and {seen} was seen", KEYS[key]);
                            hits += 1;
                        }
                        Lookup::Gone { .. } => prop_assert!(false, "nothing was deleted"),
                    },
                    Some((lease, None)) => {
                        let loaded = feed.rev(key, feed.rows.len());
                        drop(feed.loading.insert(key, (lease, Some(loaded))));
                    }
                    Some((lease, Some(rev))) => drop(cache.fill(&lease, rev, row(rev))),
                },
            }
        }
        // Once nothing changes any more, each key is loaded at most once until all of them are hits.
        for (key, name) in KEYS.iter().enumerate() {
            let rev = feed.rev(key, feed.rows.len());
            if let Lookup::Miss(lease) | Lookup::Stale(lease) = cache.get(name) {
                prop_assert!(cache.fill(&lease, rev, row(rev)), "a newer row is known than there is");
            }
            prop_assert!(matches!(cache.get(name), Lookup::Hit { .. }), "{name} stays a miss");
        }
        Ok(hits)
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn nothing_is_answered_that_is_older_than_was_seen(counters in 1..4_usize, steps in vec(step(), 1..200)) {
            run(&cache(counters), steps)?;
        }
    }

    #[test]
    fn entries_are_hits_again_though_keys_share_counters() {
        let steps = (0..1_000).flat_map(|n| [Step::Commit(n % 6), Step::See(1), Step::Write(n % 6)]);
        let steps = steps.flat_map(|step| [step, Step::Read(0), Step::Read(0), Step::Read(0), Step::Read(0)]);
        let hits = run(&cache(1 << 12), steps.collect()).unwrap();
        assert!(hits > 5_000, "{hits} of 12000");
    }

    #[test]
    fn marks_only_rise_and_all_clones_are_one() {
        let marks = Watermarks::with_counters(1 << 12);
        let other = marks.clone();
        marks.note("a", 7);
        marks.note("a", 3);
        assert_eq!((other.required("a"), other.head(), other.horizon("a")), (7, 0, 7));
        marks.advance(9);
        assert_eq!((other.required("a"), other.horizon("a")), (7, 9));
        marks.raise(8);
        marks.raise(2);
        assert_eq!((other.required("a"), other.required("b"), other.head()), (8, 8, 9));
        let cache = Cache::Local(cache(1));
        cache.watermarks().note("a", 5);
        assert_eq!(cache.watermarks().required("another"), 5, "they share the only counter");
    }
}
