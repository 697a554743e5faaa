//! `clerk-sync migrate up|status`.

use clap::{Args as ClapArgs, Subcommand};

use crate::{config::Config, db};

#[derive(Debug, ClapArgs)]
pub(super) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Apply every pending step
    Up,
    /// Name the pending steps; exit code 1 if there are any
    Status,
}

pub(super) async fn run(args: Args, config: Config) -> anyhow::Result<bool> {
    let db = db::connect(&config.database).await?;
    let pending = db::pending_migrations(&db).await?;
    match args.action {
        Action::Up => {
            db::migrate(&db).await?;
            println!("{} steps applied; the tables are up to date", pending.len());
            Ok(true)
        }
        Action::Status if pending.is_empty() => {
            println!("the tables are up to date");
            Ok(true)
        }
        Action::Status => {
            pending.iter().for_each(|step| println!("pending  {step}"));
            Ok(false)
        }
    }
}
