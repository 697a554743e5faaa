//! What the two do each in their own way: lifetimes; and of Redis keys, round trips and being down.

use std::time::{Duration, Instant};

use clerk_sync::backends::cache::{CacheError, Entry, Lookup};
use redis::AsyncTypedCommands as _;
use tokio::net::TcpListener;

use super::{Rig, TTL, proxy::Proxy, row};
use crate::support::services;

const KEY: &str = "user:user_1";

async fn connect(url: &str) -> redis::aio::MultiplexedConnection {
    redis::Client::open(url).unwrap().get_multiplexed_async_connection().await.unwrap()
}

#[tokio::test]
async fn lifetimes_in_memory_go_by_the_clock() {
    let rig = Rig::local();
    let second = Duration::from_secs(1);

    let (lease, first) = (rig.miss("in time").await, rig.miss("late").await);
    let absent = rig.miss("absent").await;
    rig.advance(Duration::from_secs(29));
    assert!(rig.fill(lease, 5).await);
    assert!(rig.fill_none(absent, 5).await);
    let (second_reader, absent) = (rig.miss("late").await, rig.miss("absent").await);
    rig.advance(second);
    assert!(!rig.fill(second_reader, 5).await, "30 s from when it was first given");
    assert!(!rig.fill_none(absent, 5).await, "nor does an absence make it last");
    let next = rig.miss("late").await;
    assert_ne!(first, next, "it is not given again");
    assert!(!rig.fill(first, 4).await);
    assert!(rig.fill(next, 5).await);

    rig.remove("marker", 5).await;
    rig.advance(Duration::from_secs(299));
    rig.gone("marker", 5).await;
    rig.advance(second);
    rig.miss("marker").await;
}

/// Quiet fields change without a row in the feed: whatever `cache.ttl` says, a row is served for less than a minute,
/// counted from before it was read from the database.
#[tokio::test]
async fn a_row_in_memory_is_never_a_minute_old() {
    let rig = Rig::local();
    assert!(TTL > Duration::from_secs(60));
    let slow = rig.miss("filled").await;
    rig.put("written", 5).await;
    rig.advance(Duration::from_secs(20));
    assert!(rig.fill(slow, 5).await);
    rig.advance(Duration::from_secs(34));
    rig.hits("written", 5).await;
    rig.hits("filled", 5).await;
    rig.advance(Duration::from_secs(1));
    rig.miss("written").await;
    rig.miss("filled").await;
    // A load that took longer than that is answered, and not kept.
    rig.put("slower", 5).await;
    rig.cache.watermarks().raise(6);
    let Lookup::Stale(slower) = rig.cache.get("slower").await.unwrap() else { panic!("it was seen") };
    rig.advance(Duration::from_secs(50));
    assert!(rig.fill(slower, 5).await);
    rig.hits("slower", 5).await;
    rig.advance(Duration::from_secs(5));
    rig.miss("slower").await;
}

#[tokio::test]
async fn lifetimes_in_redis_are_the_servers() {
    let Some((url, prefix)) = services::redis() else { return };
    let (rig, mut redis) = (Rig::new(&url, &prefix), connect(&url).await);
    let mut lives = async |key: &str| -> i64 {
        redis::cmd("PTTL").arg(format!("{prefix}:cache:{key}")).query_async(&mut redis).await.unwrap()
    };
    let mut other = connect(&url).await;
    let mut shorten = async |key: &str| {
        assert!(other.pexpire(format!("{prefix}:cache:{key}"), 20_000).await.unwrap());
    };
    let early = rig.miss("lease").await;
    rig.cache.evict("lease").await.unwrap();
    let absent = rig.miss("lease").await;
    assert!((25_000..=30_000).contains(&lives("lease").await));
    shorten("lease").await;
    rig.miss("lease").await;
    assert!((1..=20_000).contains(&lives("lease").await), "the next reader does not make it last");
    assert!(!rig.fill(early, 7).await);
    assert!((1..=20_000).contains(&lives("lease").await), "nor does a refused offer");
    assert!(rig.fill_none(absent, 8).await);
    assert!((1..=20_000).contains(&lives("lease").await), "nor an absence");
    // Less than a minute from before it was read, whatever `cache.ttl` says.
    rig.put("row", 5).await;
    assert!((45_000..=55_000).contains(&lives("row").await));
    let lease = rig.miss("filled").await;
    rig.advance(Duration::from_secs(20));
    rig.fill(lease, 5).await;
    assert!((25_000..=35_000).contains(&lives("filled").await));
    let early = rig.miss("marker").await;
    rig.remove("marker", 6).await;
    assert!((295_000..=300_000).contains(&lives("marker").await));
    rig.fill_none(early, 7).await;
    assert!((295_000..=300_000).contains(&lives("marker").await));
}

