//! `clerk-sync instance`: whose users this database holds, and which instance the key is of.

use std::time::Duration;

use clap::Args as ClapArgs;
use serde_json::json;

use crate::{app::App, clock::Clock, config::Config, instance::Named};

/// How long Clerk may take to say which instance the key is of.
const TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Debug, ClapArgs)]
pub(super) struct Args {
    /// From now on this database holds the users of the key's instance (without a key: of clerk.instance_id)
    #[arg(long)]
    adopt: bool,
    /// As JSON
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: Args, config: Config) -> anyhow::Result<bool> {
    let app = App::connect(config, Clock::system(), true).await?;
    if args.adopt {
        let (old, new) = app.instance.adopt(app.clock.now()).await?;
        match args.json {
            true => println!("{}", json!({"pinned": new, "before": old})),
            false => println!("this database is of {new} (before: {})", old.as_deref().unwrap_or("not pinned")),
        }
        if old.is_some_and(|old| old != new) {
            eprintln!(
                "a server that is running follows within a second; users of the instance before stay until `clerk-sync reconcile --full`"
            );
        }
        return Ok(true);
    }
    let named = app.instance.named(TIMEOUT).await?;
    print(&named, args.json);
    Ok(agrees(&named))
}

/// Whether all that names an instance names the same, and the key is accepted.
fn agrees(Named { pinned, configured, key }: &Named) -> bool {
    let key = match key {
        Some(Err(_)) => return false,
        Some(Ok(key)) => Some(key),
        None => None,
    };
    let mut names = [pinned.as_ref(), configured.as_ref(), key].into_iter().flatten();
    let first = names.next();
    names.all(|name| Some(name) == first)
}

fn print(named: &Named, as_json: bool) {
    let Named { pinned, configured, key } = named;
    let (id, error) = match key {
        Some(Ok(id)) => (Some(id.as_str()), None),
        Some(Err(error)) => (None, Some(error.to_string())),
        None => (None, None),
    };
    if as_json {
        println!("{}", json!({"pinned": pinned, "configured": configured, "key": id, "error": error}));
        return;
    }
    println!(
        "pinned      {}",
        pinned.as_deref().unwrap_or("none: the instance of the secret key will be, when it is first used")
    );
    println!("configured  {}", configured.as_deref().unwrap_or("none (clerk.instance_id)"));
    println!("secret key  {}", id.map(str::to_owned).or(error).unwrap_or_else(|| "none (CLERK_SECRET_KEY)".to_owned()));
    if !agrees(named) && key.as_ref().is_none_or(Result::is_ok) {
        println!("they differ: correct the key, the setting or DATABASE_URL, or run `clerk-sync instance --adopt`");
    }
}
