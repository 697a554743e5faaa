//! `clerk-sync relink`: somebody deleted has returned under a new Clerk id and keeps the stable id.

use clap::Args as ClapArgs;

use super::operator::operate;
use crate::{app::App, clock::Clock, config::Config, domain::operators::Action};

#[derive(Debug, ClapArgs)]
pub(super) struct Args {
    /// The Clerk id that was deleted
    old: String,
    /// The Clerk id under which they returned
    new: String,
}

pub(super) async fn run(Args { old, new }: Args, config: Config) -> anyhow::Result<bool> {
    let app = App::connect(config, Clock::system(), false).await?;
    operate(&app, Action::Relink { from: old.clone(), to: new.clone() }).await?;
    println!("{new} has the id that {old} had");
    Ok(true)
}
