//! Refreshing clashes: both users of an e-mail clash are read from Clerk before it becomes a conflict, so that a lost
//! delivery about one of them needs no operator.
//!
//! The plan ends the first clash of an event as `pending` and names the blocker. Here, between claim and commit, in the
//! claiming task and outside of any transaction, the users of all such events of a batch are read together, a hundred ids
//! a request, and their snapshots applied like those of `ensure`. The event is then planned as refreshed: a clash that is
//! still there opens the conflict. Where Clerk cannot be asked in time it opens as it would without a key.
//!
//! A blocker whom Clerk does not have is not deleted here, where neither `reconcile.extras_max` nor the breaker for whole
//! runs counts: the conflict says so, and a full comparison removes them.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    time::Duration,
};

use futures_util::future::join_all;
use sea_orm::DbErr;

use crate::{
    clerk::{
        api::{Api, IDS_MAX, Objects},
        decode::{Stored, decode},
        object::{Kind, outline, stored},
    },
    db::{Rows, Stmt},
    domain::{Change, Event, Version, emails, event::Refreshed},
    instance::Instance,
};

use super::{
    confirm::is_plain,
    objects::{Applier, Origin},
};

/// How long one request may keep a batch waiting: what confirm gives where it goes on without an answer.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(2);

/// Blockers of one batch whose absence from a list is proved by a read of their own.
const MAX_PROOFS: usize = 20;

/// Reads the users of clashes. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Refresher {
    api: Api,
    instance: Instance,
    applier: Applier,
}

impl Refresher {
    /// Asks nothing yet.
    pub fn new(api: Api, instance: Instance, applier: Applier) -> Self {
        Self { api, instance, applier }
    }

    /// Brings both users of each clash up to date, and marks the events as refreshed. An event whose addresses no other
    /// user holds by now is left as it is.
    ///
    /// # Errors
    /// What the database says.
    pub async fn refresh(&self, events: Vec<&mut Event>) -> Result<(), DbErr> {
        let holders = self.holders(&events).await?;
        let mut clashes: Vec<(&mut Event, BTreeSet<String>)> = Vec::new();
        for event in events {
            let blockers = blockers(event, &holders);
            if !blockers.is_empty() {
                clashes.push((event, blockers));
            }
        }
        if clashes.is_empty() {
            return Ok(());
        }
        if let Err(error) = self.instance.check(REQUEST_TIMEOUT).await {
            warn(&error);
            clashes.into_iter().for_each(|(event, _)| event.refreshed = Some(Refreshed::default()));
            return Ok(());
        }
        let newcomers = clashes.iter().filter_map(|(event, _)| event.change.person());
        let ids: BTreeSet<&str> = clashes.iter().flat_map(|(_, blockers)| blockers).map(String::as_str).collect();
        let ids: BTreeSet<&str> = ids.into_iter().chain(newcomers).filter(|id| is_plain(id)).collect();
        let (mut objects, absent) = self.read(&ids).await;
        let absent = absent.into_iter().filter(|id| clashes.iter().any(|(_, blockers)| blockers.contains(id)));
        let gone = self.prove_absence(absent.take(MAX_PROOFS).collect(), &mut objects).await;
        let objects = in_order(&clashes, objects);
        if !objects.is_empty() {
            self.applier.apply(objects, Origin::Refresh, false).await?;
        }
        for (event, blockers) in clashes {
            event.refreshed = Some(Refreshed { gone: blockers.intersection(&gone).cloned().collect() });
        }
        Ok(())
    }

    /// The live users in whose rows the verified addresses of the events stand verified, by address.
    async fn holders(&self, events: &[&mut Event]) -> Result<HashMap<String, Vec<String>>, DbErr> {
        let addresses: BTreeSet<String> = events.iter().flat_map(|event| verified(event)).collect();
        let mut holders: HashMap<String, Vec<String>> = HashMap::new();
        if addresses.is_empty() {
            return Ok(holders);
        }
        let read = &self.applier.db.read;
        let rows = Stmt::new(read, "select r.k as address, u.clerk_id from ")
            .rows(Rows::keys(addresses))
            .sql(
                " join clerk_sync.email_addresses e on e.normalised = r.k and e.verified join clerk_sync.users u on u.id = e.user_id
                where u.clerk_id is not null and u.status <> 'deleted' and u.deletion_held_at is null",
            )
            .all(read)
            .await?;
        for row in rows {
            holders.entry(row.try_get("", "address")?).or_default().push(row.try_get("", "clerk_id")?);
        }
        Ok(holders)
    }

