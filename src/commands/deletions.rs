//! `clerk-sync deletions`: those that wait for an operator.

use clap::{Args as ClapArgs, Subcommand};

use super::operator::{self, operate, operator, told};
use crate::{
    app::App,
    clock::{Clock, rfc3339},
    config::Config,
    domain::operators::Action as Operation,
    sync::oversight,
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
        /// As JSON, one object a line
        #[arg(long)]
        json: bool,
    },
    /// Let a held deletion happen; also one that was cancelled
    Release {
        /// Clerk's id of the user or organisation
        #[arg(value_name = "USER_ID", required_unless_present = "all", conflicts_with = "all")]
        id: Option<String>,
        /// All of them
        #[arg(long)]
        all: bool,
    },
    /// A held deletion does not happen; the user or organisation stays
    Cancel {
        /// Clerk's id of the user or organisation
        #[arg(value_name = "USER_ID")]
        id: String,
    },
}

pub(super) async fn run(args: Args, config: Config) -> anyhow::Result<bool> {
    let app = App::connect(config, Clock::system(), false).await?;
    match args.action {
        Action::List { json } => {
            for row in oversight::held_deletions(&app.db, i64::MAX, operator::MOST).await? {
                match json {
                    true => println!("{}", row.to_json()),
                    false => {
                        let at = row.deletion_held_at.unwrap_or(row.received_at);
                        println!("{}  {}  {}", rfc3339(at), row.clerk_id, row.reason.unwrap_or_default());
                    }
                }
            }
        }
        Action::Release { id, all: _ } => {
            let released = told(operator(&app).release(id.as_deref()).await)?;
            app.signals.tell(&app.db).await;
            released.iter().for_each(|id| println!("{id} is deleted"));
        }
        Action::Cancel { id } => {
            operate(&app, Operation::Cancel { clerk_id: id.clone() }).await?;
            println!("{id} is not deleted");
        }
    }
    Ok(true)
}
