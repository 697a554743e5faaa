//! Resume, proved on many random disconnects: clients of every kind come and go on two replicas while thousands of changes
//! are made and memberships begin and end. In the end each has seen exactly what it may see, once a topic and in order, as
//! an oracle reads it off the rows of the feed; it uses nothing of the gateway's.
//!
//! The acts are random by a seed, the timing is the machine's: `PROOF_SEED=7 tests/run gateway::proof`.

mod clerk;
mod follower;
mod oracle;
mod topic;
mod visit;

use std::{
    net::SocketAddr,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Instant,
};

use fastrand::Rng;
use serde_json::json;
use tokio::{sync::watch, task::JoinSet};

use self::{
    clerk::Clerk,
    follower::{Follower, Tally},
    oracle::Oracle,
};
use super::server::{ADMIN, Server};
use crate::support::{
    issuer::{ISSUER, Issuer, PARTY},
    services,
};

/// How much is enough.
#[derive(Debug, Clone, Copy)]
struct Size {
    rows: i64,
    cuts: usize,
}

const SMALL: Size = Size { rows: 3_000, cuts: 100 };
const FULL: Size = Size { rows: 20_000, cuts: 500 };

/// Clients that are people; every person of this many is one.
const PEOPLE: usize = 16;

/// Small pages and queues, so that followers of the feed fall behind, clients are closed for being slow, and most of those
/// who come back need more than a page.
fn keys(pem: &str) -> Vec<(&str, &str)> {
    vec![
        ("clerk.jwt_key", pem),
        ("clerk.issuer", ISSUER),
        ("clerk.authorized_parties", PARTY),
        ("tail.batch", "64"),
        ("tail.buffer", "64"),
        ("gateway.queue", "48"),
        ("gateway.replays", "2"),
        ("sync.batch", "64"),
    ]
}

fn door(server: &Server) -> SocketAddr {
    server.url.trim_start_matches("http://").parse().unwrap()
}

/// Who follows what. People follow themselves and some organisations, whether or not they are members yet.
fn followers(doors: &Arc<[SocketAddr]>, rng: &mut Rng) -> Vec<Follower> {
    let mut all = Vec::new();
    for person in 0..PEOPLE {
        let token = Issuer::ours().session(
            &format!("user_p{person}"),
            "sess_1",
            json!({"exp": crate::support::issuer::now() + 36_000}),
        );
        let mut words = vec!["user:me".to_owned()];
        let orgs = (0..clerk::ORGANIZATIONS).filter(|org| (org + person) % 3 != 0);
        words.extend(orgs.map(|org| format!("org:org_o{org}")));
        all.push(Follower::new(format!("p{person}"), Some(format!("user_p{person}")), token, words, doors, rng.fork()));
    }
    for (name, words) in [
        ("users", vec!["users"]),
        ("admin", vec!["admin", "organizations"]),
        ("everything", vec!["users", "organizations", "admin"]),
        ("one of each", vec!["user:user_p3", "org:org_o1", "admin"]),
        ("organisations", vec!["org:org_o0", "org:org_o2", "organizations"]),
        ("people", vec!["user:user_p1", "user:user_p20", "user:user_p30"]),
    ] {
        let words = words.into_iter().map(str::to_owned).collect();
        all.push(Follower::new(name.to_owned(), None, ADMIN.to_owned(), words, doors, rng.fork()));
    }
    all
}

async fn prove(servers: Vec<Server>, size: Size) {
    let seed = std::env::var("PROOF_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(|| fastrand::u64(..));
    println!("PROOF_SEED={seed}");
    let started = Instant::now();
    let mut rng = Rng::with_seed(seed);
    let doors: Arc<[SocketAddr]> = servers.iter().map(door).collect();
    let (tally, (end, ending)) = (Arc::new(Tally::default()), watch::channel(None::<Arc<Oracle>>));
    let mut clients = JoinSet::new();
    for follower in followers(&doors, &mut rng) {
        clients.spawn(follower.follow(ending.clone(), tally.clone()));
    }
    let mut clerk = Clerk::new(rng.fork());
    let mut rows = 0;
    while rows < size.rows || tally.cuts.load(Relaxed) < size.cuts {
        deliver(&servers, &mut rng, clerk.round()).await;
        rows = newest(&servers[0]).await;
        // Who fails has no reason to be waited for.
        if let Some(ended) = clients.try_join_next() {
            panic!("seed {seed}: {:?}", ended.err());
        }
    }
    let changing = started.elapsed();
    deliver(&servers, &mut rng, clerk.amnesty()).await;
    let oracle = Arc::new(Oracle::read(&servers[0].app.db).await);
    end.send_replace(Some(oracle.clone()));
    let (mut seen, mut ended) = (0, 0);
    while let Some(follower) = clients.join_next().await {
        let follower = follower.unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        follower.verify(&oracle).unwrap_or_else(|wrong| panic!("seed {seed}: {}: {wrong}", follower.name));
        seen += follower.count();
        ended += follower.ended(&oracle);
    }
    println!(
        "{} rows; {seen} frames, {ended} at most of memberships that ended; {tally:?}; changes {changing:?}, all {:?}",
        oracle.len(),
        started.elapsed()
    );
    // That it was no walk over: of each kind something happened.
    for (what, count) in [
        ("cut", &tally.cuts),
        ("torn", &tally.torn),
        ("resumed elsewhere", &tally.elsewhere),
        ("slow", &tally.naps),
        ("revoked", &tally.revoked),
        ("refused", &tally.refused),
        ("rewound", &tally.rewound),
        ("locked out", &tally.locked_out),
    ] {
        let alone = what == "resumed elsewhere" && doors.len() == 1;
        assert!(alone || count.load(Relaxed) > 0, "seed {seed}: nobody was {what}");
    }
    for server in servers {
        assert!(server.stop().await);
    }
}

/// Delivers to all of them at once, and waits until it is applied.
async fn deliver(servers: &[Server], rng: &mut Rng, bodies: Vec<serde_json::Value>) {
    let mut shares = vec![Vec::new(); servers.len()];
    bodies.into_iter().for_each(|body| shares[rng.usize(..servers.len())].push(body));
    let posts = servers.iter().zip(shares).map(|(server, share)| server.deliver_all(share));
    futures_util::future::join_all(posts).await;
    servers[0].settle().await;
}

async fn newest(server: &Server) -> i64 {
    clerk_sync::outbox::feed::bounds(&server.app.db.read).await.unwrap().1
}

async fn on_postgres(size: Size) {
    let Some(postgres) = services::postgres() else { return };
    let (url, keep) = (postgres.url().to_owned(), Arc::new(postgres));
    let pem = Issuer::ours().pem();
    let servers = vec![Server::on(&url, keep.clone(), &keys(&pem)).await, Server::on(&url, keep, &keys(&pem)).await];
    prove(servers, size).await;
}

async fn on_sqlite(size: Size) {
    let pem = Issuer::ours().pem();
    prove(vec![Server::start(&keys(&pem)).await], size).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p5_everybody_sees_what_they_may_once_and_in_order_on_two_replicas() {
    on_postgres(SMALL).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p5_everybody_sees_what_they_may_once_and_in_order_on_sqlite() {
    on_sqlite(SMALL).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "minutes: tests/run --long"]
async fn p5_five_hundred_disconnects_during_twenty_thousand_changes_on_two_replicas() {
    on_postgres(FULL).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "minutes: tests/run --long"]
async fn p5_five_hundred_disconnects_during_twenty_thousand_changes_on_sqlite() {
    on_sqlite(FULL).await;
}
