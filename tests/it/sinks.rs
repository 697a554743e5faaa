//! P6 and P7: sinks that are down, slow, or refuse, each on its own cursor; and what can be built again.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use clerk_sync::{
    app::App,
    backends::cache::Lookup,
    clock::Clock,
    config::Secret,
    db::Stmt,
    outbox::{
        cursor, dead, feed,
        relay::{Refused, Sink, Transient},
    },
    sinks::{cache::CacheSink, reindex, search::SearchSink},
};

use sea_orm::ConnectionTrait as _;
use tokio_util::sync::CancellationToken;

use crate::support::{
    meili::{Double, KEY},
    people::{deleted, user},
    services,
    world::{World, config, worlds},
};

/// The same database with Meilisearch and, where there is one, Redis.
async fn with_backends(world: &World, meili: &Double) -> App {
    let mut config =
        config(&[("relay.backoff", "1ms".into()), ("relay.backoff_max", "5ms".into()), ("relay.batch", "3".into())]);
    config.database.url = world.app.config.database.url.clone();
    config.meili.url = meili.url().into();
    config.meili.master_key = Secret::from(KEY);
    if let Some((url, prefix)) = services::redis() {
        config.redis.url = Secret::from(url.as_str());
        config.redis.prefix = prefix;
    }
    App::connect(config, Clock::system(), true).await.unwrap()
}

async fn seq(app: &App, sink: &str) -> i64 {
    let select =
        Stmt::new(&app.db.read, "select coalesce(max(seq), 0) as n from clerk_sync.sink_cursors where sink = ")
            .val(sink);
    select.all(&app.db.read).await.unwrap()[0].try_get("", "n").unwrap()
}

