//! `clerk-sync dead-letters`: changes that a sink refused for good.

use anyhow::{Context as _, bail};
use clap::{Args as ClapArgs, Subcommand};
use serde_json::json;
use uuid::Uuid;

use crate::{
    app::App,
    clock::{Clock, rfc3339},
    config::Config,
    outbox::dead,
};

#[derive(Debug, ClapArgs)]
pub(super) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Newest first
    List {
        /// Also those that were retried or discarded
        #[arg(long)]
        all: bool,
        /// As JSON, one object a line
        #[arg(long)]
        json: bool,
    },
    /// Hand the subject to the sink again, as its rows are now
    Retry {
        /// The dead letter's id
        id: Uuid,
    },
    /// Put it aside
    Discard {
        /// The dead letter's id
        id: Uuid,
    },
}

pub(super) async fn run(args: Args, config: Config) -> anyhow::Result<bool> {
    let app = App::connect(config, Clock::system(), false).await?;
    match args.action {
        Action::List { all, json } => {
            for row in dead::list(&app.db, all, 1_000).await? {
                let (id, at) = (row.id.0, rfc3339(row.created_at));
                match json {
                    true => println!(
                        "{}",
                        json!({"id": id, "sink": row.sink, "seq": row.seq, "event": row.event, "subject": row.subject,
                        "reason": row.reason, "state": row.state, "created_at": at})
                    ),
                    false => println!(
                        "{at}  {id}  {:<18} {:<9} {:<14} {}  {}",
                        row.sink, row.state, row.event, row.subject, row.reason
                    ),
                }
            }
        }
        Action::Retry { id } => {
            let row = dead::find(&app.db, id).await?.with_context(|| format!("{id}: there is no such dead letter"))?;
            let refused = app.sinks.redeliver(&row).await?;
            if refused {
                bail!("{id}: the sink refuses it still");
            }
            dead::end(&app.db, id, "retried", app.clock.now()).await?;
            println!("{id} is delivered");
        }
        Action::Discard { id } => {
            if !dead::end(&app.db, id, "discarded", app.clock.now()).await? {
                bail!("{id}: there is no such open dead letter");
            }
            println!("{id} is discarded");
        }
    }
    Ok(true)
}
