//! `clerk-sync audit`: who changed what, the latest first.

use clap::Args as ClapArgs;
use entity::audit_log::Model;

use crate::{
    app::App,
    audit,
    clock::{Clock, rfc3339},
    config::Config,
    json::Value,
};

#[derive(Debug, ClapArgs)]
pub(super) struct Args {
    /// About this subject, by Clerk's id
    #[arg(long, value_name = "ID")]
    subject: Option<String>,
    /// At most this many
    #[arg(long, default_value_t = 50)]
    limit: usize,
    /// As JSON, one object a line
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: Args, config: Config) -> anyhow::Result<bool> {
    let app = App::connect(config, Clock::system(), false).await?;
    let (mut before, mut left) = (None, args.limit);
    while left > 0 {
        let (rows, next) = audit::page(&app.db, args.subject.as_deref(), before, left.min(200)).await?;
        left -= rows.len().min(left);
        for row in &rows {
            match args.json {
                true => println!("{}", audit::object(row)),
                false => println!("{}", line(row)),
            }
        }
        before = next;
        if before.is_none() {
            break;
        }
    }
    Ok(true)
}

/// Which fields changed; their values are in the JSON.
fn line(row: &Model) -> String {
    let diff = Value::stored(&row.diff.0);
    let fields: Vec<&str> = diff.as_object().into_iter().flatten().map(|(field, _)| field.as_str()).collect();
    let (at, id) = (rfc3339(row.at), row.correlation_id.as_deref().unwrap_or("-"));
    format!("{at}  {:<9} {:<22} {:<34} {id}  {}", row.actor, row.action, row.subject, fields.join(", "))
}
