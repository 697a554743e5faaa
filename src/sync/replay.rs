//! Replay: stored events are planned again. Nothing is different from the first time, so what a replay finds to do is
//! what was missing: rules that did not exist yet, switches that were thrown, rows that were lost.

use std::collections::BTreeSet;

use sea_orm::DbErr;
use serde_json::{Map, Value};

use crate::{
    clerk::decode::{Stored, decode},
    clock::{Clock, Time},
    db::{Cell, Col, Db, Rows, Stmt, Type},
    domain::{Event, Outcome, Policy, plan, plan::Message, users::diff, view},
    outbox::append,
};

use super::load;

/// Which stored events. What is not given selects everything.
#[derive(Debug, Clone, Default)]
#[expect(missing_docs, reason = "the names are the columns'")]
pub struct Selection {
    pub svix_id: Option<String>,
    pub event_type: Option<String>,
    pub since: Option<Time>,
    pub state: Option<String>,
}

/// A page of selected events, and where the next one starts.
#[derive(Debug)]
pub struct Page {
    /// The events, oldest first.
    pub rows: Vec<Stored>,
    /// The seq after which the next page starts.
    pub last: i64,
}

/// Selected events after `after`, `limit` at most. Running ones are left to whoever runs them.
///
/// # Errors
/// What the database says.
pub async fn page(db: &Db, selection: &Selection, after: i64, limit: u32) -> Result<Option<Page>, DbErr> {
    let mut find = Stmt::new(
        &db.read,
        "select seq, svix_id, event_type, subject, object_id, body, instance_id, occurred_at from inbox
            where state <> 'running' and seq > ",
    )
    .val(after);
    let texts = [
        (" and svix_id = ", &selection.svix_id),
        (" and event_type = ", &selection.event_type),
        (" and state = ", &selection.state),
    ];
    for (clause, value) in texts {
        if let Some(value) = value {
            find = find.sql(clause).val(value.as_str());
        }
    }
    if let Some(since) = selection.since {
        find = find.sql(" and received_at >= ").val(since);
    }
    let rows: Vec<Stored> = find.sql(" order by seq limit ").val(i64::from(limit)).all_as(&db.read).await?;
    Ok(rows.last().map(|row| row.seq).map(|last| Page { rows, last }))
}

/// Sets a page's rows back to `pending`, for the loop to plan again. Answers how many.
///
/// # Errors
/// What the database says.
pub async fn requeue(db: &Db, page: &Page, now: Time) -> Result<u64, DbErr> {
    let mut rows = Rows::new(&[Col("seq", Type::Int)]);
    page.rows.iter().for_each(|row| rows.push(vec![Cell::Int(row.seq)]));
    Stmt::new(
        &db.write,
        "update inbox set state = 'pending', outcome = null, reason = null, awaits = null, awaits_too = null,
            attempts = 0, finished_at = null, available_at = ",
    )
    .val(now)
    .sql(" where state <> 'running' and seq in (select seq from ")
    .rows(rows)
    .sql(")")
    .exec(&db.write)
    .await
}

/// What a replay would do: each event's end, and each person's changed fields.
#[derive(Debug, Default)]
pub struct DryRun {
    /// (svix-id, end).
    pub outcomes: Vec<(String, Outcome)>,
    /// (Clerk id, field to `[before, after]`, private metadata masked).
    pub diffs: Vec<(String, Map<String, Value>)>,
}

/// Plans a page under the commit lock and writes nothing.
///
/// # Errors
/// What the database says.
pub async fn dry_run(
    db: &Db,
    page: Page,
    policy: &Policy,
    clock: &Clock,
    instance: Option<&str>,
) -> Result<DryRun, DbErr> {
    let events: Vec<Event> = page.rows.into_iter().map(|row| decode(row, instance)).collect();
    let tx = db.begin_commit().await?;
    let now = clock.now();
    let world = load::world(&tx, &events.iter().collect::<Vec<_>>(), policy, now).await?;
    let planned = plan(world, &events, policy, now, &mut || clock.new_id());
    tx.rollback().await?;
    let id = |seq: i64| {
        events.iter().find(|event| event.seq == seq).map(|event| event.correlation_id.clone()).unwrap_or_default()
    };
    Ok(DryRun {
        outcomes: planned.outcomes.into_iter().map(|(seq, outcome)| (id(seq), outcome)).collect(),
        diffs: planned
            .accounts
            .iter()
            .map(|change| (change.after.clerk_id.clone(), diff(change.before.as_ref(), &change.after)))
            .collect(),
    })
}

/// Appends one resync row a person to the change feed: nothing changed, but caches and search load them anew.
///
/// # Errors
/// What the database says.
pub async fn resync(db: &Db, subjects: &BTreeSet<String>, clock: &Clock) -> Result<u64, DbErr> {
    let tx = db.begin_commit().await?;
    let mut seq = load::head(&tx).await?;
    let mut messages = Vec::new();
    for account in load::accounts(&tx, subjects).await? {
        seq += 1;
        messages.push(Message {
            seq,
            event: "user.updated",
            topic: "users",
            subject: account.clerk_id.clone(),
            routing: vec![format!("user:{}", account.id)],
            payload: view::user(&account),
            changed: Vec::new(),
            effects: "state",
            correlation_id: "replay".into(),
            occurred_at: None,
        });
    }
    append::append(&tx, messages.iter(), clock, clock.now()).await?;
    tx.commit().await?;
    Ok(messages.len() as u64)
}
