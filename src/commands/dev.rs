//! `clerk-sync dev`: everything embedded, a secret of its own, a simulated Clerk, the fixtures through real HTTP with real
//! signatures.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, bail};
use base64::Engine as _;
use clap::Args as ClapArgs;
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter};

use crate::{
    app::{App, Role},
    clock::Clock,
    config::{Config, Secret},
    db::{Db, Stmt},
    inbox::admission::{Refused, Rule},
    lifecycle,
    reconcile::drift::Options,
};

use super::{
    fixtures,
    send::{Delivery, Sender},
    simulated::Simulated,
};

#[derive(Debug, ClapArgs)]
pub(super) struct Args {
    /// End after the fixtures: exit code 0 if every one was synced as it should be
    #[arg(long)]
    once: bool,
}

pub(super) async fn run(args: Args, mut config: Config) -> anyhow::Result<bool> {
    let (secret, token) = (format!("whsec_{}", random()), uuid::Uuid::new_v4().simple().to_string());
    let folder = folder(&config, args.once)?;
    let clock = Clock::system();
    let clerk = Simulated::start(clock.clone()).await?;
    embed(&mut config, &folder, &secret, &token, args.once);
    clerk.embed(&mut config);
    let app = App::connect(config, clock.clone(), true).await?;
    let db = app.db.clone();
    let reconciler = super::reconcile::asked(&app, &clerk.stop)?;
    let running = app.start(&Role::ALL.into()).await?;
    let base = format!("http://{}", running.addr);
    let mut healthy = play(&db, &Sender::new(&base, &secret, clock)?, &clerk).await?;
    summary(&db).await?;
    let drift = reconciler.reconcile(Options { full: true, dry_run: true, scheduled: false }).await?;
    let compared: Vec<String> = drift.scanned.iter().map(|(kind, n)| format!("{n} {kind}")).collect();
    println!("clerk      {} differences from the simulated Clerk ({})", drift.count(), compared.join(", "));
    healthy &= drift.count() == 0;
    if !args.once {
        let (ws, file) = (base.replacen("http", "ws", 1), folder.join("clerk-sync.db"));
        println!("\nwebhooks   {base}/webhooks/clerk");
        println!("secret     {secret}");
        println!("people     {base}/v1/users   search {base}/v1/search/users?q=   changes {base}/v1/changes");
        println!("operators  {base}/v1/admin/events   {base}/readyz   {base}/metrics");
        println!("websocket  {ws}/v1/ws");
        println!("token      {token}   (Authorization: Bearer; the websocket's auth message)");
        println!("database   {}", file.display());
        println!("clerk      CLERK_API_URL={} CLERK_SECRET_KEY={}", clerk.url, clerk.key);
        println!("\nrunning until Ctrl-C; try: clerk-sync send FILE --to {base} --secret {secret}");
        lifecycle::signal().await?;
    }
    let stopped = running.stop().await;
    if args.once {
        std::fs::remove_dir_all(&folder).with_context(|| format!("{} cannot be removed", folder.display()))?;
    }
    Ok(stopped && healthy)
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
    config.meili.url = String::new();
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

/// Posts every fixture and prints what became of it. False if one was refused or ended `dead`.
async fn play(db: &Db, sender: &Sender, clerk: &Simulated) -> anyhow::Result<bool> {
    let mut healthy = true;
    for (name, body) in fixtures::events() {
        // Clerk first: what it delivers is so there already.
        clerk.follow(&body);
        let id = format!("msg_{name}");
        let started = std::time::Instant::now();
        let delivery = Delivery { name, id, body };
        let (status, word) = sender.post(&delivery).await?;
        if status != 200 {
            println!("{:<34} refused: {status} {word}", delivery.name);
            healthy = false;
            continue;
        }
        let row = settled(db, &delivery.id).await?;
        let outcome = row.outcome.as_deref().unwrap_or("?");
        let reason = row.reason.as_deref().map(|reason| format!("  {}", reason.split(" (").next().unwrap_or(reason)));
        println!(
            "{:<34} {:<34} {:<9} {:<10} {:>4} ms{}",
            row.event_type,
            row.subject.as_deref().unwrap_or("-"),
            row.state,
            outcome,
            started.elapsed().as_millis(),
            reason.unwrap_or_default(),
        );
        healthy &= row.state != "dead";
    }
    Ok(healthy)
}

async fn settled(db: &Db, svix_id: &str) -> anyhow::Result<entity::inbox::Model> {
    for _ in 0..2_000 {
        let row = entity::inbox::Entity::find().filter(entity::inbox::Column::SvixId.eq(svix_id)).one(&db.read).await?;
        let row = row.with_context(|| format!("{svix_id} was acknowledged and is not in the inbox"))?;
        if row.state != "pending" && row.state != "running" {
            return Ok(row);
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    bail!("{svix_id} was not settled within 10 s")
}

async fn summary(db: &Db) -> anyhow::Result<()> {
    let mut counts: BTreeMap<String, i64> = BTreeMap::new();
    let rows = Stmt::new(
        &db.read,
        "select state || '/' || coalesce(outcome, '') as what, count(*) as n from inbox group by 1",
    )
    .all(&db.read)
    .await?;
    for row in &rows {
        counts.insert(row.try_get("", "what")?, row.try_get("", "n")?);
    }
    println!("\nevents     {}", counts.iter().map(|(what, n)| format!("{n} {what}")).collect::<Vec<_>>().join(", "));
    let tables = [
        "users",
        "email_addresses",
        "federated_identities",
        "user_roles",
        "organizations",
        "organization_memberships",
        "revoked_sessions",
        "outbox",
        "audit_log",
        "conflicts",
        "alerts",
    ];
    let mut line = Vec::new();
    for table in tables {
        let row = Stmt::new(&db.read, "select count(*) as n from ").sql(table).all(&db.read).await?;
        let count: i64 = row.first().map_or(Ok(0), |row| row.try_get("", "n"))?;
        line.push(format!("{count} {table}"));
    }
    println!("rows       {}", line.join(", "));
    let refused = Refused::count(&db.read).await?;
    for rule in Rule::ALL.into_iter().filter(|rule| refused.by(*rule) > 0) {
        let (people, key, switch) = (refused.by(rule), rule.key(), rule.switch());
        println!("refused    {people} by {key}, {}; {switch} lets them in", rule.refuses());
    }
    Ok(())
}
