//! What operators are being asked and what they said: open conflicts, decisions, people who left not long ago, and how
//! many left at the same time.

use std::collections::BTreeSet;

use sea_orm::{ConnectionTrait, DbErr};

use crate::{
    clock::Time,
    db::{Cell, Col, Rows, Stmt, Type},
    domain::{
        Change, Event, Policy, Version, World,
        decisions::{Decision, Verdict},
        emails,
        operators::Action,
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

/// For the breaker: when people were deleted, as far from the deletions of the batch as its window reaches.
pub(super) async fn deletions(
    tx: &impl ConnectionTrait,
    world: &mut World,
    events: &[&Event],
    policy: &Policy,
    now: Time,
) -> Result<(), DbErr> {
    const SPAN: [Col; 2] = [Col("first", Type::Time), Col("last", Type::Time)];
    if policy.breaker_max == 0 || !policy.holds {
        return Ok(());
    }
    let deletions = events.iter().filter(|event| matches!(event.change, Change::UserDeleted { .. }));
    let moments: BTreeSet<Time> = deletions.map(|event| event.occurred_at.unwrap_or(now)).collect();
    let mut spans: Vec<(Time, Time)> = Vec::new();
    for at in moments {
        let (first, last) = (at - policy.breaker_window, at + policy.breaker_window);
        match spans.last_mut() {
            // Spans that meet are one, so that nothing is counted twice.
            Some(span) if first < span.1 => span.1 = last,
            _ => spans.push((first, last)),
        }
    }
    if spans.is_empty() {
        return Ok(());
    }
    let mut rows = Rows::new(&SPAN);
    spans.into_iter().for_each(|(first, last)| rows.push(vec![Cell::Time(first), Cell::Time(last)]));
    let found = Stmt::new(tx, "select s.deleted_at, count(*) as n from ")
        .rows(rows)
        .sql(
            " join clerk_sync.subjects s on s.deleted_at > r.first and s.deleted_at < r.last where s.kind = 'user'
            group by s.deleted_at",
        )
        .all(tx)
        .await?;
    for row in &found {
        let (at, count): (Time, i64) = (row.try_get("", "deleted_at")?, row.try_get("", "n")?);
        world.deletions.insert(at, u32::try_from(count).unwrap_or(u32::MAX));
    }
    Ok(())
}
