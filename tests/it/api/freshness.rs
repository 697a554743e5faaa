//! P12, read your event: what a client has heard of is in what it reads, though the cache has not heard of it yet.

use std::{collections::BTreeSet, time::Instant};

use clerk_sync::db::Transaction;
use clerk_sync::{
    app::{App, Role},
    backends::cache::Lookup,
    clock::{Clock, from_millis},
    db,
};
use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::support::{
    issuer::{ISSUER, Issuer, PARTY},
    organizations::{member, organization},
    people,
    server::{ADMIN, READER, Server, answer, deletion, person},
    services,
    ws::Client,
};

/// Keeps a process's cache from being fed: the only connection of its sink is taken.
async fn hold(app: &mut App) -> Transaction {
    let mut config = app.config.database.clone();
    config.max_read_connections = 1;
    let db = db::connect(&config).await.unwrap();
    app.sinks.cache.db = db.clone();
    db.begin_read().await.unwrap()
}

struct Replica {
    server: Server,
    _held: Option<Transaction>,
}

/// Processes on each database that is there, whose caches are fed by nothing but reads.
async fn beds(replicas: usize, overrides: &[(&str, &str)]) -> Vec<Vec<Replica>> {
    let pem = Issuer::ours().pem();
    let keys = [("clerk.jwt_key", pem.as_str()), ("clerk.issuer", ISSUER), ("clerk.authorized_parties", PARTY)];
    let keys: Vec<_> = keys.iter().chain(overrides).copied().collect();
    let (folder, url) = services::sqlite();
    let mut databases: Vec<(_, _, Box<dyn std::any::Any + Send>)> = vec![("sqlite", url, Box::new(folder))];
    if let Some(postgres) = services::postgres() {
        databases.push(("postgres", postgres.url().to_owned(), Box::new(postgres)));
    }
    let mut beds = Vec::new();
    for (name, url, keep) in databases {
        let mut bed = Vec::new();
        let mut keep = Some(keep);
        for _ in 0..replicas {
            let mut app = Server::connect(&url, &keys, Clock::system()).await;
            let held = if app.config.redis.url.is_empty() { Some(hold(&mut app).await) } else { None };
            // The relay would feed a shared cache.
            let roles = BTreeSet::from([Role::Receive, Role::Sync, Role::Gateway, Role::Api]);
            let keep = keep.take().unwrap_or_else(|| Box::new(()));
            bed.push(Replica { server: Server::serve(name, app, &roles, keep).await, _held: held });
        }
        beds.push(bed);
    }
    beds
}

async fn listen(server: &Server) -> Client {
    let address = server.url.trim_start_matches("http://").parse().unwrap();
    let mut client = Client::open(address, &[], None).await.unwrap();
    client.auth(ADMIN).await;
    client.subscribe(&["users", "organizations"], json!({})).await;
    client
}

/// The next event of this kind; its seq.
async fn heard(client: &mut Client, event: &str) -> i64 {
    loop {
        let frame = client.event().await;
        if frame["event"] == event {
            return frame["seq"].as_i64().unwrap();
        }
    }
}

/// The ways to read Ada: by Clerk's id, by ours, and her own.
async fn ways(server: &Server) -> Vec<(String, String)> {
    let id = server.read("/v1/users?clerk_id=user_ada").await["data"][0]["id"].as_str().unwrap().to_owned();
    let own = Issuer::ours().session("user_ada", "sess_ada", json!({}));
    vec![
        ("/v1/users/user_ada".to_owned(), READER.to_owned()),
        (format!("/v1/users/{id}"), READER.to_owned()),
        ("/v1/users/me".to_owned(), own.clone()),
        (format!("/v1/users/{id}"), own),
    ]
}

fn named(at: u64, name: &str) -> Value {
    person("user_ada", at, json!({"last_name": name}))
}

/// Reads Ada in every way, which must be as of `seq`; `more` goes behind the address.
async fn reads(server: &Server, ways: &[(String, String)], more: &str, name: &str, seq: i64) {
    for (path, token) in ways {
        let answer = server.get(&format!("{path}{more}"), token).await;
        assert_eq!(answer.status, 200, "{}: {path}: {}", server.name, answer.text);
        let user = answer.json();
        assert_eq!((&user["last_name"], &user["rev"]), (&json!(name), &json!(seq)), "{}: {path}", server.name);
        assert_eq!(answer.header("etag"), server.tag(&seq));
    }
}

/// The cache of this process still has an older row.
async fn has_older(server: &Server, key: &str) {
    let found = server.app.sinks.cache.cache.get(key).await.unwrap();
    assert!(matches!(found, Lookup::Stale(_)), "{}: {found:?}", server.name);
}

async fn has(server: &Server, key: &str, seq: i64) {
    let found = server.app.sinks.cache.cache.get(key).await.unwrap();
    assert!(matches!(found, Lookup::Hit { rev, .. } if rev == seq), "{}: {found:?}", server.name);
}

