//! The promise as a property: whatever a row's writers, its sink, its readers and the memory's pressure do in whatever
//! order, a key never answers an older state than was already answered for it.
//!
//! States are numbered by the outbox: a row by its rev, an absence by the head of the snapshot that found it.

use std::cell::Cell;

use clerk_sync::backends::cache::{Cache, Lease, Lookup};
use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};

use super::{Rig, row};

const READERS: usize = 3;

#[derive(Debug, Clone, Copy)]
enum Step {
    /// Somebody changes the row, or makes it anew.
    Commit,
    Delete,
    /// The sink loads the row and writes what it found.
    Sink,
    Evict,
    /// A reader's next step: look, then (after a miss) load, then offer and answer.
    Read(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => Just(Step::Commit),
        1 => Just(Step::Delete),
        1 => Just(Step::Sink),
        2 => Just(Step::Evict),
        24 => (0..READERS).prop_map(Step::Read),
    ]
}

/// What the database holds: the number of the state, and whether that is a row.
type State = (i64, bool);

#[derive(Debug, Default)]
enum Reader {
    #[default]
    Idle,
    Missed(Lease),
    Loaded(Lease, State),
}

/// Runs one history; the error tells where the promise broke.
async fn run(cache: &Cache, key: &str, steps: &[Step]) -> Result<usize, TestCaseError> {
    let (mut database, mut answered): (State, i64) = ((0, false), 0);
    let mut readers: [Reader; READERS] = Default::default();
    let mut hits = 0;
    for (at, step) in steps.iter().enumerate() {
        match *step {
            Step::Commit => database = (database.0 + 1, true),
            Step::Delete => database = (database.0 + 1, false),
            Step::Sink => {
                let (rev, exists) = database;
                match exists {
                    true => cache.put(key, rev, row(rev)).await.unwrap(),
                    false => cache.remove(key, rev).await.unwrap(),
                };
            }
            Step::Evict => cache.evict(key).await.unwrap(),
            Step::Read(reader) => {
                let reader = &mut readers[reader];
                *reader = match std::mem::take(reader) {
                    Reader::Idle => match cache.get(key).await.unwrap() {
                        Lookup::Miss(lease) => Reader::Missed(lease),
                        Lookup::Hit { rev, .. } | Lookup::Gone { rev } => {
                            prop_assert!(rev >= answered, "step {at} answers {rev} after {answered}");
                            (answered, hits) = (rev, hits + 1);
                            Reader::Idle
                        }
                    },
                    Reader::Missed(lease) => Reader::Loaded(lease, database),
                    Reader::Loaded(lease, (rev, exists)) => {
                        cache.fill(lease, rev, exists.then(|| row(rev))).await.unwrap();
                        // It may be behind by now: only the cache promises never to go back.
                        answered = answered.max(rev);
                        Reader::Idle
                    }
                };
            }
        }
    }
    Ok(hits)
}

fn histories(rig: &Rig, runtime: &tokio::runtime::Runtime, cases: u32) {
    let (count, hits) = (Cell::new(0_u32), Cell::new(0));
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    let result = TestRunner::new(config).run(&prop::collection::vec(step(), 1..120), |steps| {
        count.set(count.get() + 1);
        let key = format!("user:{}", count.get());
        hits.set(hits.get() + runtime.block_on(run(&rig.cache, &key, &steps))?);
        Ok(())
    });
    if let Err(error) = result {
        panic!("{error}");
    }
    assert!(hits.get() > cases as usize / 2, "the histories hardly reach the cache: {} hits", hits.get());
}

/// 500 histories, each some sixty calls; more with `PROPERTY_CASES` (the longer mode of `tests/run`), of which a quarter.
fn cases() -> u32 {
    std::env::var("PROPERTY_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(2_000_u32).div_ceil(4)
}

#[test]
fn local_never_answers_an_older_state() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    histories(&Rig::local(), &runtime, cases());
}

#[test]
fn redis_never_answers_an_older_state() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let _within = runtime.enter();
    if let Some(rig) = Rig::redis() {
        histories(&rig, &runtime, cases());
    }
}
