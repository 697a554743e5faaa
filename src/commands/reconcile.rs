//! `clerk-sync reconcile`: what differs from Clerk, found and repaired.

use anyhow::Context as _;
use clap::Args as ClapArgs;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::{
    app::App,
    clock::Clock,
    config::Config,
    lifecycle,
    reconcile::{
        Reconciler,
        drift::Options,
        report::{Drift, Held, Item},
    },
};

#[derive(Debug, ClapArgs)]
pub(super) struct Args {
    /// Everything, also whom Clerk no longer has; else what changed since the last comparison
    #[arg(long)]
    full: bool,
    /// Say what differs, and write nothing
    #[arg(long)]
    dry_run: bool,
    /// Remove up to N of each kind that Clerk no longer has, beyond reconcile.max_removal_share and reconcile.extras_max
    #[arg(long, value_name = "N")]
    allow_removals: Option<u64>,
    /// As JSON
    #[arg(long)]
    json: bool,
}

/// Differences printed of each sort; the JSON has them all.
const SHOWN: usize = 50;

pub(super) async fn run(args: Args, config: Config) -> anyhow::Result<bool> {
    let app = App::connect(config, Clock::system(), true).await?;
    let reconciler = asked(&app, &interruptible())?;
    let options =
        Options { full: args.full, dry_run: args.dry_run, scheduled: false, allow_removals: args.allow_removals };
    let drift = reconciler.reconcile(options).await;
    app.signals.tell(&app.db).await;
    let drift = drift?;
    match args.json {
        true => println!("{}", json!(drift)),
        false => print_drift(&drift),
    }
    Ok(!drift.is_unresolved())
}

/// What asks Clerk.
pub(super) fn asked(app: &App, shutdown: &CancellationToken) -> anyhow::Result<Reconciler> {
    app.reconciler(shutdown.clone())
        .context("clerk.secret_key: Clerk's API is asked with the instance's secret key (set CLERK_SECRET_KEY=sk_…)")
}

/// Cancelled by Ctrl-C or SIGTERM.
pub(super) fn interruptible() -> CancellationToken {
    let shutdown = CancellationToken::new();
    let stop = shutdown.clone();
    tokio::spawn(async move {
        if lifecycle::signal().await.is_ok() {
            stop.cancel();
        }
    });
    shutdown
}

pub(super) fn print_drift(drift: &Drift) {
    let scanned: Vec<String> = drift.scanned.iter().map(|(kind, n)| format!("{n} {kind}")).collect();
    println!("compared {}", scanned.join(", "));
    for (sort, found) in drift.sorts() {
        println!("{:>8}  {sort}", found.count);
        found.items.iter().take(SHOWN).for_each(print_item);
        if found.count > SHOWN as u64 {
            println!("          … {} more (--json names them)", found.count - SHOWN as u64);
        }
    }
    let notes = [
        (drift.refused, "refused by the rules of entry: no difference"),
        (drift.in_flight, "of which a delivery is about to be applied: no difference"),
        (drift.left, "no longer at Clerk and left for the next run (reconcile.extras_max)"),
    ];
    notes.iter().filter(|(n, _)| *n > 0).for_each(|(n, what)| println!("{n:>8}  {what}"));
    for Held { kind, absent, live, allowed } in &drift.held {
        println!(
            "held: {absent} of {live} {kind} would be removed, more than {allowed} (reconcile.max_removal_share); nothing was \
             removed. If Clerk really has them no more: clerk-sync reconcile --full --allow-removals {absent}"
        );
    }
    if drift.dry_run && drift.count() > 0 {
        println!("nothing was written (--dry-run)");
    }
}

fn print_item(item: &Item) {
    let more = match (&item.reason, item.fields.is_empty()) {
        (Some(reason), _) => format!("  {reason}"),
        (None, false) => format!("  {}", item.fields.join(", ")),
        (None, true) => String::new(),
    };
    println!("          {} {}{more}", item.kind, item.id);
}
