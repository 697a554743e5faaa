//! Reading through the cache, alone and in a crowd.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    convert::Infallible,
    time::Duration,
};

use clerk_sync::backends::cache::{Cache, Json, Loaded, Lookup};
use futures_util::future::{join, join_all};
use tokio::{sync::Semaphore, task::yield_now};

use super::{Rig, row};

const KEY: &str = "user:user_1";

/// The readers of a hot key.
const CROWD: u32 = 32;

fn found(rev: i64) -> Loaded {
    Loaded::Row { rev, json: row(rev) }
}

fn shows(rev: i64) -> Option<(i64, Json)> {
    Some((rev, row(rev)))
}

fn count(loads: &Cell<u32>) -> u32 {
    loads.set(loads.get() + 1);
    loads.get()
}

/// Lets the others go on, past whatever they were waiting for Redis to say.
async fn settle(cache: &Cache) {
    for _ in 0..10 {
        cache.ping().await.unwrap();
        yield_now().await;
    }
}

pub(super) async fn what_stands_there_is_answered_without_a_load(rig: Rig) {
    let load = || async { panic!("nobody needs to load") };
    rig.put(KEY, 5).await;
    assert_eq!(rig.cache.read_through::<Infallible, _>(KEY, load).await, Ok(shows(5)));
    rig.remove(KEY, 6).await;
    assert_eq!(rig.cache.read_through::<Infallible, _>(KEY, load).await, Ok(None));
}

pub(super) async fn what_was_loaded_is_offered_and_answered(rig: Rig) {
    let answer = rig.cache.read_through(KEY, || async { Ok::<_, Infallible>(found(5)) }).await;
    assert_eq!(answer, Ok(shows(5)));
    rig.hits(KEY, 5).await;

    let early = rig.miss("user:user_2").await;
    let load = || async { Ok::<_, Infallible>(Loaded::Absent { head: 7 }) };
    assert_eq!(rig.cache.read_through("user:user_2", load).await, Ok(None));
    assert!(!rig.fill(early, 6).await, "an absence is offered too");
}

pub(super) async fn a_refused_reader_asks_again(rig: Rig) {
    for loaded in [found(5), Loaded::Absent { head: 5 }] {
        let loads = Cell::new(0);
        let load = || async {
            count(&loads);
            rig.put(KEY, 7).await; // it comes from somebody else, after our snapshot
            Ok::<_, Infallible>(loaded.clone())
        };
        assert_eq!(rig.cache.read_through(KEY, load).await, Ok(shows(7)));
        assert_eq!(loads.get(), 1, "what was asked for stands there now");
        rig.cache.evict(KEY).await.unwrap();
    }
    let loads = Cell::new(0);
    let load = || async {
        if count(&loads) > 1 {
            return Ok::<_, Infallible>(found(9));
        }
        rig.put(KEY, 9).await;
        rig.hits(KEY, 9).await;
        rig.cache.evict(KEY).await.unwrap();
        Ok(found(8))
    };
    assert_eq!(rig.cache.read_through(KEY, load).await, Ok(shows(9)), "nothing stands there, but 8 is old");
    assert_eq!(loads.get(), 2);
    rig.hits(KEY, 9).await;
}

pub(super) async fn a_reader_refused_every_time_answers_what_it_loads_last(rig: Rig) {
    let loads = Cell::new(0);
    let load = || async {
        let rev = i64::from(count(&loads));
        rig.cache.evict(KEY).await.unwrap();
        Ok::<_, Infallible>(found(rev))
    };
    assert_eq!(rig.cache.read_through(KEY, load).await, Ok(shows(4)));
    assert_eq!(loads.get(), 4);

    // It answers what was refused, and that holds the others.
    let loads = Cell::new(0);
    let load = || async {
        let rev = 10 + i64::from(count(&loads));
        rig.cache.evict(KEY).await.unwrap();
        rig.miss(KEY).await; // … loads an older one
        Ok::<_, Infallible>(found(rev))
    };
    assert_eq!(rig.cache.read_through(KEY, load).await, Ok(shows(14)));
    let other = rig.miss(KEY).await;
    assert!(!rig.fill(other, 13).await);
}

