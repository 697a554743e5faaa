//! Consumers of one group: processes of theirs and of ours are killed, and every change is applied once.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use super::{
    bed::{Redis, told},
    consumer::{Consumer, Dead, Tables, applied, pending},
};
use crate::support::{
    people::{user, with},
    process::{Process, free_port, post},
    server::{READER, Server, person},
    world,
};

fn consumer(name: &str, redis: &Redis, tables: &Arc<Mutex<Tables>>, dies: Option<(usize, bool)>) -> Consumer {
    let api = ("http://127.0.0.1:1".to_owned(), String::new());
    Consumer { name: name.into(), redis: redis.clone(), api, tables: tables.clone(), dies, handled: 0 }
}

/// Works until `upto` is applied and nothing is pending.
async fn work(mut consumer: Consumer, upto: tokio::sync::watch::Receiver<i64>) -> Result<(), Dead> {
    consumer.begin().await;
    let started = Instant::now();
    loop {
        if consumer.round().await? == 0 {
            let upto = *upto.borrow();
            if upto > 0 && applied(&consumer.tables).last() == Some(&upto) && pending(&consumer.redis).await == 0 {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert!(started.elapsed() < Duration::from_secs(60), "{}: not everything comes", consumer.name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_change_is_applied_once_though_processes_are_killed() {
    let (Some(redis), Some(world)) = (Redis::new().await, world::postgres(&[]).await) else { return };
    let database = world.app.config.database.url.expose().to_owned();
    let environment = [
        ("REDIS_URL", redis.url.as_str()),
        ("CLERK_SYNC__REDIS__PREFIX", redis.prefix.as_str()),
        ("CLERK_SYNC__RELAY__LEASE", "1s"),
        ("CLERK_SYNC__RELAY__BATCH", "7"),
        ("CLERK_SYNC__SYNC__BATCH", "5"),
        ("CLERK_SYNC__SYNC__LEASE", "1s"),
        ("CLERK_SYNC__UPKEEP__EVERY", "200ms"),
    ];
    let mut one = Process::serve(free_port(), &database, &environment).await;
    let two = Process::serve(free_port(), &database, &environment).await;
    let tables = Arc::new(Mutex::new(Tables::default()));
    let (end, upto) = tokio::sync::watch::channel(0);
    let mut workers = tokio::task::JoinSet::new();
    // One dies with an entry applied and not acknowledged, one with a page in its hands; a third takes over.
    for (name, dies) in [("first", Some((25, true))), ("second", Some((40, false))), ("third", None)] {
        workers.spawn(work(consumer(name, &redis, &tables, dies), upto.clone()));
    }
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    for n in 0..300_u64 {
        let body = with(user(&format!("p{}", n % 50), n), "first_name", format!("N{n}").into()).to_string();
        if n == 120 {
            one.kill();
        }
        let door = if n < 120 && n % 2 == 0 { &one.url } else { &two.url };
        assert_eq!(post(&client, door, &format!("msg_{n}"), body.as_bytes()).await, Some(200));
    }
    let started = Instant::now();
    loop {
        let open = "select count(*) as n from clerk_sync.inbox where state in ('pending', 'running')";
        if crate::support::dump::number(&world.app.db, open).await == 0 {
            break;
        }
        assert!(started.elapsed() < Duration::from_secs(30), "the inbox does not settle");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let expected: Vec<i64> = told(&world.app, 0).await.into_iter().map(|(seq, _)| seq).collect();
    assert!(expected.len() >= 100, "{}", expected.len());
    end.send_replace(*expected.last().unwrap());
    let mut ends = workers.join_all().await;
    ends.sort_by_key(Result::is_ok);
    assert_eq!(ends, [Err(Dead), Err(Dead), Ok(())]);
    assert_eq!(redis.seqs().await, expected);
    assert_eq!(applied(&tables).into_iter().collect::<Vec<_>>(), expected);
    let tables = tables.lock().unwrap();
    assert!(tables.holes.is_empty(), "{:?}", tables.holes);
    assert!(tables.repeated > 0, "what one had applied and not acknowledged came again");
    for (name, came) in &tables.came {
        assert!(came.is_sorted_by(|one, next| one < next), "{name}: in order, each once: {came:?}");
    }
    assert_eq!(tables.came.values().map(Vec::len).sum::<usize>(), expected.len(), "each was handed out once");
    assert!(tables.came.len() == 3 && tables.came["third"].len() > 50, "all of them worked");
}

/// A consumer was away for so long that the stream no longer has what it lacks; the feed has.
#[tokio::test]
async fn what_was_trimmed_meanwhile_is_read_from_the_feed() {
    let Some(redis) = Redis::new().await else { return };
    let keys = redis.keys();
    let keys = [
        (keys[0].0, keys[0].1.as_str()),
        (keys[1].0, keys[1].1.as_str()),
        ("stream.max_len", "40"),
        ("relay.batch", "20"),
    ];
    for server in Server::start_all(&keys).await {
        redis.lose().await;
        let tables = Arc::new(Mutex::new(Tables::default()));
        let mut only = consumer("only", &redis, &tables, None);
        only.api = (server.url.clone(), READER.to_owned());
        only.begin().await;
        let deliver = async |names: std::ops::Range<u64>| {
            for n in names {
                assert_eq!(
                    server.deliver(&format!("msg_{n}"), &person(&format!("user_p{n}"), n, serde_json::json!({}))).await,
                    200
                );
            }
            server.settle().await;
            server.caught_up("stream:redis").await;
        };
        deliver(0..30).await;
        assert!(only.round().await.unwrap() > 0);
        // Some of what it has taken is gone before it could come back to it, too.
        only.dies = Some((only.handled + 2, false));
        assert_eq!(only.round().await, Err(Dead));
        deliver(30..130).await;
        tokio::time::sleep(Duration::from_millis(350)).await;
        only.dies = None;
        while only.round().await.unwrap() > 0 || pending(&redis).await > 0 {}
        let expected: Vec<i64> = told(&server.app, 0).await.into_iter().map(|(seq, _)| seq).collect();
        assert_eq!(expected.len(), 130);
        assert_eq!(applied(&tables).into_iter().collect::<Vec<_>>(), expected, "{}", server.name);
        let holes = tables.lock().unwrap().holes.clone();
        assert!(holes.contains(&"the stream begins later".into()), "{}: {holes:?}", server.name);
        assert!(server.stop().await);
    }
}
