//! `clerk-sync serve`: the server, until a signal ends it.

use std::collections::BTreeSet;

use anyhow::{Context as _, bail};
use clap::Args as ClapArgs;

use crate::{
    access::Access,
    app::{App, Role},
    clock::Clock,
    config::Config,
    lifecycle,
};

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
    let app = App::connect(config, Clock::system(), !args.no_migrate).await?;
    let running = app.start(&roles).await?;
    tracing::info!(addr = %running.addr, "listening; point Clerk at /webhooks/clerk");
    lifecycle::signal().await.context("signals cannot be received")?;
    tracing::info!("shutting down");
    Ok(running.stop().await)
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