/// And the others do not wait for each other's to fail.
pub(super) async fn a_failed_load_is_its_readers_only(rig: Rig) {
    rig.miss("warm").await;
    let (loads, first, others) = (Cell::new(0), Semaphore::new(0), Semaphore::new(0));
    let load = || async {
        if count(&loads) > 1 {
            let _ = others.acquire().await.unwrap();
            return Ok(found(5));
        }
        let _ = first.acquire().await.unwrap();
        Err("the database is down")
    };
    let readers = join_all((0..4).map(|_| rig.cache.read_through(KEY, load)));
    let course = async {
        settle(&rig.cache).await;
        assert_eq!(loads.get(), 1, "one loads for all");
        first.add_permits(1);
        settle(&rig.cache).await;
        assert_eq!(loads.get(), 4, "each of the others loads at once");
        others.add_permits(3);
    };
    let (mut answers, ()) = join(readers, course).await;
    answers.sort_by_key(Result::is_ok);
    assert_eq!(answers, [Err("the database is down"), Ok(shows(5)), Ok(shows(5)), Ok(shows(5))]);
    rig.hits(KEY, 5).await;
}

pub(super) async fn nobody_is_told_what_was_refused(rig: Rig) {
    rig.miss("warm").await;
    let (loads, slow) = (Cell::new(0), Semaphore::new(0));
    let load = || async {
        if count(&loads) > 1 {
            return Ok::<_, Infallible>(found(7));
        }
        let _ = slow.acquire().await.unwrap();
        Ok(found(5))
    };
    let readers = join_all((0..3).map(|_| rig.cache.read_through(KEY, load)));
    let course = async {
        settle(&rig.cache).await;
        rig.put(KEY, 7).await;
        rig.hits(KEY, 7).await;
        rig.cache.evict(KEY).await.unwrap();
        slow.add_permits(1);
    };
    let (answers, ()) = join(readers, course).await;
    assert_eq!(answers, vec![Ok(shows(7)); 3]);
}

pub(super) async fn a_reader_that_goes_away_takes_nobody_along(rig: Rig) {
    let loads = Cell::new(0);
    let mut leader = Box::pin(rig.cache.read_through(KEY, || async {
        count(&loads);
        std::future::pending::<Result<Loaded, Infallible>>().await
    }));
    let mut follower = Box::pin(rig.cache.read_through(KEY, || async {
        count(&loads);
        Ok::<_, Infallible>(found(5))
    }));
    tokio::select! {
        _ = &mut leader => panic!("it never loads"),
        () = settle(&rig.cache) => assert_eq!(loads.get(), 1),
    }
    tokio::select! {
        _ = &mut follower => panic!("it waits for the first"),
        () = settle(&rig.cache) => assert_eq!(loads.get(), 1),
    }
    drop(leader);
    assert_eq!(follower.await, Ok(shows(5)));
    assert_eq!(loads.get(), 2);
    rig.hits(KEY, 5).await;
}

/// Each load takes as long as the whole crowd needs to come by, and whoever is refused comes again: somebody always
/// misses while the others load.
pub(super) async fn a_crowd_that_comes_one_by_one_settles(rig: Rig) {
    let rows = [Some("it stays"), Some("it changes all the time"), None];
    for (case, (newest_first, what)) in [false, true].into_iter().flat_map(|n| rows.map(|r| (n, r))).enumerate() {
        let (key, mut seq, mut loads) = (format!("user:{case}"), 100, 0);
        let mut offers = VecDeque::new();
        let mut asking = CROWD;
        loop {
            for _ in 0..asking {
                if let Lookup::Miss(lease) = rig.cache.get(&key).await.unwrap() {
                    (seq, loads) = (seq + i64::from(what != Some("it stays")), loads + 1);
                    offers.push_back((lease, seq));
                }
            }
            let next = if newest_first { offers.pop_back() } else { offers.pop_front() };
            let Some((lease, rev)) = next else { break };
            let taken = rig.cache.fill(lease, rev, what.map(|_| row(rev))).await.unwrap();
            asking = u32::from(!taken);
            // Of an absence nothing is stored: who loaded an older one has to look again.
            let most = if newest_first && what.is_none() { 2 * CROWD } else { CROWD };
            assert!(loads <= most, "{loads} loads of a row: {what:?}, newest first: {newest_first}");
        }
    }
}

pub(super) async fn a_crowd_of_replicas_loads_once_each(rig: Rig) {
    let (replicas, loads) = (Vec::from_iter((0..CROWD).map(|_| rig.replica())), Cell::new(0));
    join_all(replicas.iter().zip(0..).map(async |(cache, seed)| {
        let mut random = fastrand::Rng::with_seed(seed);
        while let Lookup::Miss(lease) = cache.get(KEY).await.unwrap() {
            let rev = i64::from(count(&loads)); // it changes all the time
            for _ in 0..random.u32(..20) {
                yield_now().await;
            }
            if cache.fill(lease, rev, Some(row(rev))).await.unwrap() {
                break;
            }
        }
    }))
    .await;
    assert!(loads.get() <= CROWD, "{} loads", loads.get());
}

