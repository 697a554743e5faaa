//! `clerk-sync conflicts`: verified addresses that two persons claim.

use anyhow::Context as _;
use clap::{Args as ClapArgs, Subcommand, ValueEnum};
use uuid::Uuid;

use super::operator::{self, operate};
use crate::{
    app::App,
    clock::{Clock, rfc3339},
    config::Config,
    domain::{decisions::Verdict, operators::Action as Operation},
    sync::oversight,
};

#[derive(Debug, ClapArgs)]
pub(super) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
#[value(rename_all = "snake_case")]
enum Decision {
    /// The newcomer goes without the address as long as the other one has it
    KeepExisting,
    /// The address leaves the other person
    TakeOver,
    /// Look at it again; nothing is decided
    Retry,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Newest first
    List {
        /// Also those that are resolved
        #[arg(long)]
        all: bool,
        /// As JSON, one object a line
        #[arg(long)]
        json: bool,
    },
    /// One conflict, with everything that is known of it
    Show {
        /// The conflict's id
        id: Uuid,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Decide
    Resolve {
        /// The conflict's id
        id: Uuid,
        /// What to do
        decision: Decision,
    },
}

pub(super) async fn run(args: Args, config: Config) -> anyhow::Result<bool> {
    let app = App::connect(config, Clock::system(), false).await?;
    match args.action {
        Action::List { all, json } => {
            let state = (!all).then_some("open");
            for row in oversight::conflicts(&app.db, state, Uuid::max(), operator::MOST).await? {
                if json {
                    println!("{}", oversight::conflict_json(&row));
                    continue;
                }
                let at = rfc3339(row.opened_at);
                println!(
                    "{at}  {}  {:<8}  {} cannot have what {} has",
                    row.id.0, row.state, row.clerk_id, row.other_clerk_id
                );
            }
        }
        Action::Show { id, json } => {
            let row =
                oversight::conflict(&app.db, id).await?.with_context(|| format!("{id}: there is no such conflict"))?;
            let object = oversight::conflict_json(&row);
            if json {
                println!("{object}");
                return Ok(true);
            }
            for (name, value) in object.as_object().into_iter().flatten() {
                println!("{name:<15} {}", value.as_str().map_or_else(|| value.to_string(), str::to_owned));
            }
            println!("\nDecide with: clerk-sync conflicts resolve {id} keep_existing|take_over|retry");
        }
        Action::Resolve { id, decision } => {
            let row =
                oversight::conflict(&app.db, id).await?.with_context(|| format!("{id}: there is no such conflict"))?;
            let verdict = match decision {
                Decision::KeepExisting => Some(Verdict::KeepExisting),
                Decision::TakeOver => Some(Verdict::TakeOver),
                Decision::Retry => None,
            };
            let (newcomer, older) = (row.clerk_id, row.other_clerk_id);
            operate(&app, Operation::Decide { conflict: id, newcomer, older, verdict }).await?;
            println!("{id}: done; a running server plans the parked events again");
        }
    }
    Ok(true)
}