#[tokio::test]
async fn p12_a_client_reads_the_event_that_it_was_sent() {
    for bed in beds(1, &[]).await {
        same_replica(&bed[0].server).await;
    }
}

async fn same_replica(server: &Server) {
    let mut client = listen(server).await;
    server.get("/v1/users/user_ada", READER).await.is_problem(404, "not_found", server.name);
    server.deliver("msg_0", &named(1, "Zero")).await;
    let mut seq = heard(&mut client, "user.created").await;
    let ways = ways(server).await;
    reads(server, &ways, "", "Zero", seq).await;
    let mut events = server.stream(&format!("?after={seq}"), READER).await;
    events.ready().await;
    for round in 1..=12 {
        let (before, name) = (seq, format!("Name {round}"));
        server.deliver(&format!("msg_{round}"), &named(round + 1, &name)).await;
        // By the websocket, by the stream, by asking: whichever told of it, the reads come right after.
        if round % 3 == 0 {
            seq = heard(&mut client, "user.updated").await;
        } else if round % 3 == 1 {
            seq = events.seqs(1).await[0];
        } else {
            let page = server.read(&format!("/v1/changes?after={before}&wait=20")).await;
            seq = page["data"][0]["seq"].as_i64().unwrap();
        }
        has_older(server, "user:user_ada").await;
        reads(server, &ways, "", &name, seq).await;
        has(server, "user:user_ada", seq).await;
        if round % 3 != 0 {
            assert_eq!(heard(&mut client, "user.updated").await, seq);
        }
        if round % 3 != 1 {
            assert_eq!(events.seqs(1).await, [seq]);
        }
    }
    server.deliver("msg_gone", &deletion("user_ada")).await;
    heard(&mut client, "user.deleted").await;
    for (path, token) in ways.iter().take(2) {
        server.get(path, token).await.is_problem(404, "not_found", path);
    }
}

#[tokio::test]
async fn p12_any_replica_answers_as_of_min_rev() {
    // The other replica hears of nothing by itself.
    for bed in beds(2, &[("tail.poll", "1h")]).await {
        any_replica(&bed).await;
    }
}

#[tokio::test]
async fn p12_a_shared_cache_that_is_not_fed_is_no_exception() {
    let Some((url, prefix)) = services::redis() else { return };
    for bed in beds(2, &[("tail.poll", "1h"), ("redis.url", &url), ("redis.prefix", &prefix)]).await {
        any_replica(&bed).await;
        // SQLite's people are not Postgres's.
        bed[0].server.app.sinks.cache.cache.clear().await.unwrap();
    }
}

async fn any_replica(bed: &[Replica]) {
    let (here, there) = (&bed[0].server, &bed[1].server);
    let mut client = listen(here).await;
    here.deliver("msg_0", &named(1, "Zero")).await;
    let mut seq = heard(&mut client, "user.created").await;
    let ways = ways(there).await;
    let mut before = "Zero".to_owned();
    for round in 1..=6 {
        for server in [here, there] {
            reads(server, &ways, &format!("?min_rev={seq}"), &before, seq).await;
            has(server, "user:user_ada", seq).await;
        }
        let name = format!("Name {round}");
        here.deliver(&format!("msg_{round}"), &named(round + 1, &name)).await;
        seq = heard(&mut client, "user.updated").await;
        has_older(here, "user:user_ada").await;
        // First where it was not heard: what that loads must not be what makes the other right.
        reads(there, &ways, &format!("?min_rev={seq}"), &name, seq).await;
        reads(here, &ways, "", &name, seq).await;
        reads(here, &ways, &format!("?min_rev={seq}"), &name, seq).await;
        before = name;
    }
    // Of what is not there yet nothing is kept.
    there.get("/v1/users/user_ben", READER).await.is_problem(404, "not_found", there.name);
    here.deliver("msg_ben", &person("user_ben", 1, json!({}))).await;
    let created = heard(&mut client, "user.created").await;
    // Somebody who was not the subject of it is as they were, and their tag is too.
    let request = there.request(reqwest::Method::GET, &format!("/v1/users/user_ada?min_rev={created}"), READER);
    let unchanged = answer(request.header("if-none-match", there.tag(&seq))).await;
    assert_eq!((unchanged.status, unchanged.text.as_str()), (304, ""));
    assert_eq!(there.read(&format!("/v1/users/user_ben?min_rev={created}")).await["rev"], created);
    here.deliver("msg_gone", &deletion("user_ben")).await;
    let gone = heard(&mut client, "user.deleted").await;
    there.get(&format!("/v1/users/user_ben?min_rev={gone}"), READER).await.is_problem(404, "not_found", there.name);
}

