//! Loads the part of the database that a batch can touch: every subject that the events name, everybody who holds one
//! of their addresses or identities, and the members from whom an owner may be chosen. A fixed number of statements,
//! however many events; statements about what no event of the batch touches are left out.

mod organizations;
mod people;
mod words;

use std::collections::{BTreeSet, HashMap};

use sea_orm::{ConnectionTrait, DbErr};

use crate::{
    clock::Time,
    db::{Cell, Col, Rows, Stmt, Type},
    domain::{
        Change, Event, Policy, Version, World, emails,
        facts::Facts,
        membership::{Pair, Told},
        plan::Kind,
        user::Identity,
    },
};

pub use organizations::{memberships, organization, organizations};
pub use people::{accounts, accounts_by_id};

/// The state that `events` fold through. Call it under the commit lock.
///
/// # Errors
/// What the database says.
pub async fn world(tx: &impl ConnectionTrait, events: &[&Event], policy: &Policy, now: Time) -> Result<World, DbErr> {
    let mut world = World::new(head(tx).await?);
    let pairs = pairs(tx, events).await?;
    let touched = organizations::Touched::by(events, &pairs);
    let mut subjects: BTreeSet<String> = BTreeSet::new();
    for event in events {
        match &event.change {
            Change::Operator(action) => subjects.extend(action.persons().into_iter().map(str::to_owned)),
            change => subjects.extend(change.person().map(str::to_owned)),
        }
    }
    facts(tx, &mut world, &subjects, &touched, events).await?;
    words::deletions(tx, &mut world, events, policy, now).await?;
    words::cancelled(tx, &mut world, events).await?;
    words::held(tx, &mut world, events).await?;
    let mut others = touched.parents();
    // Whose session ended: for the topic of theirs.
    others.extend(events.iter().filter_map(|event| match &event.change {
        Change::SessionEnded { clerk_id, .. } => Some(clerk_id.clone()),
        _ => None,
    }));
    if !subjects.is_empty() {
        people(tx, &mut world, &subjects).await?;
        words::conflicts(tx, &mut world, &subjects).await?;
        words::decisions(tx, &mut world, &subjects).await?;
        words::departed(tx, &mut world, events, policy, now).await?;
        others.extend(holders(tx, &world, events).await?);
    }
    others.retain(|id| !subjects.contains(id));
    if !others.is_empty() {
        more_facts(tx, &mut world, &others).await?;
        people(tx, &mut world, &others).await?;
    }
    organizations::load(tx, &mut world, touched, &subjects, events, policy).await?;
    Ok(world)
}

/// The highest outbox seq.
///
/// # Errors
/// What the database says.
pub async fn head(tx: &impl ConnectionTrait) -> Result<i64, DbErr> {
    let rows = Stmt::new(tx, "select coalesce(max(seq), 0) as head from clerk_sync.outbox").all(tx).await?;
    rows.first().map_or(Ok(0), |row| row.try_get("", "head"))
}

const SUBJECT: [Col; 2] = [Col("kind", Type::Text), Col("key", Type::Text)];

/// What is known of the batch's own subjects, of every kind.
async fn facts(
    tx: &impl ConnectionTrait,
    world: &mut World,
    persons: &BTreeSet<String>,
    touched: &organizations::Touched,
    events: &[&Event],
) -> Result<(), DbErr> {
    let mut keys = Rows::new(&SUBJECT);
    let mut push = |kind: Kind, key: &str| keys.push(vec![kind.as_str().into(), key.into()]);
    persons.iter().for_each(|id| push(Kind::User, id));
    touched.organizations().iter().for_each(|id| push(Kind::Organization, id));
    touched.pairs().for_each(|pair| push(Kind::Membership, &pair.to_string()));
    let ids: BTreeSet<&str> = told(events).filter_map(|told| told.clerk_id.as_deref()).collect();
    ids.into_iter().for_each(|id| push(Kind::MembershipId, id));
    read_facts(tx, world, keys).await
}

fn told<'a>(events: &'a [&Event]) -> impl Iterator<Item = &'a Told> {
    events.iter().filter_map(|event| match &event.change {
        Change::Membership(told) => Some(told.as_ref()),
        _ => None,
    })
}

