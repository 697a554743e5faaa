//! Replay: stored events are planned again. Nothing is different from the first time, so what a replay finds to do is
//! what was missing: rules that did not exist yet, switches that were thrown, rows that were lost.
//!
//! Events whose bodies retention or an erasure has emptied are left out: nothing tells what they said, and they keep the end they had.

use std::collections::BTreeSet;

use sea_orm::DbErr;

use crate::{
    clerk::decode::{Stored, decode},
    clock::{Clock, Time},
    db::{Cell, Col, Db, Rows, Stmt, Type},
    domain::{Event, Outcome, Plan, Policy, diff, membership::Pair, plan, plan::Message, view},
    json::Object,
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

/// Selected events after `after`, `limit` at most. What an operator discarded is selected only by `state` or `svix_id`.
///
/// # Errors
/// What the database says.
pub async fn page(db: &Db, selection: &Selection, after: i64, limit: u32) -> Result<Option<Page>, DbErr> {
    let mut find = Stmt::new(
        &db.read,
        "select seq, svix_id, event_type, subject, object_id, body, instance_id, occurred_at, received_at from clerk_sync.inbox
            where seq > ",
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
    if selection.state.is_none() && selection.svix_id.is_none() {
        find = find.sql(" and state <> 'discarded'");
    }
    if let Some(since) = selection.since {
        find = find.sql(" and received_at >= ").val(since);
    }
    let rows: Vec<Stored> = find.sql(" order by seq limit ").val(i64::from(limit)).all_as(&db.read).await?;
    Ok(rows.last().map(|row| row.seq).map(|last| Page { rows, last }))
}

impl Page {
    /// The svix-ids of those whose bodies are emptied.
    pub fn emptied(&self) -> impl Iterator<Item = &str> {
        self.rows.iter().filter(|row| row.is_emptied()).map(|row| row.svix_id.as_str())
    }
}

/// Sets a page's rows back to `pending`, for the loop to plan again; returns which. Leaves out those whose bodies are
/// emptied, even if they were so only since the page was read.
///
/// # Errors
/// What the database says.
pub async fn requeue(db: &Db, page: &Page, now: Time) -> Result<Vec<i64>, DbErr> {
    let mut rows = Rows::new(&[Col("seq", Type::Int), Col("bodiless", Type::Bool)]);
    let kept = page.rows.iter().filter(|row| !row.is_emptied());
    kept.for_each(|row| rows.push(vec![Cell::Int(row.seq), Cell::Bool(row.body.is_none())]));
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    let requeued = Stmt::new(
        &db.write,
        "update clerk_sync.inbox set state = 'pending', outcome = null, reason = null, awaits = null, awaits_too = null,
            attempts = 0, finished_at = null, available_at = ",
    )
    .val(now)
    .sql(" from ")
    .rows(rows)
    .sql(" where inbox.seq = r.seq and (inbox.body is not null or r.bodiless) returning inbox.seq")
    .all(&db.write)
    .await?;
    requeued.iter().map(|row| row.try_get("", "seq")).collect()
}

/// What a replay would do: each event's end, and each subject's changed fields.
#[derive(Debug, Default)]
pub struct DryRun {
    /// svix-ids of events that would be left out, because their bodies are emptied.
    pub emptied: Vec<String>,
    /// (svix-id, end).
    pub outcomes: Vec<(String, Outcome)>,
    /// (Subject, field to `[before, after]`, private metadata masked).
    pub diffs: Vec<(String, Object)>,
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
    let emptied = page.emptied().map(str::to_owned).collect();
    let kept = page.rows.into_iter().filter(|row| !row.is_emptied());
    let events: Vec<Event> = kept.map(|row| decode(row, instance)).collect();
    let tx = db.begin_commit().await?;
    let now = clock.now();
    let world = load::world(&tx, &events.iter().collect::<Vec<_>>(), policy, now).await?;
    let planned = plan(world, &events, policy, now, &mut || clock.new_id());
    tx.rollback().await?;
    let id = |seq: i64| {
        events.iter().find(|event| event.seq == seq).map(|event| event.correlation_id.clone()).unwrap_or_default()
    };
    Ok(DryRun {
        diffs: diffs(&planned),
        emptied,
        outcomes: planned.outcomes.into_iter().map(|(seq, outcome)| (id(seq), outcome)).collect(),
    })
}

/// Subject to its changed fields, `[before, after]` each, private metadata masked.
pub(super) fn diffs(planned: &Plan) -> Vec<(String, Object)> {
    let people = planned.accounts.iter();
    let people = people.map(|c| (c.after.clerk_id.clone(), diff::person(c.before.as_deref(), &c.after)));
    let organizations = planned.organizations.iter();
    let organizations =
        organizations.map(|c| (c.after.shown.clerk_id.clone(), diff::organization(c.before.as_ref(), &c.after)));
    let members = planned.memberships.iter().filter_map(|change| {
        let row = change.after.as_ref().or(change.before.as_ref())?;
        Some((row.shown.pair.to_string(), diff::member(change.before.as_ref(), change.after.as_ref())))
    });
    people.chain(organizations).chain(members).collect()
}

/// Appends one resync row a subject (`user_…`, `org_…`, `org_…/user_…`) to the change feed: nothing changed, but whoever
/// keeps copies loads them anew.
///
/// # Errors
/// What the database says.
pub async fn resync(db: &Db, subjects: &BTreeSet<String>, clock: &Clock) -> Result<u64, DbErr> {
    let pairs: BTreeSet<Pair> = subjects
        .iter()
        .filter_map(|subject| subject.split_once('/'))
        .map(|(organization, user)| Pair { organization: organization.to_owned(), user: user.to_owned() })
        .collect();
    let mut people = subjects.clone();
    people.extend(pairs.iter().map(|pair| pair.user.clone()));
    let tx = db.begin_commit().await?;
    let people = load::accounts(&tx, &people).await?;
    let mut messages = Vec::new();
    for account in people.iter().filter(|account| subjects.contains(&account.clerk_id)) {
        let routing = vec![format!("user:{}", account.id)];
        messages.push(message("user.updated", "users", &account.clerk_id, routing, view::user(account)));
    }
    for row in load::organizations(&tx, subjects).await? {
        let routing = vec![format!("org:{}", row.id)];
        let subject = &row.shown.clerk_id;
        messages.push(message("organization.updated", "organizations", subject, routing, view::organization(&row)));
    }
    for row in load::memberships(&tx, &pairs).await? {
        let person = people.iter().find(|account| account.clerk_id == row.shown.pair.user);
        let routing = vec![format!("org:{}", row.organization_id), format!("user:{}", row.user_id)];
        let subject = row.shown.pair.to_string();
        messages.push(message("membership.updated", "organizations", &subject, routing, view::member(&row, person)));
    }
    let head = load::head(&tx).await?;
    for (seq, message) in (head + 1..).zip(&mut messages) {
        message.seq = seq;
    }
    append::append(&tx, messages.iter(), clock, clock.now()).await?;
    tx.commit().await?;
    Ok(messages.len() as u64)
}

fn message(event: &'static str, topic: &'static str, subject: &str, routing: Vec<String>, payload: Object) -> Message {
    Message {
        seq: 0,
        event,
        topic,
        subject: subject.to_owned(),
        routing,
        payload,
        changed: Vec::new(),
        effects: "state",
        correlation_id: "replay".into(),
        occurred_at: None,
    }
}
