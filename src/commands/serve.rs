//! `clerk-sync serve`: the server, until a signal ends it.

use std::{collections::BTreeSet, time::Duration};

use anyhow::bail;
use clap::Args as ClapArgs;

use crate::{
    access::Access,
    app::{App, Ended, Role},
    clock::Clock,
    config::Config,
    db,
};

/// Between two tries to open a database on a full disk.
const FULL_RETRY: Duration = Duration::from_secs(2);

#[derive(Debug, ClapArgs)]
pub(super) struct Args {
    /// What this process does: any of receive, sync, relay, gateway, api
    #[arg(long, value_delimiter = ',', value_name = "ROLE,…")]
    roles: Vec<String>,
    /// Refuse to start on pending migrations instead of applying them
    #[arg(long)]
    no_migrate: bool,
}

pub(super) async fn run(args: Args, config: Config) -> anyhow::Result<bool> {
    let roles = roles(&args.roles)?;
    // The secrets are checked before anything is touched: they are what is missing or mistyped most often.
    crate::clerk::signature::Verifier::new(config.clerk.signing_secret.expose(), config.receiver.tolerance).map_err(|error| {
        anyhow::anyhow!(
            "clerk.signing_secret: {error}. Copy the signing secret of the endpoint from Clerk's dashboard (Webhooks) \
             and set CLERK_WEBHOOK_SIGNING_SECRET=whsec_…"
        )
    })?;
    Access::new(&config.api, &config.clerk)?;
    let mut config = config;
    loop {
        let running = connect(&config, !args.no_migrate).await?.start(&roles).await?;
        tracing::info!(addr = %running.addr, "listening; point Clerk at /webhooks/clerk");
        // Whoever was connected comes back to the same place.
        config.server.port = running.addr.port();
        match running.until_ended().await? {
            Ended::Asked { in_order } => return Ok(in_order),
            Ended::Renumbered => tracing::warn!(
                "the database has another change feed than before: starting anew, so that clients and caches load \
                 everything again; docs/recovery.md, \"A failover that lost commits\", tells what else to do"
            ),
        }
    }
}

/// Connects. Where there is no space left, waits until there is, instead of being restarted again and again.
async fn connect(config: &Config, migrate: bool) -> anyhow::Result<App> {
    let mut told = false;
    loop {
        let error = match App::connect(config.clone(), Clock::system(), migrate).await {
            Ok(app) => return Ok(app),
            Err(error) => error,
        };
        match error.chain().find_map(|cause| db::Condition::of(cause.downcast_ref()?)) {
            Some(db::Condition::Full) => {
                if !told {
                    tracing::error!("the volume of the database has no space left: waiting until it has");
                }
                told = true;
                tokio::time::sleep(FULL_RETRY).await;
            }
            Some(db::Condition::Broken) => return Err(error.context(db::DAMAGED)),
            _ => return Err(error),
        }
    }
}

fn roles(words: &[String]) -> anyhow::Result<BTreeSet<Role>> {
    if words.is_empty() {
        return Ok(Role::ALL.into());
    }
    let parse = |word: &String| match Role::parse(word.trim()) {
        Some(role) => Ok(role),
        None => bail!("--roles: {word:?} is no role (receive, sync, relay, gateway, api)"),
    };
    words.iter().map(parse).collect()
}