/// They are read from the database, and so are right at once; `min_rev` is taken all the same.
#[tokio::test]
async fn p12_organizations_and_their_members_are_as_new_as_their_events() {
    for bed in beds(2, &[]).await {
        let (here, there) = (&bed[0].server, &bed[1].server);
        let mut client = listen(here).await;
        here.deliver("msg_ada", &people::user("ada", 1)).await;
        here.deliver("msg_eve", &people::user("eve", 1)).await;
        here.deliver("msg_one", &organization("one", "ada", 1)).await;
        here.deliver("msg_member", &member("one", "ada", 2, "org:admin")).await;
        heard(&mut client, "membership.created").await;
        for round in 3..=8_u64 {
            let role = if round % 2 == 0 { "org:admin" } else { "org:member" };
            let event = if round == 3 { "membership.created" } else { "membership.updated" };
            here.deliver(&format!("msg_eve_{round}"), &member("one", "eve", round, role)).await;
            let seq = heard(&mut client, event).await;
            for (server, more) in [(here, String::new()), (there, format!("?min_rev={seq}"))] {
                let members = server.read(&format!("/v1/organizations/org_one/members{more}")).await;
                let eve = members["data"].as_array().unwrap().iter().find(|row| row["clerk_id"] == "user_eve");
                assert_eq!(eve.unwrap()["role"], role, "{}", server.name);
                let own = server.read(&format!("/v1/users/user_eve/organizations{more}")).await;
                assert_eq!(own["data"][0]["role"], role, "{}", server.name);
            }
            let name = format!("One {round}");
            let renamed = people::with(organization("one", "ada", round + 10), "name", json!(name));
            here.deliver(&format!("msg_one_{round}"), &renamed).await;
            // The count of its members is told too.
            let seq = loop {
                let frame = client.event().await;
                if frame["event"] == "organization.updated" && frame["data"]["name"] == name {
                    break frame["seq"].as_i64().unwrap();
                }
            };
            for (server, more) in [(here, String::new()), (there, format!("?min_rev={seq}"))] {
                let shown = server.read(&format!("/v1/organizations/org_one{more}")).await;
                assert_eq!((&shown["name"], &shown["rev"]), (&json!(name), &json!(seq)), "{}", server.name);
            }
        }
    }
}

#[tokio::test]
async fn min_rev_is_a_number_that_the_feed_has_come_to() {
    for bed in beds(1, &[]).await {
        let server = &bed[0].server;
        let mut client = listen(server).await;
        server.deliver("msg_ada", &people::user("ada", 1)).await;
        server.deliver("msg_one", &organization("one", "ada", 1)).await;
        server.deliver("msg_member", &member("one", "ada", 2, "org:admin")).await;
        let seq = heard(&mut client, "membership.created").await;
        let head = server.read("/v1/changes?after=0").await["next"].as_i64().unwrap();
        assert!(head >= seq);
        let paths = [
            "/v1/users/user_ada",
            "/v1/users/user_ada/organizations",
            "/v1/organizations/org_one",
            "/v1/organizations/org_one/members",
            "/v1/users",
            "/v1/organizations",
        ];
        for path in paths {
            for fine in [format!("min_rev={head}"), "min_rev=0".to_owned(), "min_rev=1".to_owned()] {
                server.read(&format!("{path}?{fine}")).await;
            }
            for wrong in [
                "min_rev=",
                "min_rev=-1",
                "min_rev=%2B1",
                "min_rev=1.5",
                "min_rev=1e3",
                "min_rev=x",
                "min_rev=9223372036854775808",
                "min_rev=1&min_rev=1",
                "minrev=1",
            ] {
                let path = format!("{path}?{wrong}");
                server.get(&path, READER).await.is_problem(422, "invalid_request", &path);
            }
            // Nobody who may not read keeps a request waiting.
            server.get(&format!("{path}?min_rev={}", i64::MAX), "wrong").await.is_problem(401, "unauthenticated", path);
        }
        // Of another epoch, or from beyond: it ends, with what to do.
        let started = Instant::now();
        let beyond = paths
            .iter()
            .flat_map(|path| [format!("{path}?min_rev={}", head + 1), format!("{path}?min_rev={}", i64::MAX)]);
        for (path, answer) in join_all(beyond.map(async |path| (path.clone(), server.get(&path, READER).await))).await {
            answer.is_problem(503, "stale", &path);
            assert_eq!(answer.header("retry-after"), "1", "{path}");
        }
        assert!((2..10).contains(&started.elapsed().as_secs()), "{:?}", started.elapsed());
        // What comes while it waits is waited for.
        let path = format!("/v1/users/user_ada?min_rev={}", head + 1);
        let change = async {
            tokio::task::yield_now().await;
            let changed = people::with(people::user("ada", 9), "first_name", json!("Augusta"));
            server.deliver("msg_new", &changed).await;
        };
        let (read, ()) = tokio::join!(server.read(&path), change);
        assert_eq!(read["first_name"], "Augusta");
    }
}

