//! `clerk-sync ensure`: one person into the tables, now.

use std::time::Duration;

use anyhow::bail;
use clap::Args as ClapArgs;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::{app::App, clock::Clock, config::Config, reconcile::ensure::Ensured, sync::confirm::is_plain};

#[derive(Debug, ClapArgs)]
pub(super) struct Args {
    /// Clerk's id of the person
    #[arg(value_name = "USER_ID")]
    id: String,
    /// How long to wait for somebody who is not readable at Clerk yet
    #[arg(long, default_value = "5s", value_name = "DURATION", value_parser = humantime::parse_duration)]
    wait: Duration,
    /// As JSON
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: Args, config: Config) -> anyhow::Result<bool> {
    if !args.id.starts_with("user_") || !is_plain(&args.id) {
        bail!("USER_ID: Clerk's id of a person starts with user_");
    }
    let app = App::connect(config, Clock::system(), true).await?;
    // A clash of the user's is refreshed by a worker, and no server may be running.
    let stop = CancellationToken::new();
    let worker = tokio::spawn(app.worker().run(stop.clone()));
    let ensured = app.ensurer().ensure(&args.id, args.wait).await?;
    stop.cancel();
    worker.await?;
    app.signals.tell(&app.db).await;
    let (word, why) = match &ensured {
        Ensured::Live => ("live", None),
        Ensured::Deleted => ("deleted", None),
        Ensured::Unknown => ("unknown at Clerk", None),
        Ensured::Refused(why) => ("refused", Some(why)),
        Ensured::Unanswered(why) => ("not answered", Some(why)),
    };
    match args.json {
        true => println!("{}", json!({"clerk_id": args.id, "ensured": word, "reason": why})),
        false => println!("{}: {word}{}", args.id, why.map(|why| format!(": {why}")).unwrap_or_default()),
    }
    Ok(ensured == Ensured::Live)
}
