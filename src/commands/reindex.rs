//! `clerk-sync reindex`: builds search and cache anew from the database.

use std::io::IsTerminal as _;

use clap::Args as ClapArgs;
use indicatif::{ProgressBar, ProgressStyle};

use crate::{app::App, clock::Clock, config::Config, sinks::reindex};

#[derive(Debug, ClapArgs)]
pub(super) struct Args {
    /// Only the search index
    #[arg(long, conflicts_with = "cache")]
    search: bool,
    /// Only the cache
    #[arg(long)]
    cache: bool,
}

pub(super) async fn run(args: Args, config: Config) -> anyhow::Result<bool> {
    let app = App::connect(config, Clock::system(), false).await?;
    let sinks = &app.sinks;
    let mut complete = true;
    if !args.cache {
        let bar = progress();
        let (total, refused) = reindex::search(&sinks.search, &app.clock, |people| bar.set_position(people)).await?;
        bar.finish_and_clear();
        println!("search: {total} people indexed, {refused} refused");
        complete = refused == 0;
    }
    if !args.search {
        sinks.cache.cache.clear().await?;
        println!("cache: emptied; it fills as it is read");
    }
    Ok(complete)
}

/// A bar where somebody watches, nothing elsewhere: the result is one line either way.
fn progress() -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template("{spinner} {pos} people, {per_sec}, {elapsed}") {
        bar.set_style(style);
    }
    bar
}
