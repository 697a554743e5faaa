//! `clerk-sync dev`: the whole pipeline on one machine, with a secret of its own, a simulated Clerk, and the fixtures
//! through real HTTP with real signatures.

mod play;
mod showcase;
mod socket;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use base64::Engine as _;
use clap::Args as ClapArgs;

use crate::{
    app::{App, Ended, Role},
    clerk::simulated::Issuer,
    clock::Clock,
    config::{Config, Secret, SecretUrl},
    reconcile::drift::Options,
};

use self::showcase::Showcase;
use super::{send::Sender, simulated::Simulated};

/// Who issues the session tokens of the simulated Clerk.
const ISSUER: &str = "https://clerk.simulated.example";

#[derive(Debug, ClapArgs)]
pub(super) struct Args {
    /// End after the fixtures and checks: exit code 0 if each came out as it should
    #[arg(long)]
    once: bool,
}

pub(super) async fn run(args: Args, mut config: Config) -> anyhow::Result<bool> {
    let (secret, token) = (format!("whsec_{}", random()), uuid::Uuid::new_v4().simple().to_string());
    let folder = folder(&config, args.once)?;
    let clock = Clock::system();
    let clerk = Simulated::start(clock.clone()).await?;
    let issuer = Issuer::generate(ISSUER).ok().context("no key for session tokens could be made")?;
    embed(&mut config, &folder, &secret, &token, args.once);
    clerk.embed(&mut config);
    admit(&mut config, &issuer)?;
    let app = App::connect(config, clock.clone(), true).await?;
    let db = app.db.clone();
    let reconciler = super::reconcile::asked(&app, &clerk.stop)?;
    let running = app.start(&Role::ALL.into()).await?;
    let base = format!("http://{}", running.addr);
    let sender = Sender::new(&base, &secret, clock.clone())?;
    let mut healthy = play::play(&db, &sender, &clerk).await?;
    play::summary(&db).await?;
    let drift = reconciler.reconcile(Options { full: true, dry_run: true, ..Options::default() }).await?;
    let compared: Vec<String> = drift.scanned.iter().map(|(kind, n)| format!("{n} {kind}")).collect();
    println!("compared    {} differences from the simulated Clerk ({})", drift.count(), compared.join(", "));
    healthy &= drift.count() == 0;
    let address = running.addr;
    let showcase =
        Showcase { db: &db, sender: &sender, clerk: &clerk, issuer: &issuer, clock: &clock, address, token: &token };
    healthy &= showcase.run().await;
    if !args.once {
        let (ws, file) = (base.replacen("http", "ws", 1), folder.join("clerk-sync.db"));
        println!("\nwebhooks    {base}/webhooks/clerk");
        println!("secret      {secret}");
        println!("people      {base}/v1/users   search {base}/v1/search/users?q=   changes {base}/v1/changes");
        println!("operators   {base}/v1/admin/events   {base}/readyz   {base}/metrics");
        println!("websocket   {ws}/v1/ws");
        println!("token       {token}   (Authorization: Bearer; the websocket's auth message)");
        println!("database    {}", file.display());
        println!("clerk       CLERK_API_URL={} CLERK_SECRET_KEY={}", clerk.url, clerk.key);
        println!("\nrunning until Ctrl-C; try: CLERK_WEBHOOK_SIGNING_SECRET={secret} clerk-sync send FILE --to {base}");
    }
    let stopped =
        if args.once { running.stop().await } else { running.until_ended().await? == Ended::Asked { in_order: true } };
    if args.once {
        std::fs::remove_dir_all(&folder).with_context(|| format!("{} cannot be removed", folder.display()))?;
    }
    Ok(stopped && healthy)
}

/// Lets the simulated Clerk's session tokens in, and no others.
fn admit(config: &mut Config, issuer: &Issuer) -> anyhow::Result<()> {
    let pem = issuer.public_pem().ok().context("the key for session tokens cannot be written")?;
    config.clerk.jwt_key = Secret::from(pem.as_str());
    config.clerk.jwks_url = SecretUrl::from("");
    config.clerk.issuer = issuer.name().to_owned();
    config.clerk.authorized_parties = Vec::new();
    config.clerk.require_azp = false;
    Ok(())
}

fn random() -> String {
    base64::engine::general_purpose::STANDARD
        .encode([*uuid::Uuid::new_v4().as_bytes(), *uuid::Uuid::new_v4().as_bytes()].concat())
}

/// An empty folder for this run: one that can be looked at afterwards, or, for `--once`, one that goes with it.
fn folder(config: &Config, once: bool) -> anyhow::Result<PathBuf> {
    if once {
        return Ok(std::env::temp_dir().join(format!("clerk-sync-dev-{}", uuid::Uuid::new_v4().simple())));
    }
    // Before anything is removed: another `dev` may be at work in this folder, and then it has the port.
    let port = config.server.port;
    std::net::TcpListener::bind(("127.0.0.1", port))
        .with_context(|| format!("port {port} is taken (set PORT, or end what listens there)"))?;
    let folder = PathBuf::from("data/dev");
    match std::fs::remove_dir_all(&folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => bail!("data/dev cannot be emptied: {error}"),
        _ => Ok(folder),
    }
}

/// Whatever the environment says: nothing of this run leaves this machine or touches a real database.
fn embed(config: &mut Config, folder: &Path, secret: &str, token: &str, once: bool) {
    config.database.url = Secret::from(format!("sqlite://{}/clerk-sync.db", folder.display()).as_str());
    config.redis.url = Secret::from("");
    config.meili.url = SecretUrl::from("");
    config.alerts.webhook_url = Secret::from("");
    config.smtp.url = Secret::from("");
    config.smtp.folder = folder.join("mail").display().to_string();
    config.clerk.signing_secret = Secret::from(secret);
    config.clerk.instance_id = String::new();
    config.api.admin_token = Secret::from(token);
    config.server.host = "127.0.0.1".into();
    if once {
        config.server.port = 0;
    }
}
