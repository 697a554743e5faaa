//! Other ways in: what Clerk's API says, against a simulated Clerk over real HTTP.

mod absent;
mod backfill;
mod clashes;
mod client;
mod confirm;
mod drift;
mod ensure;
mod instance;
mod text;
mod timers;

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use clerk_sync::{
    clock::Clock,
    db::Stmt,
    reconcile::{
        Reconciler,
        backfill::{Backfilled, Meter, Options},
        report::Found,
    },
};
use tokio_util::sync::CancellationToken;

use crate::support::{
    clerk::{Change, Clerk, Kind, Simulated},
    dump::number,
    world::{self, World},
};

/// Every database, each with a simulated Clerk of its own.
async fn pairs(make: impl Fn() -> Clerk, more: &[(&'static str, &str)]) -> Vec<(Simulated, World)> {
    let clerk = Simulated::of(make()).await;
    let world = world::sqlite(&clerk.keys(more)).await;
    let mut pairs = vec![(clerk, world)];
    let clerk = Simulated::of(make()).await;
    if let Some(world) = world::postgres(&clerk.keys(more)).await {
        pairs.push((clerk, world));
    }
    for (clerk, world) in &pairs {
        // First contact: tests that count requests do not count this one.
        let _ = world.app.instance.check(Duration::from_secs(5)).await;
        clerk.modes.reset_counts();
    }
    pairs
}

fn seeded(users: u64, organizations: u64, memberships: u64) -> impl Fn() -> Clerk {
    move || Clerk::seeded(users, organizations, memberships, 7, Clock::system())
}

fn nobody() -> Clerk {
    Clerk::new(Clock::system())
}

fn reconciler(world: &World) -> Reconciler {
    world.app.reconciler(CancellationToken::new()).unwrap()
}

async fn backfilled(world: &World) -> Backfilled {
    let options = Options { concurrency: 3, restart: false };
    reconciler(world).backfill(options, Arc::new(Meter::default())).await.unwrap()
}

/// Stores the webhook that tells of a change in the simulated world.
async fn told(world: &World, clerk: &Simulated, kind: Kind, change: Change, id: &str) {
    let body = clerk.clerk.event(kind, change, id).unwrap();
    world.deliver(&format!("msg_{}", uuid::Uuid::new_v4().simple()), &body).await;
}

/// (users, organisations, memberships) that are live here.
async fn rows(world: &World) -> (i64, i64, i64) {
    let db = &world.app.db;
    (
        number(db, "select count(*) as n from clerk_sync.users where status <> 'deleted'").await,
        number(db, "select count(*) as n from clerk_sync.organizations where status <> 'deleted'").await,
        number(db, "select count(*) as n from clerk_sync.organization_memberships").await,
    )
}

fn at_clerk(clerk: &Simulated) -> (i64, i64, i64) {
    let count = |kind| i64::try_from(clerk.clerk.count(kind)).unwrap();
    (count(Kind::User), count(Kind::Organization), count(Kind::Membership))
}

fn ids(found: &Found) -> BTreeSet<String> {
    found.items.iter().map(|item| item.id.clone()).collect()
}

async fn texts(world: &World, sql: &'static str) -> Vec<String> {
    let rows = Stmt::new(&world.app.db.read, sql).all(&world.app.db.read).await.unwrap();
    rows.iter().map(|row| row.try_get("", "name").unwrap()).collect()
}
