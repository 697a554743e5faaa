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
        .sql(" join conflicts c on c.clerk_id = r.k and c.state = 'open'")
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
        .sql(" join conflict_decisions d on d.newcomer = r.k union select d.* from ")
        .rows(Rows::keys(ids))
        .sql(" join conflict_decisions d on d.older = r.k")
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
        .sql(" join tombstone_addresses t on t.digest = r.k join users u on u.id = t.user_id where u.clerk_id is not null and t.expires_at > ")
        .val(now)
        .all(tx)
        .await?;
    for row in &found {
        let (digest, clerk_id): (String, String) = (row.try_get("", "digest")?, row.try_get("", "clerk_id")?);
        world.departed.entry(digest).or_default().insert(clerk_id);
    }
    Ok(())
}

/// For the breaker: how many deletions fell into the windows that end and begin with those of the batch. Counted no
/// further than the breaker looks.
pub(super) async fn deletions(
    tx: &impl ConnectionTrait,
    world: &mut World,
    events: &[&Event],
    policy: &Policy,
    now: Time,
) -> Result<(), DbErr> {
    const WINDOW: [Col; 3] = [Col("moment", Type::Time), Col("first", Type::Time), Col("last", Type::Time)];
    if policy.breaker_max == 0 || !policy.holds {
        return Ok(());
    }
    let deletions = events.iter().filter(|event| matches!(event.change, Change::UserDeleted { .. }));
    let moments: BTreeSet<Time> = deletions.map(|event| event.occurred_at.unwrap_or(now)).collect();
    if moments.is_empty() {
        return Ok(());
    }
    let window = policy.breaker_window;
    let mut rows = Rows::new(&WINDOW);
    moments.iter().for_each(|at| rows.push([*at, *at - window, *at + window].map(Cell::Time).to_vec()));
    let limit = i64::from(policy.breaker_max);
    let found = Stmt::new(
        tx,
        "select r.moment, (select count(*) from (select 1 from subjects where kind = 'user'
            and deleted_at > r.first and deleted_at <= r.moment limit ",
    )
    .val(limit)
    .sql(
        ") x) as earlier, (select count(*) from (select 1 from subjects where kind = 'user'
            and deleted_at >= r.moment and deleted_at < r.last limit ",
    )
    .val(limit)
    .sql(") x) as later from ")
    .rows(rows)
    .all(tx)
    .await?;
    for row in &found {
        let (moment, earlier, later): (Time, i64, i64) =
            (row.try_get("", "moment")?, row.try_get("", "earlier")?, row.try_get("", "later")?);
        let count = |count: i64| u32::try_from(count).unwrap_or(u32::MAX);
        world.deletions.insert(moment, (count(earlier), count(later)));
    }
    Ok(())
}