/// Whose the memberships are that events name by their ids alone: by other events of the batch, or of earlier ones.
async fn pairs(tx: &impl ConnectionTrait, events: &[&Event]) -> Result<HashMap<String, Pair>, DbErr> {
    let mut pairs: HashMap<String, Pair> =
        told(events).filter_map(|told| told.clerk_id.clone().zip(told.pair())).collect();
    let mut keys = Rows::new(&SUBJECT);
    let alone = told(events).filter(|told| told.pair().is_none()).filter_map(|told| told.clerk_id.as_deref());
    let alone: BTreeSet<&str> = alone.filter(|id| !pairs.contains_key(*id)).collect();
    alone.into_iter().for_each(|id| keys.push(vec![Kind::MembershipId.as_str().into(), id.into()]));
    for row in find_facts(tx, keys).await? {
        pairs.extend(row.pair.as_deref().and_then(Pair::parse).map(|pair| (row.key, pair)));
    }
    Ok(pairs)
}

async fn more_facts(tx: &impl ConnectionTrait, world: &mut World, persons: &BTreeSet<String>) -> Result<(), DbErr> {
    let mut keys = Rows::new(&SUBJECT);
    persons.iter().for_each(|id| keys.push(vec![Kind::User.as_str().into(), id.as_str().into()]));
    read_facts(tx, world, keys).await
}

async fn find_facts(tx: &impl ConnectionTrait, keys: Rows) -> Result<Vec<entity::subjects::Model>, DbErr> {
    if keys.is_empty() {
        return Ok(Vec::new());
    }
    let find = Stmt::new(tx, "select s.* from ").rows(keys);
    find.sql(" join clerk_sync.subjects s on s.kind = r.kind and s.key = r.key").all_as(tx).await
}

async fn read_facts(tx: &impl ConnectionTrait, world: &mut World, keys: Rows) -> Result<(), DbErr> {
    for row in find_facts(tx, keys).await? {
        let newest = row.version.map(Version::stored);
        let facts = Facts {
            newest,
            entered: row.entered,
            deleted: row.deleted,
            deleted_at: row.deleted_at,
            erased: row.erased_at.is_some(),
            banned: row.banned,
            deprovisioned: row.deprovisioned,
            pair: row.pair.as_deref().and_then(Pair::parse),
            absent: row.absent_version.map(Version::stored),
        };
        match row.kind.as_str() {
            "user" => world.load_facts(row.key, facts),
            "organization" => world.load_organization_facts(row.key, facts),
            "membership_id" => *world.membership_facts(&row.key) = facts,
            _ => *world.pair_facts(&row.key) = facts,
        }
    }
    Ok(())
}

async fn people(tx: &impl ConnectionTrait, world: &mut World, ids: &BTreeSet<String>) -> Result<(), DbErr> {
    people::accounts(tx, ids).await?.into_iter().for_each(|account| world.load_account(account));
    Ok(())
}

/// Everybody in whose rows stands a verified address of the events, or an identity of the events or of their subjects.
async fn holders(tx: &impl ConnectionTrait, world: &World, events: &[&Event]) -> Result<BTreeSet<String>, DbErr> {
    let mut addresses = BTreeSet::new();
    let mut identities: BTreeSet<Identity> = world
        .persons()
        .filter_map(|(_, person)| person.account.as_ref())
        .flat_map(|row| row.identities.keys().cloned())
        .collect();
    for event in events {
        if let Change::User(snapshot) = &event.change {
            let verified = emails::addresses(&snapshot.user).into_iter().filter(|(_, address)| address.verified);
            addresses.extend(verified.map(|(address, _)| address));
            identities.extend(snapshot.user.identities.iter().cloned());
        }
    }
    const IDENTITY: [Col; 3] = [Col("provider", Type::Text), Col("connection", Type::Text), Col("subject", Type::Text)];
    let mut keys = Rows::new(&IDENTITY);
    for Identity { provider, connection, subject } in identities {
        keys.push([provider, connection, subject].map(Cell::Text).to_vec());
    }
    let rows = Stmt::new(tx, "select u.clerk_id from ")
        .rows(Rows::keys(addresses))
        .sql(
            " join clerk_sync.email_addresses e on e.normalised = r.k and e.verified join clerk_sync.users u on u.id = e.user_id
            where u.clerk_id is not null union select u.clerk_id from ",
        )
        .rows(keys)
        .sql(
            " join clerk_sync.federated_identities f on f.provider = r.provider and f.connection = r.connection
                and f.provider_subject_id = r.subject
            join clerk_sync.users u on u.id = f.user_id where u.clerk_id is not null",
        )
        .all(tx)
        .await?;
    rows.iter().map(|row| row.try_get("", "clerk_id")).collect()
}
