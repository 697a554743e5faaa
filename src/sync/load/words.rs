//! What operators are being asked and what they said: open conflicts, decisions, people who left not long ago, and how
//! many left at the same time.

use std::collections::BTreeSet;

use sea_orm::{ConnectionTrait, DbErr};

use super::super::write::inbox::HELD_DELETIONS;
use crate::{
    clock::{Time, shifted},
    db::{Cell, Col, Rows, Stmt, Type},
    domain::{
        Change, Event, Policy, Version, World,
        decisions::{Decision, Verdict},
        emails,
        operators::Action,
        plan::Kind,
        world::OpenConflict,
    },
};

pub(super) async fn conflicts(
    tx: &impl ConnectionTrait,
    world: &mut World,
    ids: &BTreeSet<String>,
) -> Result<(), DbErr> {
    let open: Vec<entity::conflicts::Model> = Stmt::new(tx, "select c.* from ")
        .rows(Rows::keys(ids))
        .sql(" join clerk_sync.conflicts c on c.clerk_id = r.k and c.state = 'open'")
        .all_as(tx)
        .await?;
    for row in open {
        let conflict = OpenConflict { id: row.id.0, other: row.other_clerk_id };
        world.conflicts.entry(row.clerk_id).or_default().insert(row.address, conflict);
    }
    Ok(())
}

pub(super) async fn decisions(
    tx: &impl ConnectionTrait,
    world: &mut World,
    ids: &BTreeSet<String>,
) -> Result<(), DbErr> {
    let found: Vec<entity::conflict_decisions::Model> = Stmt::new(tx, "select d.* from ")
        .rows(Rows::keys(ids))
        .sql(" join clerk_sync.conflict_decisions d on d.newcomer = r.k union select d.* from ")
        .rows(Rows::keys(ids))
        .sql(" join clerk_sync.conflict_decisions d on d.older = r.k")
        .all_as(tx)
        .await?;
    for row in found {
        let Some(verdict) = Verdict::parse(&row.decision) else { continue };
        world.decisions.add(Decision {
            id: row.id.0,
            newcomer: row.newcomer,
            older: row.older,
            address: row.address,
            verdict,
            older_version: row.older_version.map(Version::stored),
        });
    }
    Ok(())
}

/// Deleted persons who had a verified address of somebody who is new here, or whom an operator links to them.
pub(super) async fn departed(
    tx: &impl ConnectionTrait,
    world: &mut World,
    events: &[&Event],
    policy: &Policy,
    now: Time,
) -> Result<(), DbErr> {
    let mut digests: BTreeSet<String> = BTreeSet::new();
    for event in events {
        match &event.change {
            Change::User(snapshot) if world.account(&snapshot.user.clerk_id).is_none() => {
                let verified = emails::addresses(&snapshot.user).into_iter().filter(|(_, address)| address.verified);
                digests.extend(verified.map(|(address, _)| emails::digest(&policy.hash_key, &address)));
            }
            Change::Operator(Action::Relink { to, .. }) => {
                let addresses = world.live(to).into_iter().flat_map(|row| &row.addresses);
                let verified = addresses.filter(|(_, address)| address.verified);
                digests.extend(verified.map(|(address, _)| emails::digest(&policy.hash_key, address)));
            }
            _ => {}
        }
    }
    if digests.is_empty() {
        return Ok(());
    }
    let found = Stmt::new(tx, "select t.digest, u.clerk_id from ")
        .rows(Rows::keys(digests))
        .sql(" join clerk_sync.tombstone_addresses t on t.digest = r.k join clerk_sync.users u on u.id = t.user_id where u.clerk_id is not null and t.expires_at > ")
        .val(now)
        .all(tx)
        .await?;
    for row in &found {
        let (digest, clerk_id): (String, String) = (row.try_get("", "digest")?, row.try_get("", "clerk_id")?);
        world.departed.entry(digest).or_default().insert(clerk_id);
    }
    Ok(())
}