/// Delivers until the sink has everything, or `rounds` are over.
async fn relay<S: clerk_sync::outbox::relay::Sink + Clone>(app: &App, sink: &S, rounds: usize) -> bool {
    let relay = app.relay();
    for _ in 0..rounds {
        if relay.drain(sink).await.unwrap() {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    false
}

#[tokio::test]
async fn p6_a_sink_that_is_down_delays_no_other_and_loses_nothing() {
    for world in worlds(&[]).await {
        let meili = Double::start().await;
        let app = with_backends(&world, &meili).await;
        let Some(cache) = shared(&app) else { return };
        for index in 0..10 {
            world.deliver(&format!("msg_{index}"), &user(&format!("u{index}"), index)).await;
        }
        world.drain().await;
        meili.fail(|faults| faults.answer = Some((503, "unavailable")));
        assert!(!relay(&app, &app.sinks.search, 3).await, "{}: the search is down", world.name);
        assert!(relay(&app, &cache, 50).await, "{}: the cache is not", world.name);
        assert_eq!((seq(&app, "search:meilisearch").await, seq(&app, "cache:redis").await), (0, 10));
        assert!(matches!(app.sinks.cache.cache.get("user:user_u7").await.unwrap(), Lookup::Hit { .. }));
        assert_eq!(dead::list(&app.db, true, 10).await.unwrap().len(), 0, "an outage is nobody's fault");
        meili.fail(|faults| faults.answer = None);
        assert!(relay(&app, &app.sinks.search, 200).await);
        assert_eq!(seq(&app, "search:meilisearch").await, 10);
        assert_eq!(app.sinks.search.search.search("u7@example.com", 5).await.unwrap().len(), 1, "{}", world.name);
    }
}

/// The cache as a shared sink, where there is a Redis.
fn shared(app: &App) -> Option<CacheSink> {
    (!app.config.redis.url.is_empty()).then(|| app.sinks.cache.clone())
}

#[tokio::test]
async fn p6_what_is_refused_for_good_goes_to_the_dead_letters_and_does_not_block() {
    for world in worlds(&[]).await {
        let meili = Double::start().await;
        let app = with_backends(&world, &meili).await;
        for name in ["ada", "ben", "cleo", "dora"] {
            world.deliver(&format!("msg_{name}"), &user(name, 1)).await;
        }
        world.drain().await;
        let feed = feed::read(&app.db.read, 0, 10).await.unwrap();
        let ben = feed.iter().find(|entry| entry.subject == "user_ben").unwrap();
        let id = ben.payload["id"].as_str().unwrap().to_owned();
        meili.fail(|faults| faults.refused = [id.clone()].into());
        assert!(relay(&app, &app.sinks.search, 50).await, "{}: the others are delivered", world.name);
        assert_eq!(seq(&app, "search:meilisearch").await, 4);
        let letters = dead::list(&app.db, false, 10).await.unwrap();
        assert_eq!(letters.len(), 1);
        assert_eq!((letters[0].subject.as_str(), letters[0].seq), ("user_ben", ben.seq));
        assert_eq!(app.sinks.search.search.search("tester", 10).await.unwrap().len(), 3);
        assert!(app.sinks.redeliver(&letters[0]).await.unwrap(), "refused still");
        meili.fail(|faults| faults.refused.clear());
        assert!(!app.sinks.redeliver(&letters[0]).await.unwrap());
        assert!(dead::end(&app.db, letters[0].id.0, "retried", app.clock.now()).await.unwrap());
        assert!(dead::list(&app.db, false, 10).await.unwrap().is_empty());
        assert_eq!(app.sinks.search.search.search("tester", 10).await.unwrap().len(), 4);
    }
}

/// Two replicas feed one sink: the lease lets one, and a cursor that was set back meanwhile is not moved over.
#[tokio::test]
async fn a_cursor_is_moved_by_one_replica_at_a_time() {
    for world in worlds(&[]).await {
        let (app, now) = (&world.app, world.app.clock.now());
        let minute = Duration::from_secs(60);
        cursor::ensure(&app.db, "s", now).await.unwrap();
        assert!(cursor::lease(&app.db, "s", "one", now, minute).await.unwrap().is_some());
        assert!(cursor::lease(&app.db, "s", "two", now, minute).await.unwrap().is_none());
        assert!(!cursor::advance(&app.db, "s", "two", 0, 5, now).await.unwrap());
        assert!(cursor::advance(&app.db, "s", "one", 0, 5, now).await.unwrap());
        cursor::set_back(&app.db, "s", 2, now).await.unwrap();
        assert!(
            !cursor::advance(&app.db, "s", "one", 5, 9, now).await.unwrap(),
            "a delivery under way must not undo it"
        );
        assert_eq!(cursor::lease(&app.db, "s", "one", now, minute).await.unwrap().unwrap().seq, 2);
        let later = now + chrono::Duration::seconds(61);
        assert_eq!(cursor::lease(&app.db, "s", "two", later, minute).await.unwrap().unwrap().seq, 2, "{}", world.name);
        cursor::rest(&app.db, "s", "two", later + chrono::Duration::seconds(9), "down", later).await.unwrap();
        assert!(cursor::lease(&app.db, "s", "two", later, minute).await.unwrap().is_none(), "it rests");
    }
}

/// P7: everything in the search index is lost; one command builds it again, and what changes meanwhile is in it too.
#[tokio::test]
async fn p7_reindex_builds_the_search_again_from_the_database() {
    for world in worlds(&[]).await {
        let meili = Double::start().await;
        let remote = with_backends(&world, &meili).await;
        for name in ["ada", "ben", "cleo"] {
            world.deliver(&format!("msg_{name}"), &user(name, 1)).await;
        }
        world.deliver("msg_gone", &deleted("ben", 9)).await;
        world.drain().await;
        for app in [&world.app, &remote] {
            let sink: &SearchSink = &app.sinks.search;
            assert!(relay(app, sink, 50).await);
            let name = clerk_sync::outbox::relay::Sink::name(sink);
            assert_eq!(sink.search.search("tester", 10).await.unwrap().len(), 2, "{name}");
        }
        meili.lose("clerk_sync_users");
        world.app.db.write.execute_unprepared("delete from clerk_sync.search_users").await.unwrap();
        world.deliver("msg_late", &user("late", 1)).await;
        world.drain().await;
        for app in [&world.app, &remote] {
            let sink = &app.sinks.search;
            let (people, refused) = reindex::search(sink, &app.clock, |_| {}).await.unwrap();
            assert_eq!((people, refused), (3, 0), "{}", world.name);
            assert!(relay(app, sink, 50).await);
            assert_eq!(sink.search.search("tester", 10).await.unwrap().len(), 3);
        }
    }
}

/// A read fills the cache, a change reaches it, a deletion too; and with the cache down reads go on.
#[tokio::test]
async fn reads_go_through_the_cache_and_around_it_when_it_is_down() {
    use crate::support::server::{READER, Server, deletion, person};
    let mut servers = Server::start_all(&[]).await;
    if let Some((url, prefix)) = services::redis() {
        servers.push(Server::start(&[("redis.url", &url), ("redis.prefix", &prefix)]).await);
    }
    for server in servers {
        server.sync("msg_1", &person("user_ada", 1, serde_json::json!({}))).await;
        let first = server.read("/v1/users/user_ada").await;
        let cached = server.app.sinks.cache.cache.get("user:user_ada").await.unwrap();
        assert!(matches!(cached, Lookup::Hit { rev: 1, .. }), "{}", server.name);
        server.sync("msg_2", &person("user_ada", 2, serde_json::json!({"last_name": "Byron"}))).await;
        server.cached("user_ada").await;
        let second = server.read("/v1/users/user_ada").await;
        assert_eq!((&second["last_name"], &second["id"], &second["rev"]), (&"Byron".into(), &first["id"], &2.into()));
        server.sync("msg_3", &deletion("user_ada")).await;
        server.cached("user_ada").await;
        server.get("/v1/users/user_ada", READER).await.is_problem(404, "not_found", server.name);
    }
    // A Redis that is not there: the answer comes from the database, and /readyz names it.
    let server = Server::start(&[("redis.url", "redis://127.0.0.1:1"), ("meili.url", "http://127.0.0.1:1")]).await;
    server.sync("msg_1", &person("user_ada", 1, serde_json::json!({}))).await;
    assert_eq!(server.read("/v1/users/user_ada").await["clerk_id"], "user_ada");
    assert_eq!(
        server.read("/v1/search/users?q=user_ada@").await["data"][0]["clerk_id"],
        "user_ada",
        "found by address all the same"
    );
    let ready: serde_json::Value =
        server.client.get(format!("{}/readyz", server.url)).send().await.unwrap().json().await.unwrap();
    assert_eq!(ready["status"], "degraded");
    assert_eq!(
        ready["dependencies"],
        serde_json::json!({"database": "ok", "cache": "down", "search": "down", "stream": "down"})
    );
}

/// A target that notes when it got what.
#[derive(Clone)]
struct Noting {
    name: &'static str,
    dear: bool,
    got: Arc<Mutex<Vec<Vec<i64>>>>,
}

impl Noting {
    fn new(name: &'static str, dear: bool) -> Self {
        Self { name, dear, got: Arc::default() }
    }

    fn deliveries(&self) -> Vec<Vec<i64>> {
        self.got.lock().unwrap().clone()
    }
}

impl Sink for Noting {
    fn name(&self) -> &'static str {
        self.name
    }

    fn gather(&self) -> Duration {
        // So long that a second delivery within the test is one that did not gather.
        if self.dear { Duration::from_secs(600) } else { Duration::ZERO }
    }

    fn gives_way(&self) -> bool {
        self.dear
    }

    async fn deliver(&self, entries: &[feed::Entry]) -> Result<Vec<Refused>, Transient> {
        self.got.lock().unwrap().push(entries.iter().map(|entry| entry.seq).collect());
        Ok(Vec::new())
    }
}

#[tokio::test]
async fn a_dear_target_gives_way_to_a_backlog_and_then_gets_everything_at_a_stretch() {
    for world in worlds(&[("relay.batch", "3".into())]).await {
        for index in 0..10 {
            world.deliver(&format!("msg_{index}"), &user(&format!("u{index}"), index)).await;
        }
        world.drain().await;
        let (dear, light) = (Noting::new("test:dear", true), Noting::new("test:light", false));
        let (signals, stop) = (world.app.signals.clone(), CancellationToken::new());
        signals.crowd.applied(1_000);
        let started = Instant::now();
        let tasks = [
            tokio::spawn(world.app.relay().run(dear.clone(), stop.clone())),
            tokio::spawn(world.app.relay().run(light.clone(), stop.clone())),
        ];
        let all = [vec![1, 2, 3], vec![4, 5, 6], vec![7, 8, 9], vec![10]];
        while light.deliveries() != all {
            assert!(started.elapsed() < Duration::from_secs(20), "{}: {:?}", world.name, light.deliveries());
            assert!(dear.deliveries().is_empty() || started.elapsed() > Duration::from_millis(500), "{}", world.name);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        // A backlog without end: the target's turn comes all the same, and pages follow each other without a rest.
        while dear.deliveries() != all {
            signals.crowd.applied(1_000);
            assert!(started.elapsed() < Duration::from_secs(20), "{}: {:?}", world.name, dear.deliveries());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert!(started.elapsed() > Duration::from_millis(2_900), "{}: it gave way", world.name);
        stop.cancel();
        for task in tasks {
            task.await.unwrap();
        }
    }
}
