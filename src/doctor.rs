//! What is wrong with a set-up, and what to do about it.
//!
//! Invariants:
//! - Nothing is changed: nothing is made or migrated, the database is read in read-only transactions, and of Redis one
//!   key of our own is written and removed.
//! - One broken thing is one FAIL. What depends on it is skipped; everything else is looked at all the same.
//! - Each check ends within [`PATIENCE`], whatever it waits for.
//! - Findings hold no secret and no personal data: names of keys, hosts, codes, types, counts, Clerk's ids of instances.

mod clerk;
mod clocks;
mod database;
mod events;
mod finding;
mod inbox;
mod instance;
mod issuer;
mod notify;
mod postgres;
mod sample;
mod settings;
mod sqlite;
mod stores;
mod tokens;

use std::time::Duration;

use sea_orm::DbErr;

use crate::{
    clock::Clock,
    config::Config,
    db::{Db, Quiet, Transaction},
};

pub use finding::{Finding, Level};

/// How long a check may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Checks that read our tables, in the order in which they are told.
const TABLES: [&str; 4] = ["deliveries", "event-types", "entry", "inbox"];

/// Looks at everything.
pub async fn examine(config: &Config, clock: &Clock) -> Vec<Finding> {
    let config = hurried(config);
    let mut findings = settings::signing_secret(&config.clerk);
    let (database, asked, redis, meili) = tokio::join!(
        database::check(&config.database, clock),
        clerk::ask(&config, clock),
        stores::redis(&config, clock),
        stores::meili(&config.meili),
    );
    findings.extend(database.findings);
    findings.push(clocks::judge(asked.skew, database.skew, config.receiver.tolerance));
    findings.extend([redis, meili]);
    let tokens = tokens::check(&config, &asked.findings, asked.instance.as_deref(), clock.now()).await;
    findings.extend(asked.findings);
    let ours = Some(config.clerk.instance_id.trim()).filter(|id| !id.is_empty());
    match &database.ready {
        Some(db) => {
            findings.extend(bounded("instance", instance::check(db, ours, asked.instance.as_deref())).await);
            findings.extend(bounded("deliveries", events::check(db, clock)).await);
            findings.extend(bounded("entry", inbox::entry(db, &config.entry)).await);
            findings.extend(bounded("inbox", inbox::check(db, clock)).await);
        }
        None => {
            findings.push(instance::without_tables(ours, asked.instance.as_deref()));
            findings.extend(TABLES.map(|check| Finding::skip(check, "the tables cannot be read")));
        }
    }
    findings.push(settings::admin_token(&config));
    findings.extend(tokens);
    findings.extend(settings::alerts(&config, clock));
    findings
}

/// The configuration with waits that end before a check does, so that the check can say what it waited for.
fn hurried(config: &Config) -> Config {
    let mut config = config.clone();
    let most = PATIENCE.mul_f64(0.8);
    config.database.acquire_timeout = config.database.acquire_timeout.min(most);
    config.clerk.timeout = config.clerk.timeout.min(most);
    config
}

/// A check of what is in the database, which was reached a moment ago.
async fn bounded(check: &'static str, looking: impl Future<Output = Result<Vec<Finding>, DbErr>>) -> Vec<Finding> {
    let remedy =
        "The database is slow or refuses reads: look at its load and its log, then run `clerk-sync doctor` again";
    match tokio::time::timeout(PATIENCE, looking).await {
        Ok(Ok(findings)) => findings,
        Ok(Err(error)) => vec![Finding::warn(check, format!("the tables cannot be read: {}", Quiet(&error)), remedy)],
        Err(_) => vec![Finding::warn(check, format!("no answer within {} s", PATIENCE.as_secs()), remedy)],
    }
}

/// A transaction that reads, and that Postgres ends by itself where we have stopped waiting.
async fn reading(db: &Db) -> Result<Transaction, DbErr> {
    use sea_orm::ConnectionTrait as _;
    let tx = db.begin_read().await?;
    if db.backend() == sea_orm::DbBackend::Postgres {
        tx.execute_unprepared("set local statement_timeout = '5s'").await?;
    }
    Ok(tx)
}
