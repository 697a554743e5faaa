//! `clerk-sync inbox`: what was delivered and what became of it.

use anyhow::{Context as _, bail};
use clap::{Args as ClapArgs, Subcommand};

use crate::{
    app::App,
    clock::Clock,
    config::Config,
    domain::State,
    inbox::{
        admin,
        list::{self, Filter, WINDOW},
    },
    json::{Object, Value, object_text},
};

#[derive(Debug, ClapArgs)]
pub(super) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Newest first, without bodies
    List {
        /// In this state, e.g. rejected
        #[arg(long)]
        state: Option<String>,
        /// Of this type, e.g. user.updated
        #[arg(long = "type", value_name = "TYPE")]
        event_type: Option<String>,
        /// About this subject, by Clerk's id
        #[arg(long)]
        subject: Option<String>,
        /// At most this many
        #[arg(long, default_value_t = 50)]
        limit: usize,
        /// As JSON, one object a line
        #[arg(long)]
        json: bool,
    },
    /// One event with its body, private metadata masked
    Show {
        /// The svix-id
        id: String,
    },
    /// Plan it again
    Retry {
        /// The svix-id
        id: String,
    },
    /// Put it aside: it will not be applied
    Discard {
        /// The svix-id
        id: String,
    },
}

pub(super) async fn run(args: Args, config: Config) -> anyhow::Result<bool> {
    let app = App::connect(config, Clock::system(), false).await?;
    match args.action {
        Action::List { state, event_type, subject, limit, json } => {
            let state = state.as_deref().map(parse).transpose()?;
            let filter = Filter { state, event_type, subject };
            let mut before = None;
            let mut left = limit;
            while left > 0 {
                let (rows, next) = list::page(&app.db, &filter, before, left.min(200), WINDOW).await?;
                left -= rows.len().min(left);
                rows.iter().for_each(|row| print_row(&row.to_json(), json));
                before = next;
                if before.is_none() {
                    break;
                }
            }
        }
        Action::Show { id } => show(&app, &id).await?,
        Action::Retry { id } => {
            admin::retry(&app.db, &id, app.clock.now()).await.with_context(|| id.clone())?;
            app.worker().drain().await?;
            show(&app, &id).await?;
        }
        Action::Discard { id } => {
            admin::discard(&app.db, &id, app.clock.now()).await.with_context(|| id.clone())?;
            println!("{id} is discarded");
        }
    }
    Ok(true)
}

fn parse(word: &str) -> anyhow::Result<State> {
    match State::parse(word) {
        Some(state) => Ok(state),
        None => bail!("--state: {word:?} is no state ({})", State::ALL.map(State::as_str).join(", ")),
    }
}

async fn show(app: &App, id: &str) -> anyhow::Result<()> {
    let row = list::show(&app.db, id).await?.with_context(|| format!("{id}: there is no such event"))?;
    println!("{:#}", Value::Object(row));
    Ok(())
}

fn print_row(row: &Object, as_json: bool) {
    if as_json {
        println!("{}", object_text(row));
        return;
    }
    let text = |name: &str| row.get(name).and_then(Value::as_str).unwrap_or("-").to_owned();
    let (at, id, kind, subject) = (text("received_at"), text("svix_id"), text("event_type"), text("subject"));
    println!("{at}  {:<9} {:<10} {kind:<30} {subject:<34} {id}  {}", text("state"), text("outcome"), text("reason"));
}