/// For the breaker: when users and organisations were deleted, as far from the deletions of the batch as its window reaches.
pub(super) async fn deletions(
    tx: &impl ConnectionTrait,
    world: &mut World,
    events: &[&Event],
    policy: &Policy,
    now: Time,
) -> Result<(), DbErr> {
    const SPAN: [Col; 3] = [Col("kind", Type::Text), Col("first", Type::Time), Col("last", Type::Time)];
    if policy.breaker_max == 0 || !policy.holds {
        return Ok(());
    }
    let mut rows = Rows::new(&SPAN);
    for kind in [Kind::User, Kind::Organization] {
        let deletions = events.iter().filter(|event| deleted(event).is_some_and(|(of, _)| of == kind));
        let moments: BTreeSet<Time> = deletions.map(|event| event.occurred_at.unwrap_or(now)).collect();
        let mut spans: Vec<(Time, Time)> = Vec::new();
        for at in moments {
            let (first, last) = (shifted(at, -policy.breaker_window), shifted(at, policy.breaker_window));
            match spans.last_mut() {
                // Spans that meet are one, so that nothing is counted twice.
                Some(span) if first < span.1 => span.1 = last,
                _ => spans.push((first, last)),
            }
        }
        let row = |(first, last)| rows.push(vec![kind.as_str().into(), Cell::Time(first), Cell::Time(last)]);
        spans.into_iter().for_each(row);
    }
    if rows.is_empty() {
        return Ok(());
    }
    let found = Stmt::new(tx, "select s.kind, s.deleted_at, count(*) as n from ")
        .rows(rows)
        .sql(
            " join clerk_sync.subjects s on s.deleted_at > r.first and s.deleted_at < r.last where s.kind = r.kind
            group by s.kind, s.deleted_at",
        )
        .all(tx)
        .await?;
    for row in &found {
        let (at, count): (Time, i64) = (row.try_get("", "deleted_at")?, row.try_get("", "n")?);
        let kind: String = row.try_get("", "kind")?;
        let kind = if kind == Kind::User.as_str() { Kind::User } else { Kind::Organization };
        world.deletions.entry(kind).or_default().insert(at, u32::try_from(count).unwrap_or(u32::MAX));
    }
    Ok(())
}

/// Whose deletion an event says, or infers.
fn deleted(event: &Event) -> Option<(Kind, &str)> {
    match &event.change {
        Change::UserDeleted { clerk_id } => Some((Kind::User, clerk_id)),
        Change::OrganizationDeleted { clerk_id } => Some((Kind::Organization, clerk_id)),
        Change::Absent(absence) if absence.kind != Kind::Membership => Some((absence.kind, &absence.key)),
        _ => None,
    }
}

/// Which deletions of the batch's subjects operators have cancelled.
pub(super) async fn cancelled(tx: &impl ConnectionTrait, world: &mut World, events: &[&Event]) -> Result<(), DbErr> {
    let ids: BTreeSet<&str> = events.iter().filter_map(|event| deleted(event)).map(|(_, id)| id).collect();
    if ids.is_empty() {
        return Ok(());
    }
    let find = Stmt::new(tx, "select d.* from ").rows(Rows::keys(ids));
    let found: Vec<entity::deletion_decisions::Model> =
        find.sql(" join clerk_sync.deletion_decisions d on d.subject = r.k").all_as(tx).await?;
    for row in found {
        let kind = if row.kind == Kind::User.as_str() { Kind::User } else { Kind::Organization };
        world.cancelled.insert((kind, row.subject), row.covers_until);
    }
    Ok(())
}

/// The held deletions that operators act on.
pub(super) async fn held(tx: &impl ConnectionTrait, world: &mut World, events: &[&Event]) -> Result<(), DbErr> {
    let ids: BTreeSet<&str> = events
        .iter()
        .filter_map(|event| match &event.change {
            Change::Operator(Action::Cancel { clerk_id }) => Some(clerk_id.as_str()),
            _ => None,
        })
        .collect();
    if ids.is_empty() {
        return Ok(());
    }
    let found = Stmt::new(tx, "select i.subject, i.event_type, i.occurred_at, i.received_at from ")
        .rows(Rows::keys(ids))
        .sql(" join clerk_sync.inbox i on i.subject = r.k and i.state = 'held' and i.event_type in ")
        .sql(HELD_DELETIONS)
        .all(tx)
        .await?;
    for row in &found {
        let (subject, event_type): (String, String) = (row.try_get("", "subject")?, row.try_get("", "event_type")?);
        let (at, received): (Option<Time>, Time) = (row.try_get("", "occurred_at")?, row.try_get("", "received_at")?);
        let kind = if event_type == "organization.deleted" { Kind::Organization } else { Kind::User };
        let until = at.unwrap_or(received);
        let known = world.held.entry(subject).or_insert((kind, until));
        known.1 = known.1.max(until);
    }
    Ok(())
}
