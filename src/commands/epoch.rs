//! `clerk-sync epoch`: the name of the change feed's numbering.

use clap::{Args as ClapArgs, Subcommand};

use crate::{app::App, clock::Clock, config::Config, meta};

#[derive(Debug, ClapArgs)]
pub(super) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// After a backup was restored: whoever follows the changes loads everything anew
    Renew,
}

pub(super) async fn run(args: Args, config: Config) -> anyhow::Result<bool> {
    let Action::Renew = args.action;
    let app = App::connect(config, Clock::system(), false).await?;
    let (old, new) = meta::renew(&app.db, app.clock.now()).await?;
    println!("the epoch was {old} and is {new}");
    println!("a server that is running has read the old one: restart every replica");
    Ok(true)
}
