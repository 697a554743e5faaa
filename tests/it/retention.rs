//! What grows old goes, and nothing else; and what whoever needed it is told.

mod feed;
mod inbox;
mod lagging;
mod leader;

use clerk_sync::{
    app::App,
    clock::Clock,
    db::Stmt,
    upkeep::retention::{Pace, Removed, Retention},
};

/// Retention as it is this many days from now, without pauses.
fn after_days(app: &App, days: i64) -> Retention {
    let clock = app.clock.clone();
    let ahead = Clock::from_fn(move || clock.now() + chrono::Duration::days(days));
    let pace = Pace { rest: 0, ..Pace::of(&app.db) };
    Retention {
        clock: ahead,
        pace,
        owner: "these tests".into(),
        ..app.upkeep(&tokio_util::sync::CancellationToken::new()).retention
    }
}

/// One round of it.
async fn round(app: &App, days: i64) -> Removed {
    // A server's own lease has run out by then.
    after_days(app, days).round().await.unwrap().expect("nobody else does it")
}

async fn number(app: &App, sql: &'static str) -> i64 {
    Stmt::new(&app.db.read, sql).all(&app.db.read).await.unwrap()[0].try_get("", "n").unwrap()
}

async fn execute(app: &App, sql: &'static str) -> u64 {
    Stmt::new(&app.db.write, sql).exec(&app.db.write).await.unwrap()
}
