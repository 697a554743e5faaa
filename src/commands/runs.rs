//! `clerk-sync runs`: backfills and comparisons with Clerk, the latest first.

use clap::Args as ClapArgs;

use crate::{
    app::App,
    clock::{Clock, rfc3339},
    config::Config,
    reconcile::runs,
};

#[derive(Debug, ClapArgs)]
pub(super) struct Args {
    /// At most this many
    #[arg(long, default_value_t = 20)]
    limit: usize,
    /// As JSON, one object a line, with what each found
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: Args, config: Config) -> anyhow::Result<bool> {
    let app = App::connect(config, Clock::system(), false).await?;
    let (rows, _) = runs::page(&app.db, None, args.limit).await?;
    for row in &rows {
        if args.json {
            println!("{}", runs::object(row));
            continue;
        }
        let count = |sort: &str| row.report.as_ref().and_then(|report| report[sort]["count"].as_u64());
        let held = row.report.as_ref().and_then(|report| report["held"].as_array().map(|held| !held.is_empty()));
        let mut found: Vec<String> = ["missing", "stale", "extra", "conflicting", "buried"]
            .iter()
            .filter_map(|sort| count(sort).map(|n| format!("{n} {sort}")))
            .collect();
        if held == Some(true) {
            found.push("held: too many to remove".to_owned());
        }
        println!(
            "{}  {:<9} {:<11} {:<8} {:<8}  {}",
            rfc3339(row.started_at),
            row.kind,
            row.mode,
            row.origin,
            row.state,
            found.join(", ")
        );
    }
    Ok(true)
}
