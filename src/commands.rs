//! The command line. Exit codes: 0 done, 1 failed, 2 usage.

mod audit;
mod backfill;
mod config;
mod conflicts;
mod dead_letters;
mod deletions;
mod dev;
mod doctor;
mod ensure;
mod epoch;
mod erase;
mod fixtures;
mod inbox;
mod instance;
mod migrate;
mod operator;
mod reconcile;
mod reindex;
mod relink;
mod replay;
mod runs;
mod send;
mod serve;
mod simulate;
mod simulated;

use std::{collections::HashMap, path::PathBuf};

use clap::{Parser, Subcommand};

use crate::{
    config::{Config, load},
    telemetry,
};

/// Keeps your own database in step with Clerk.
#[derive(Debug, Parser)]
#[command(version, propagate_version = true)]
pub struct Cli {
    /// A TOML file over the defaults and under the environment
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Take deliveries, apply them, and serve what they become
    Serve(serve::Args),
    /// Everything embedded, with fixtures: see it work without setting anything
    Dev(dev::Args),
    /// A Clerk of any size to rehearse against: its API on this machine, and deliveries of what changes there
    Simulate(simulate::Args),
    /// Look at the whole set-up: what is wrong, and what to do about it
    Doctor(doctor::Args),
    /// Sign event files and post them to a server
    Send(send::Args),
    /// What was delivered, and what became of it
    Inbox(inbox::Args),
    /// Verified addresses that two persons claim
    Conflicts(conflicts::Args),
    /// Deletions that wait for an operator
    Deletions(deletions::Args),
    /// Remove every trace of somebody who is deleted
    Erase(erase::Args),
    /// Give somebody who returned under a new Clerk id their stable id back
    Relink(relink::Args),
    /// Who changed what, the latest first
    Audit(audit::Args),
    /// Changes that a sink refused for good
    DeadLetters(dead_letters::Args),
    /// Build search and cache anew from the database
    Reindex(reindex::Args),
    /// Everybody at Clerk into the tables; goes on where it was stopped
    Backfill(backfill::Args),
    /// Compare with Clerk, and repair what deliveries did not bring
    Reconcile(reconcile::Args),
    /// One person into the tables, now
    Ensure(ensure::Args),
    /// Backfills and comparisons, the latest first
    Runs(runs::Args),
    /// Plan stored events again
    Replay(replay::Args),
    /// Name the numbering of the changes anew, after a backup was restored
    Epoch(epoch::Args),
    /// Whose users this database holds, and which instance of Clerk the secret key is of
    Instance(instance::Args),
    /// Bring the tables up to date, or say what is missing
    Migrate(migrate::Args),
    /// Show the effective configuration, secrets masked
    Config,
}

impl Cli {
    /// Runs the command. `Ok(false)`: it did its work and the answer is no.
    ///
    /// # Errors
    /// What stopped it, for people.
    pub async fn run(self) -> anyhow::Result<bool> {
        let environment: HashMap<String, String> = std::env::vars().collect();
        telemetry::logs::init(&environment);
        let config: Config = load(self.config.as_deref(), environment)?;
        match self.command {
            Command::Serve(args) => serve::run(args, config).await,
            Command::Dev(args) => dev::run(args, config).await,
            Command::Simulate(args) => simulate::run(args, config).await,
            Command::Doctor(args) => doctor::run(args, config).await,
            Command::Send(args) => send::run(args, config).await,
            Command::Inbox(args) => inbox::run(args, config).await,
            Command::Conflicts(args) => conflicts::run(args, config).await,
            Command::Deletions(args) => deletions::run(args, config).await,
            Command::Erase(args) => erase::run(args, config).await,
            Command::Relink(args) => relink::run(args, config).await,
            Command::Audit(args) => audit::run(args, config).await,
            Command::DeadLetters(args) => dead_letters::run(args, config).await,
            Command::Reindex(args) => reindex::run(args, config).await,
            Command::Backfill(args) => backfill::run(args, config).await,
            Command::Reconcile(args) => reconcile::run(args, config).await,
            Command::Ensure(args) => ensure::run(args, config).await,
            Command::Runs(args) => runs::run(args, config).await,
            Command::Replay(args) => replay::run(args, config).await,
            Command::Epoch(args) => epoch::run(args, config).await,
            Command::Instance(args) => instance::run(args, config).await,
            Command::Migrate(args) => migrate::run(args, config).await,
            Command::Config => Ok(config::run(&config)),
        }
    }
}
