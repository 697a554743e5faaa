//! `clerk-sync backfill`: everybody at Clerk into the tables, and the proof that nobody is missing.

use std::{
    io::IsTerminal as _,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use clap::Args as ClapArgs;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

use crate::{
    app::App,
    clock::Clock,
    config::Config,
    reconcile::{
        backfill::{Backfilled, Meter, Options},
        proof::Account,
    },
};

use super::reconcile::{asked, interruptible, print_drift};

#[derive(Debug, ClapArgs)]
pub(super) struct Args {
    /// Windows of creation time that are read side by side
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=32))]
    concurrency: u32,
    /// From the beginning, also where an earlier backfill was stopped
    #[arg(long)]
    restart: bool,
    /// As JSON
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: Args, config: Config) -> anyhow::Result<bool> {
    let app = App::connect(config, Clock::system(), true).await?;
    let shutdown = interruptible();
    let reconciler = asked(&app, &shutdown)?;
    let meter = Arc::new(Meter::default());
    let watching = tokio::spawn(watch(meter.clone(), std::io::stderr().is_terminal()));
    let options = Options { concurrency: args.concurrency, restart: args.restart };
    let started = std::time::Instant::now();
    let done = reconciler.backfill(options, meter).await;
    watching.abort();
    app.signals.tell(&app.db).await;
    let done = done?;
    let took = started.elapsed();
    match args.json {
        true => println!("{}", json!(done)),
        false => print(&done, took),
    }
    Ok(done.proof.holds())
}

fn print(done: &Backfilled, took: Duration) {
    let total = done.outcomes.total();
    let rate = total as f64 / took.as_secs_f64().max(0.001);
    println!(
        "{total} objects{} in {:.1} s ({rate:.0}/s)",
        if done.resumed { ", some of them by an earlier run," } else { "" },
        took.as_secs_f64()
    );
    for (kind, outcomes) in &done.outcomes.0 {
        let line: Vec<String> = outcomes.iter().map(|(what, n)| format!("{n} {what}")).collect();
        println!("  {kind:<14} {}", line.join(", "));
    }
    let account = |name: &str, account: &Account| {
        let word = if account.holds() { "adds up" } else { "differs" };
        println!(
            "  {name:<14} Clerk {}, rows {}, parked {}, deleted here {}, came or went meanwhile {}: {word}",
            account.clerk, account.rows, account.parked, account.buried, account.moved
        );
    };
    account("users", &done.proof.users);
    account("organizations", &done.proof.organizations);
    account("memberships", &done.proof.memberships);
    if let Some(found) = &done.proof.second_pass {
        println!("the counts differ; a second look at everybody:");
        print_drift(found);
    }
}

/// A bar where somebody watches, a line now and then elsewhere.
async fn watch(meter: Arc<Meter>, terminal: bool) {
    let bar = if terminal { ProgressBar::new(0) } else { ProgressBar::hidden() };
    let template = "{bar:30} {pos}/{len} objects, {per_sec}, {elapsed} gone, {eta} to go";
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    let (mut said, mut before) = (std::time::Instant::now(), 0);
    loop {
        tokio::time::sleep(Duration::from_millis(250)).await;
        let (done, total) = (meter.done.load(Ordering::Relaxed), meter.total.load(Ordering::Relaxed));
        bar.set_length(total.max(done));
        bar.set_position(done);
        let since = said.elapsed();
        if !terminal && since >= Duration::from_secs(10) {
            let per_second = (done - before) as f64 / since.as_secs_f64();
            let eta_s = (total.saturating_sub(done)) as f64 / per_second.max(0.1);
            tracing::info!(done, total, per_second = per_second as u64, eta_s = eta_s as u64, "backfill");
            (said, before) = (std::time::Instant::now(), done);
        }
    }
}
