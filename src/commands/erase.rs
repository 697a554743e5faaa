//! `clerk-sync erase`: removes every trace of somebody who is deleted, and says where.

use std::collections::BTreeSet;

use clap::Args as ClapArgs;
use serde_json::{Map, Value};

use crate::{app::App, clock::Clock, config::Config, erasure::Receipt, inbox::rescan::rescan};

#[derive(Debug, ClapArgs)]
pub(super) struct Args {
    /// Clerk's id of the person
    #[arg(value_name = "USER_ID")]
    id: String,
    /// Remove nothing: say what is left of them, store by store; exit code 1 if anything is
    #[arg(long)]
    check: bool,
    /// As JSON
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: Args, config: Config) -> anyhow::Result<bool> {
    let app = App::connect(config, Clock::system(), false).await?;
    // Bodies that an earlier version could not read have no users noted yet.
    rescan(&app.db, app.clock.now()).await?;
    let who = BTreeSet::from([args.id.clone()]);
    let eraser = app.eraser();
    let removed = if args.check { None } else { Some(eraser.erase(&who).await?) };
    let left = eraser.left(&who).await?;
    let clean = left.values().all(|count| *count == 0);
    if args.json {
        let mut object = Map::new();
        object.insert("clerk_id".into(), args.id.into());
        object.insert("removed".into(), removed.as_ref().map_or(Value::Null, numbers));
        object.insert("left".into(), numbers(&left));
        println!("{}", Value::Object(object));
        return Ok(clean);
    }
    println!("{:<20} {:>8} {:>6}", "store", if removed.is_some() { "removed" } else { "" }, "left");
    for (store, count) in &left {
        let gone = removed.as_ref().and_then(|receipt| receipt.get(store)).map(u64::to_string).unwrap_or_default();
        println!("{:<20} {gone:>8} {count:>6}", store.name());
    }
    Ok(clean)
}

fn numbers(receipt: &Receipt) -> Value {
    receipt
        .iter()
        .map(|(store, count)| (store.name().replace(' ', "_"), Value::from(*count)))
        .collect::<Map<_, _>>()
        .into()
}
