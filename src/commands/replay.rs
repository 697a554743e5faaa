//! `clerk-sync replay`: plans stored events again.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, bail};
use clap::{ArgGroup, Args as ClapArgs, ValueEnum};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter};

use crate::{
    app::App,
    clerk::private::BODY_EMPTIED,
    clock::{Clock, Time, earlier},
    config::Config,
    domain::State,
    json::json,
    sync::replay::{self, Selection},
};

#[derive(Debug, ClapArgs)]
#[command(group(ArgGroup::new("selection").required(true).multiple(true)))]
pub(super) struct Args {
    /// One delivery, by its svix-id
    #[arg(long, value_name = "MSG", group = "selection")]
    id: Option<String>,
    /// Deliveries of this type, e.g. user.updated
    #[arg(long = "type", value_name = "TYPE", group = "selection")]
    event_type: Option<String>,
    /// Deliveries received since, as 2026-11-21T09:30:00Z or as a time back from now (90m, 2d)
    #[arg(long, value_name = "TIME", group = "selection")]
    since: Option<String>,
    /// Deliveries in this state, e.g. rejected
    #[arg(long, value_name = "STATE", group = "selection")]
    state: Option<String>,
    /// Every stored delivery
    #[arg(long, group = "selection")]
    all: bool,
    #[command(flatten)]
    how: How,
}

#[derive(Debug, ClapArgs)]
struct How {
    /// all: caches and search also load everybody concerned anew
    #[arg(long, value_enum, default_value_t = Effects::None)]
    effects: Effects,
    /// Say what would happen, and write nothing
    #[arg(long)]
    dry_run: bool,
    /// As JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Effects {
    All,
    None,
}

const PAGE: u32 = 500;

pub(super) async fn run(args: Args, config: Config) -> anyhow::Result<bool> {
    let clock = Clock::system();
    let selection = selection(&args, clock.now())?;
    let app = App::connect(config, clock, true).await?;
    if args.how.dry_run {
        dry_run(&app, &selection, args.how.json).await
    } else {
        replay(&app, &selection, &args.how).await
    }
}

fn selection(args: &Args, now: Time) -> anyhow::Result<Selection> {
    if let Some(state) = &args.state
        && State::parse(state).is_none()
    {
        bail!("--state: {state:?} is no state ({})", State::ALL.map(State::as_str).join(", "));
    }
    let since = args.since.as_deref().map(|text| since(text, now)).transpose()?;
    Ok(Selection { svix_id: args.id.clone(), event_type: args.event_type.clone(), since, state: args.state.clone() })
}

fn since(text: &str, now: Time) -> anyhow::Result<Time> {
    if let Ok(time) = chrono::DateTime::parse_from_rfc3339(text) {
        return Ok(time.to_utc());
    }
    let back = humantime::parse_duration(text)
        .with_context(|| format!("--since: {text:?} is neither a time nor a duration"))?;
    Ok(earlier(now, back))
}

async fn dry_run(app: &App, selection: &Selection, as_json: bool) -> anyhow::Result<bool> {
    let mut after = 0;
    while let Some(page) = replay::page(&app.db, selection, after, PAGE).await? {
        after = page.last;
        let instance = app.instance.expected().await?;
        let found = replay::dry_run(&app.db, page, &app.policy, &app.clock, instance.as_deref()).await?;
        for id in &found.emptied {
            match as_json {
                true => println!("{}", json!({"id": id, "left_out": BODY_EMPTIED})),
                false => println!("{id:<40} left out: {BODY_EMPTIED}"),
            }
        }
        for (id, outcome) in &found.outcomes {
            let (state, what, reason) = (outcome.state.as_str(), outcome.outcome, outcome.reason.as_deref());
            match as_json {
                true => println!("{}", json!({"id": id, "state": state, "outcome": what, "reason": reason})),
                false => println!("{id:<40} {state:<9} {what:<10} {}", reason.unwrap_or_default()),
            }
        }
        for (clerk_id, diff) in found.diffs {
            match as_json {
                true => println!("{}", json!({"clerk_id": clerk_id, "diff": diff})),
                false => {
                    diff.iter().for_each(|(field, pair)| println!("  {clerk_id}  {field}: {} -> {}", pair[0], pair[1]))
                }
            }
        }
    }
    Ok(true)
}

async fn replay(app: &App, selection: &Selection, how: &How) -> anyhow::Result<bool> {
    let (mut after, mut total, mut emptied) = (0, 0, 0);
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    let mut subjects: BTreeSet<String> = BTreeSet::new();
    while let Some(page) = replay::page(&app.db, selection, after, PAGE).await? {
        after = page.last;
        emptied += page.emptied().count();
        // Whoever is concerned is loaded anew, whether or not the event can be planned again.
        subjects.extend(
            page.rows
                .iter()
                .filter(|row| row.is_emptied())
                .filter_map(|row| told(&row.event_type, row.subject.clone())),
        );
        let seqs = replay::requeue(&app.db, &page, app.clock.now()).await?;
        total += seqs.len();
        app.worker().drain().await?;
        for row in settled(app, &seqs).await? {
            *counts.entry(format!("{}/{}", row.state, row.outcome.unwrap_or_default())).or_default() += 1;
            subjects.extend(told(&row.event_type, row.subject));
        }
    }
    let mut resynced = 0;
    if how.effects == Effects::All {
        let subjects: Vec<String> = subjects.into_iter().collect();
        for chunk in subjects.chunks(PAGE as usize) {
            resynced += replay::resync(&app.db, &chunk.iter().cloned().collect(), &app.clock).await?;
        }
    }
    match how.json {
        true => {
            println!("{}", json!({"replayed": total, "outcomes": counts, "resynced": resynced, "left_out": emptied}))
        }
        false => {
            println!("{total} events replayed, {resynced} subjects resynced");
            if emptied > 0 {
                println!("{emptied} left out: {BODY_EMPTIED}; what they ended as stands");
            }
            counts.iter().for_each(|(what, n)| println!("{n:>8}  {what}"));
        }
    }
    Ok(counts.keys().all(|what| !what.starts_with("dead/")))
}

/// The subject, if its type is one that caches and search know.
fn told(event_type: &str, subject: Option<String>) -> Option<String> {
    subject.filter(|_| event_type.starts_with("user.") || event_type.starts_with("organization"))
}

/// The rows once nobody is working on them: a running server may have taken some of them.
async fn settled(app: &App, seqs: &[i64]) -> anyhow::Result<Vec<entity::inbox::Model>> {
    use entity::inbox::{Column, Entity};
    for _ in 0..600 {
        let rows = Entity::find().filter(Column::Seq.is_in(seqs.iter().copied())).all(&app.db.read).await?;
        if rows.iter().all(|row| row.state != "pending") {
            return Ok(rows);
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        app.worker().drain().await?;
    }
    bail!("some events were not settled within a minute: see `clerk-sync inbox list --state pending`")
}