pub(super) async fn a_crowd_in_one_process_loads_once(rig: Rig) {
    rig.miss("warm").await;
    for (key, loaded) in [("user:user_1", found(5)), ("user:user_2", Loaded::Absent { head: 5 })] {
        let (loads, slow) = (Cell::new(0), Semaphore::new(0));
        let load = || async {
            count(&loads);
            let _ = slow.acquire().await.unwrap();
            Ok::<_, Infallible>(loaded.clone())
        };
        let readers = join_all((0..CROWD).map(|_| rig.cache.read_through(key, load)));
        let course = async {
            settle(&rig.cache).await;
            slow.add_permits(1);
        };
        let (answers, ()) = join(readers, course).await;
        assert_eq!(loads.get(), 1);
        let row = matches!(loaded, Loaded::Row { .. }).then(|| (5, row(5)));
        assert_eq!(answers, vec![Ok(row); CROWD as usize]);
    }
}

/// The promise as readers see it: nobody is answered less than what was answered before they asked.
pub(super) async fn no_reader_goes_back(rig: Rig) {
    let (database, answered, reading) = (Cell::new(0_i64), Cell::new(0_i64), Cell::new(8));
    let replicas = [rig.replica(), rig.replica()];
    let readers = join_all(replicas.iter().cycle().zip(0..reading.get()).map(async |(cache, seed)| {
        let random = RefCell::new(fastrand::Rng::with_seed(seed));
        let pause = async || {
            let turns = random.borrow_mut().u32(..8);
            for _ in 0..turns {
                yield_now().await;
            }
        };
        for _ in 0..200 {
            let before = answered.get();
            let load = || async {
                pause().await;
                let loaded = found(database.get());
                pause().await;
                Ok::<_, Infallible>(loaded)
            };
            let (rev, _) = cache.read_through(KEY, load).await.unwrap().unwrap();
            assert!(rev >= before, "{rev} after {before}");
            answered.set(answered.get().max(rev));
            pause().await;
        }
        reading.set(reading.get() - 1);
    }));
    let meddler = async {
        let mut random = fastrand::Rng::with_seed(8);
        while reading.get() > 0 {
            database.set(database.get() + random.i64(0..2));
            if random.bool() {
                rig.cache.evict(KEY).await.unwrap();
            }
            for _ in 0..random.u32(..16) {
                yield_now().await;
            }
        }
    };
    join(readers, meddler).await;
}

/// Nothing but the load is left, and nobody waits for the cache twice.
#[tokio::test]
async fn without_a_cache_the_load_is_answered() {
    let free = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let rig = Rig::new(&format!("redis://{free}"), "unused");
    let loads = Cell::new(0);
    let load = || async {
        count(&loads);
        Ok::<_, Infallible>(found(5))
    };
    assert_eq!(rig.cache.read_through(KEY, load).await, Ok(shows(5)));
    assert_eq!(loads.get(), 1);
}

#[tokio::test]
async fn a_cache_that_goes_while_a_reader_loads_costs_no_other_load() {
    let Some((url, prefix)) = crate::support::services::redis() else { return };
    let proxy = super::proxy::Proxy::start(&url).await;
    let rig = Rig::new(&proxy.url(), &prefix);
    let loads = Cell::new(0);
    let load = || async {
        count(&loads);
        proxy.down(false);
        Ok::<_, Infallible>(found(5))
    };
    assert_eq!(rig.cache.read_through(KEY, load).await, Ok(shows(5)));
    assert_eq!(loads.get(), 1);
}

/// More keys than fit, each read once: what makes room must not take the leases of those who are loading.
#[tokio::test]
async fn a_full_memory_refuses_no_newcomer() {
    let (rig, loads) = (Rig::local(), Cell::new(0));
    for key in 0..1000 {
        for _ in 0..5 {
            rig.put(&format!("popular:{key}"), 5).await;
            rig.hits(&format!("popular:{key}"), 5).await;
        }
    }
    join_all((0..64).map(async |reader| {
        for n in 0..100 {
            let load = || async {
                count(&loads);
                tokio::time::sleep(Duration::from_millis(1)).await;
                Ok::<_, Infallible>(found(5))
            };
            rig.cache.read_through(&format!("user:{reader}:{n}"), load).await.unwrap();
        }
    }))
    .await;
    assert_eq!(loads.get(), 6400);
}