/// 5.1.11: it changes without an event, so nothing is told to the cache.
#[tokio::test]
async fn a_cached_last_sign_in_is_a_minute_old_at_most() {
    use std::sync::{
        Arc,
        atomic::{AtomicI64, Ordering::SeqCst},
    };
    let later = Arc::new(AtomicI64::new(0));
    let passed = later.clone();
    let clock =
        Clock::from_fn(move || from_millis(Clock::system().now().timestamp_millis() + passed.load(SeqCst)).unwrap());
    let (folder, url) = services::sqlite();
    let app = Server::connect(&url, &[("cache.ttl", "1h")], clock).await;
    let server = Server::serve("sqlite", app, &Role::ALL.into(), Box::new(folder)).await;
    let signed_in = |at: u64, ms: i64| person("user_ada", at, json!({"last_sign_in_at": ms}));
    server.sync("msg_1", &signed_in(1, 1_700_000_000_000)).await;
    let first = server.read("/v1/users/user_ada").await;
    server.sync("msg_2", &signed_in(2, 1_700_000_500_000)).await;
    let cached = server.read("/v1/users/user_ada").await;
    assert_eq!(cached, first, "it is quiet, and cached");
    later.store(60_000, SeqCst);
    let then = server.read("/v1/users/user_ada").await;
    assert_eq!((&then["last_sign_in_at"], &then["rev"]), (&json!("2023-11-14T22:21:40.000Z"), &first["rev"]));
}

/// Figures, and that none of them is stale: `tests/run --long freshness`.
#[tokio::test]
#[ignore = "it measures for some seconds a bed"]
async fn reads_right_after_events_and_under_load_in_figures() {
    let mut beds: Vec<(&str, Vec<Server>)> = Vec::new();
    beds.extend(Server::start_all(&[]).await.into_iter().map(|server| ("memory", vec![server])));
    beds.extend(Server::replicas(2, &[]).await.map(|servers| ("memory", servers)));
    if let Some((url, prefix)) = services::redis() {
        beds.extend(
            Server::replicas(2, &[("redis.url", &url), ("redis.prefix", &prefix)]).await.map(|all| ("redis", all)),
        );
    }
    for (cache, servers) in beds {
        let (here, there) = (&servers[0], servers.last().unwrap());
        let mut client = listen(here).await;
        for n in 0..50 {
            here.deliver(&format!("msg_{n}"), &person(&format!("user_{n}"), 1, json!({}))).await;
            heard(&mut client, "user.created").await;
        }
        let (mut stale, mut asked) = (0, 0);
        for round in 0..30_u64 {
            let path = format!("/v1/users/user_{}", round % 3);
            for server in &servers {
                server.read(&path).await;
            }
            let name = format!("Name {round}");
            let body = person(&format!("user_{}", round % 3), round + 2, json!({"last_name": name}));
            here.deliver(&format!("msg_round_{round}"), &body).await;
            let seq = heard(&mut client, "user.updated").await;
            let mut answers = vec![here.read(&path).await];
            if servers.len() > 1 {
                answers.push(there.read(&format!("{path}?min_rev={seq}")).await);
                answers.push(there.read(&path).await);
            }
            asked += answers.len();
            stale += answers.iter().filter(|user| user["last_name"] != name.as_str()).count();
        }
        // Readers of fifty people, while one of them changes every 20 ms.
        let (done, kinds) = (std::cell::Cell::new(false), std::cell::Cell::new([0_u32; 3]));
        let readers = join_all((0..4_u64).map(async |seed| {
            let mut random = fastrand::Rng::with_seed(seed);
            while !done.get() {
                let id = format!("user_{}", random.u32(..50));
                let [mut hits, mut seen, mut misses] = kinds.get();
                match there.app.sinks.cache.cache.get(&format!("user:{id}")).await.unwrap() {
                    Lookup::Hit { .. } | Lookup::Gone { .. } => hits += 1,
                    Lookup::Stale(_) => seen += 1,
                    Lookup::Miss(_) => misses += 1,
                }
                kinds.set([hits, seen, misses]);
                there.read(&format!("/v1/users/{id}?min_rev=1")).await;
            }
        }));
        let changes = async {
            for n in 0..150_u64 {
                let body = person(&format!("user_{}", n % 50), n + 100, json!({"last_name": format!("Load {n}")}));
                here.deliver(&format!("msg_load_{n}"), &body).await;
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
            done.set(true);
        };
        tokio::join!(readers, changes);
        println!(
            "{} replicas, {}, cache in {cache}: {stale} of {asked} stale; under load [hits, stale, misses] {:?}",
            servers.len(),
            here.name,
            kinds.get()
        );
        assert_eq!(stale, 0);
    }
}
