//! What the tables must be in the end, read off the history itself: written without any of the rules' own code that
//! could be wrong in the same way.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

use super::history::{Clerk, ORGANIZATIONS, PERSONS, name, organization_name};
use crate::{
    clock::Time,
    domain::{
        Account, Change, Event, Organization, Policy, Version, deletion, entry,
        event::{OrganizationSnapshot, Snapshot},
        membership::{Membership, Pair, Terms, Told},
        policy::SoleAdmin,
        user::Identity,
    },
};

/// The tables as the history says they must end: everybody's newest snapshot, if they entered; tombstones.
pub(super) fn people(clerk: &Clerk, policy: &Policy) -> BTreeMap<String, Account> {
    let mut accounts = BTreeMap::new();
    for person in 0..PERSONS {
        let id = name(person);
        let mine = |event: &&Event| event.change.person() == Some(id.as_str());
        let snapshots: Vec<&Snapshot> = clerk
            .events
            .iter()
            .filter(mine)
            .filter_map(|event| match &event.change {
                Change::User(snapshot) => Some(snapshot.as_ref()),
                _ => None,
            })
            .collect();
        let deletes =
            clerk.events.iter().filter(mine).filter(|event| matches!(event.change, Change::UserDeleted { .. }));
        let newest = snapshots.iter().max_by_key(|snapshot| &snapshot.version);
        if let Some(at) = deletes.map(|event| event.occurred_at).min() {
            accounts.insert(id.clone(), deletion::emptied(None, &id, at, Uuid::nil(), Time::UNIX_EPOCH));
        } else if let Some(newest) =
            newest.filter(|_| snapshots.iter().any(|s| entry::refusal(&s.user, policy).is_none()))
        {
            let shown =
                Account::show(None, &newest.user, newest.version.clone(), policy, Uuid::nil(), Time::UNIX_EPOCH);
            accounts.insert(id, shown);
        }
    }
    // An identity is shown where the row shows the highest version, and nowhere else.
    let all: BTreeSet<Identity> =
        accounts.values().flat_map(|account: &Account| account.identities.keys().cloned()).collect();
    for identity in all {
        let holders = accounts.values().filter(|account| account.identities.contains_key(&identity));
        let newest = holders.map(|account| (account.version.clone(), account.clerk_id.clone())).max();
        for account in accounts.values_mut() {
            let shown = newest.as_ref().is_some_and(|(_, id)| *id == account.clerk_id);
            account.identities.entry(identity.clone()).and_modify(|current| *current = shown);
        }
    }
    accounts
}

/// An organisation as it must be: what it shows, its owner by Clerk's id, its count, when it was deleted.
#[derive(Debug, PartialEq)]
pub(super) struct Organized {
    pub(super) shown: Organization,
    pub(super) owner: Option<String>,
    pub(super) members: usize,
    pub(super) deleted: Option<Option<Time>>,
}

/// Live memberships: the pair's newest word is not an end, and both are live.
pub(super) fn memberships(clerk: &Clerk, people: &BTreeMap<String, Account>) -> BTreeMap<Pair, (Membership, Version)> {
    let mut newest: BTreeMap<Pair, &Told> = BTreeMap::new();
    let pairs = pairs(clerk);
    let mut dissolved = BTreeSet::new();
    let mut known = BTreeSet::new();
    for event in &clerk.events {
        match &event.change {
            Change::Membership(told) => {
                // What Clerk said last, whatever the versions are.
                let known = told.clerk_id.as_ref().and_then(|id| pairs.get(id)).cloned();
                newest.extend(told.pair().or(known).map(|pair| (pair, told.as_ref())));
            }
            Change::OrganizationDeleted { clerk_id } => _ = dissolved.insert(clerk_id.clone()),
            Change::Organization(snapshot) => _ = known.insert(snapshot.organization.clerk_id.clone()),
            _ => {}
        }
    }
    let live = |pair: &Pair| {
        known.contains(&pair.organization)
            && !dissolved.contains(&pair.organization)
            && people.get(&pair.user).is_some_and(Account::is_live)
    };
    let words = newest.into_iter().filter(|(pair, _)| live(pair));
    let shown = words.filter_map(|(pair, told)| {
        let Terms { role, permissions, created_at, updated_at } = told.terms.clone()?;
        let (clerk_id, version) = (told.clerk_id.clone()?, told.version.clone()?);
        Some((pair.clone(), (Membership { clerk_id, pair, role, permissions, created_at, updated_at }, version)))
    });
    shown.collect()
}

/// Whose the memberships are, as far as any event says.
pub(super) fn pairs(clerk: &Clerk) -> BTreeMap<String, Pair> {
    let told = clerk.events.iter().filter_map(|event| match &event.change {
        Change::Membership(told) => told.clerk_id.clone().zip(told.pair()),
        _ => None,
    });
    told.collect()
}

/// What everybody's newest snapshot says of their access: banned, deprovisioned.
pub(super) fn access(clerk: &Clerk) -> BTreeMap<String, (bool, bool)> {
    let mut newest: BTreeMap<String, &Snapshot> = BTreeMap::new();
    for event in &clerk.events {
        let Change::User(snapshot) = &event.change else { continue };
        let known = newest.entry(snapshot.user.clerk_id.clone()).or_insert(snapshot);
        if snapshot.version > known.version {
            *known = snapshot;
        }
    }
    newest.into_iter().map(|(id, snapshot)| (id, (snapshot.user.banned, snapshot.user.deprovisioned))).collect()
}

pub(super) fn organizations(
    clerk: &Clerk,
    members: &BTreeMap<Pair, (Membership, Version)>,
    policy: &Policy,
) -> BTreeMap<String, Organized> {
    let mut all = BTreeMap::new();
    for organization in 0..ORGANIZATIONS {
        let id = organization_name(organization);
        let mine: Vec<&Event> =
            clerk.events.iter().filter(|event| event.change.subject() == Some(id.as_str())).collect();
        let deleted = mine.iter().find(|event| matches!(event.change, Change::OrganizationDeleted { .. }));
        let snapshots = mine.iter().filter_map(|event| match &event.change {
            Change::Organization(snapshot) => Some(snapshot.as_ref()),
            _ => None,
        });
        let newest: Option<&OrganizationSnapshot> = snapshots.max_by_key(|snapshot| &snapshot.version);
        if let Some(event) = deleted {
            let shown = Organization { clerk_id: id.clone(), ..Organization::default() };
            all.insert(id, Organized { shown, owner: None, members: 0, deleted: Some(event.occurred_at) });
        } else if let Some(newest) = newest {
            let inside: Vec<&Membership> =
                members.iter().filter(|(pair, _)| pair.organization == id).map(|(_, (member, _))| member).collect();
            let shown = newest.organization.clone();
            let mut seniority = inside.clone();
            seniority.sort_by_key(|member| (member.created_at, member.clerk_id.clone()));
            let admins = ["org:admin", "admin"];
            let owner = inside
                .iter()
                .find(|member| Some(&member.pair.user) == shown.created_by.as_ref())
                .or_else(|| seniority.iter().find(|member| admins.contains(&member.role.as_str())))
                .or_else(|| seniority.first().filter(|_| policy.sole_admin != SoleAdmin::Orphan));
            let owner = owner.map(|member| member.pair.user.clone());
            all.insert(id, Organized { shown, owner, members: inside.len(), deleted: None });
        }
    }
    all
}
