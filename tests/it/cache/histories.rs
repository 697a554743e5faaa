//! The promise as a property: whatever a row's writers, its sink, its readers and the memory's pressure do in whatever
//! order, a key never answers an older state than was already answered for it: neither by a hit nor by a reader whose
//! offer was taken. Some readers are not told that theirs was refused, and answer it; that binds the key too.
//!
//! And never an older one than this process had seen of the change feed when the reader began.
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
    /// The process's tail reads the feed up to the present.
    See,
    /// A reader's next step: look, then (after a miss) load, then offer, and answer if it was taken.
    Read(usize),
    /// The same, but an offer's refusal does not reach the reader, who answers what it loaded.
    ReadUntold(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => Just(Step::Commit),
        1 => Just(Step::Delete),
        1 => Just(Step::Sink),
        2 => Just(Step::Evict),
        2 => Just(Step::See),
        24 => (0..READERS).prop_map(Step::Read),
        4 => (0..READERS).prop_map(Step::ReadUntold),
    ]
}

/// What the database holds: the number of the state, and whether that is a row.
type State = (i64, bool);

/// What the histories came by, so that one sees that they test something.
#[derive(Debug, Clone, Copy, Default)]
struct Reached {
    hits: u32,
    taken: u32,
    refused: u32,
    stale: u32,
}

#[derive(Debug, Default)]
enum Reader {
    #[default]
    Idle,
    /// With what the process had seen when it began.
    Missed(Lease, i64),
    Loaded(Lease, i64, State),
}

/// Runs one history in a feed that stands at `head`; the error tells where the promise broke.
async fn run(cache: &Cache, key: &str, head: i64, steps: &[Step]) -> Result<Reached, TestCaseError> {
    let (mut database, mut answered): (State, i64) = ((head, false), head);
    // The newest state that the process has seen.
    let mut seen = head;
    let watermarks = cache.watermarks().clone();
    let mut readers: [Reader; READERS] = Default::default();
    let mut reached = Reached::default();
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
            Step::See => {
                seen = database.0;
                watermarks.note(key, seen);
                watermarks.advance(seen);
            }
            Step::Read(at_turn) | Step::ReadUntold(at_turn) => {
                let reader = &mut readers[at_turn];
                *reader = match std::mem::take(reader) {
                    Reader::Idle => match cache.get(key).await.unwrap() {
                        Lookup::Miss(lease) => Reader::Missed(lease, seen),
                        Lookup::Stale(lease) => {
                            reached.stale += 1;
                            Reader::Missed(lease, seen)
                        }
                        Lookup::Hit { rev, .. } | Lookup::Gone { rev } => {
                            prop_assert!(rev >= answered, "step {at} answers {rev} after {answered}");
                            prop_assert!(rev >= seen, "step {at} answers {rev}, and {seen} was seen");
                            (answered, reached.hits) = (rev, reached.hits + 1);
                            Reader::Idle
                        }
                    },
                    Reader::Missed(lease, began) => Reader::Loaded(lease, began, database),
                    Reader::Loaded(lease, began, (rev, exists)) => {
                        prop_assert!(rev >= began, "step {at} loads {rev} after {began} was seen");
                        if cache.fill(lease, rev, exists.then(|| row(rev))).await.unwrap() {
                            prop_assert!(rev >= answered, "step {at} takes {rev} after {answered}");
                            (answered, reached.taken) = (rev, reached.taken + 1);
                        } else {
                            reached.refused += 1;
                            if matches!(step, Step::ReadUntold(_)) {
                                // It may be behind: only the cache promises never to go back.
                                answered = answered.max(rev);
                            }
                        }
                        Reader::Idle
                    }
                };
            }
        }
    }
    Ok(reached)
}

fn histories(rig: &Rig, runtime: &tokio::runtime::Runtime, cases: u32) {
    let (count, reached) = (Cell::new(0_u32), Cell::new(Reached::default()));
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    let result = TestRunner::new(config).run(&prop::collection::vec(step(), 1..120), |steps| {
        count.set(count.get() + 1);
        let key = format!("user:{}", count.get());
        // One feed for all histories: each goes on above the numbers of the last one.
        let head = i64::from(count.get()) * 1000;
        let (all, one) = (reached.get(), runtime.block_on(run(&rig.cache, &key, head, &steps))?);
        let sum = |f: fn(&Reached) -> u32| f(&all) + f(&one);
        let [hits, taken] = [sum(|r| r.hits), sum(|r| r.taken)];
        reached.set(Reached { hits, taken, refused: sum(|r| r.refused), stale: sum(|r| r.stale) });
        Ok(())
    });
    if let Err(error) = result {
        panic!("{error}");
    }
    let Reached { hits, taken, refused, stale } = reached.get();
    let least = hits.min(taken).min(refused);
    assert!(least > cases / 2 && stale > cases / 8, "the histories hardly reach the cache: {:?}", reached.get());
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