    /// Reads users from Clerk; returns what it has, and the ids that its answers lack. Those of a failed request are in neither.
    async fn read(&self, ids: &BTreeSet<&str>) -> (Objects, Vec<String>) {
        let ids: Vec<&str> = ids.iter().copied().collect();
        let requests = ids.chunks(IDS_MAX).map(|ids| async move { (ids, self.api.users(ids, REQUEST_TIMEOUT).await) });
        let (mut objects, mut absent) = (Objects::new(), Vec::new());
        for (ids, answer) in join_all(requests).await {
            match answer {
                Ok(found) => {
                    let known: HashSet<String> = found.iter().filter_map(|object| outline(object).id).collect();
                    absent.extend(ids.iter().filter(|id| !known.contains(**id)).map(|id| (*id).to_owned()));
                    objects.extend(found);
                }
                Err(error) => warn(&error),
            }
        }
        (objects, absent)
    }

    /// Asks for each user by id, since absence from a list proves nothing. Returns those of whom Clerk itself says
    /// it does not have; others that it has after all join the objects.
    async fn prove_absence(&self, absent: Vec<String>, objects: &mut Objects) -> BTreeSet<String> {
        let requests = absent.into_iter().map(|id| async move {
            let answer = self.api.user(&id, REQUEST_TIMEOUT).await;
            (id, answer)
        });
        let mut gone = BTreeSet::new();
        for (id, answer) in join_all(requests).await {
            match answer {
                Ok(Some(object)) => objects.push(object),
                Ok(None) => drop(gone.insert(id)),
                Err(error) => warn(&error),
            }
        }
        gone
    }
}

fn warn(error: &dyn std::fmt::Display) {
    tracing::warn!(%error, "clashes cannot be refreshed from Clerk; they become conflicts as they are");
}

/// The verified addresses of a user's snapshot, in normal form.
fn verified(event: &Event) -> Vec<String> {
    let Change::User(snapshot) = &event.change else { return Vec::new() };
    let addresses = emails::addresses(&snapshot.user).into_iter();
    addresses.filter(|(_, address)| address.verified).map(|(address, _)| address).collect()
}

/// The other users who hold an address of the event's.
fn blockers(event: &Event, holders: &HashMap<String, Vec<String>>) -> BTreeSet<String> {
    let own = event.change.person();
    let all = verified(event).into_iter().filter_map(|address| holders.get(&address)).flatten();
    all.filter(|holder| Some(holder.as_str()) != own).cloned().collect()
}

/// The objects as events, blockers first, so that an address is free before its newcomer is judged. Of a newcomer only
/// what is newer than the event that clashes: that event itself says the rest.
fn in_order(clashes: &[(&mut Event, BTreeSet<String>)], objects: Objects) -> Vec<Stored> {
    let mut newcomers: BTreeMap<&str, &Version> = BTreeMap::new();
    for (event, _) in clashes {
        if let Change::User(snapshot) = &event.change {
            let newest = newcomers.entry(&snapshot.user.clerk_id).or_insert(&snapshot.version);
            *newest = (*newest).max(&snapshot.version);
        }
    }
    let mut ordered: Vec<(bool, Stored)> = Vec::new();
    for object in objects {
        let row = stored(Kind::User, &object);
        let Change::User(snapshot) = decode(row.clone(), None).change else { continue };
        let newest = newcomers.get(snapshot.user.clerk_id.as_str());
        if newest.is_none_or(|newest| snapshot.version > **newest) {
            ordered.push((newest.is_none(), row));
        }
    }
    ordered.sort_by_key(|(is_blocker, _)| Reverse(*is_blocker));
    ordered.into_iter().map(|(_, row)| row).collect()
}