#[tokio::test]
async fn clear_leaves_alone_what_is_not_the_caches() {
    let Some((url, prefix)) = services::redis() else { return };
    // As a pattern this prefix would match the neighbour's.
    let (own, neighbour) = (format!("{prefix}[ab]"), format!("{prefix}a"));
    let (rig, other, mut redis) = (Rig::new(&url, &own), Rig::new(&url, &neighbour), connect(&url).await);
    rig.put(KEY, 5).await;
    other.put(KEY, 6).await;
    redis.set(format!("{own}:changes"), "the stream").await.unwrap();
    rig.cache.clear().await.unwrap();
    rig.miss(KEY).await;
    other.hits(KEY, 6).await;
    assert!(redis.exists(format!("{own}:changes")).await.unwrap());
}

/// A key that somebody else took is that key's trouble only, and what Redis says of it is not passed on.
#[tokio::test]
async fn a_foreign_value_fails_its_key_only() {
    let Some((url, prefix)) = services::redis() else { return };
    let (rig, mut redis) = (Rig::new(&url, &prefix), connect(&url).await);
    redis.lpush(format!("{prefix}:cache:{KEY}"), "secret").await.unwrap();
    let error = rig.cache.get(KEY).await.unwrap_err();
    assert_eq!(error.to_string(), "the cache failed: WRONGTYPE");
    assert!(rig.put("user:user_2", 5).await);
    rig.hits("user:user_2", 5).await;
}

#[tokio::test]
async fn a_batch_is_one_round_trip() {
    let Some((url, prefix)) = services::redis() else { return };
    let proxy = Proxy::start(&url).await;
    let rig = Rig::new(&proxy.url(), &prefix);
    rig.cache.put_many(&[Entry { key: "first".to_owned(), rev: 1, json: None }]).await.unwrap();
    proxy.sent();
    let batch: Vec<_> = (1..=500).map(|rev| Entry { key: rev.to_string(), rev, json: Some(row(rev)) }).collect();
    let taken = rig.cache.put_many(&batch).await.unwrap();
    assert_eq!(taken, [true; 500]);
    let sent = proxy.sent();
    let commands = sent.windows(7).filter(|word| word == b"EVALSHA").count();
    assert_eq!(commands, 1);
    assert!(sent.starts_with(b"*"), "and nothing before it");
}

/// Connects, and never says a word.
#[tokio::test]
async fn a_redis_that_hangs_costs_a_second_once() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let rig = Rig::new(&format!("redis://{}", listener.local_addr().unwrap()), "unused");
    let began = Instant::now();
    assert_eq!(rig.cache.get(KEY).await.unwrap_err(), CacheError::TimedOut);
    assert!(began.elapsed() < Duration::from_millis(1500), "{:?}", began.elapsed());
    let began = Instant::now();
    for _ in 0..100 {
        assert_eq!(rig.cache.get(KEY).await.unwrap_err(), CacheError::Unavailable);
    }
    assert!(began.elapsed() < Duration::from_millis(500), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_redis_that_is_not_there_is_no_panic() {
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let rig = Rig::new(&format!("redis://:secret@{free}"), "unused");
    let error = rig.cache.ping().await.unwrap_err();
    assert!(matches!(error, CacheError::Failed(_)), "{error:?}");
    assert!(!format!("{error} {error:?} {:?}", rig.cache).contains("secret"));
    assert_eq!(rig.cache.ping().await.unwrap_err(), CacheError::Unavailable);
}

#[tokio::test]
async fn it_comes_back_with_redis() {
    let Some((url, prefix)) = services::redis() else { return };
    let proxy = Proxy::start(&url).await;
    let rig = Rig::new(&proxy.url(), &prefix);
    rig.put(KEY, 5).await;

    proxy.cut();
    rig.hits(KEY, 5).await; // a connection that was closed while idle is nobody's failure

    for hung in [false, true] {
        proxy.down(hung);
        rig.cache.get(KEY).await.unwrap_err();
        assert_eq!(rig.cache.get(KEY).await.unwrap_err(), CacheError::Unavailable);
        proxy.up();
        let began = Instant::now();
        while rig.cache.get(KEY).await.is_err() {
            assert!(began.elapsed() < Duration::from_secs(4), "it is still left alone");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        rig.hits(KEY, 5).await;
    }
}
