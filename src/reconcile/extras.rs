//! Who is here and no longer at Clerk. A list that lacks somebody proves nothing: each is asked for by name, and only
//! whom Clerk then does not know is removed: as *absent*, an inference that Clerk's own word takes back.
//!
//! Everything is found before anything is removed. A run that would remove more than `reconcile.max_removal_share` of the
//! live users, organisations or memberships, and more than ten, is held whole. What it may remove is done up to
//! `reconcile.extras_max`; the rest is left to the next run.

use std::{
    collections::{BTreeSet, HashSet},
    hash::{DefaultHasher, Hash as _, Hasher as _},
};

use sea_orm::{DbErr, QueryResult};
use serde_json::value::RawValue;

use crate::{
    clerk::{
        api::{ApiError, IDS_MAX, Objects},
        decode::decode,
        object::{self, Kind, outline, stored},
    },
    clock::Time,
    db::Stmt,
    domain::{Version, event::Absence, membership::Pair},
    sync::{confirm::is_plain, objects::Origin},
};

use super::{
    Reconciler, RunError,
    drift::Scan,
    patience::{TURN, patiently},
    report::{Drift, Held, Item, word},
};

/// Rows looked at at a time.
const PAGE: i64 = 2_000;

/// Candidates asked for by name in one run, for each that may be removed: a list that is wrong is no reason to ask for
/// everybody one by one.
const ASKED: usize = 10;

/// So many of a kind may always be removed, however few there are.
const ALWAYS: u64 = 10;

/// People and organisations first: their memberships go with them.
const KINDS: [Kind; 3] = [Kind::User, Kind::Organization, Kind::Membership];

/// Whom the lists of a run held: eight bytes each.
#[derive(Debug, Default)]
pub(super) struct Seen(HashSet<u64>);

impl Seen {
    pub(super) fn add(&mut self, kind: Kind, page: &Objects) {
        self.0.extend(page.iter().filter_map(|object| Some(hash(kind, &name(kind, object)?))));
    }

    fn has(&self, kind: Kind, id: &str) -> bool {
        self.0.contains(&hash(kind, id))
    }
}

fn hash(kind: Kind, id: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    (kind, id).hash(&mut hasher);
    hasher.finish()
}

/// The subject that an object is about.
fn name(kind: Kind, object: &RawValue) -> Option<String> {
    match kind {
        Kind::Membership => decode(stored(kind, object), None).change.subject().map(str::to_owned),
        _ => outline(object).id,
    }
}

/// What Clerk does not know of one kind.
struct Found {
    kind: Kind,
    /// Those of whom Clerk said so by name.
    absent: Vec<Absence>,
    /// Those of whom it would say so, as far as those who were asked for tell.
    estimate: u64,
    live: u64,
    allowed: u64,
}

impl Found {
    fn is_too_many(&self) -> bool {
        self.estimate > self.allowed
    }
}

impl Reconciler {
    pub(super) async fn extras(&self, seen: &Seen, scan: &Scan, drift: &mut Drift) -> Result<(), RunError> {
        let mut found = self.find_absent(seen, scan, drift).await?;
        if scan.until.is_some() && found.iter().any(|found| !found.absent.is_empty()) {
            // Their deliveries may be under way.
            tokio::select! {
                () = tokio::time::sleep(self.config.settle) => {}
                () = self.shutdown.cancelled() => return Err(RunError::Interrupted),
            }
            for found in &mut found {
                let still = self.unseen(found.kind, seen, scan.started).await?;
                let still: BTreeSet<String> = still.into_iter().map(|row| row.key).collect();
                let before = found.absent.len();
                found.absent.retain(|row| still.contains(&row.key));
                found.estimate = found.estimate.saturating_sub((before - found.absent.len()) as u64);
            }
        }
        let too_many = found.iter().filter(|found| found.is_too_many());
        drift.held = too_many
            .map(|Found { kind, estimate, live, allowed, .. }| Held {
                kind: word(*kind),
                absent: *estimate,
                live: *live,
                allowed: *allowed,
            })
            .collect();
        if drift.dry_run || !drift.held.is_empty() {
            let items = found.into_iter().flat_map(|found| found.absent);
            let item = |row: Absence| Item { kind: word(row.kind), id: row.key, fields: Vec::new(), reason: None };
            items.map(item).for_each(|item| drift.extra.push(item));
            return Ok(());
        }
        let mut room = self.config.extras_max as usize;
        for Found { kind, mut absent, .. } in found {
            let most = scan.allow_removals.map_or(room, |allowed| usize::try_from(allowed).unwrap_or(usize::MAX));
            drift.left += absent.len().saturating_sub(most) as u64;
            absent.truncate(most);
            room = room.saturating_sub(absent.len());
            let now = self.clock.now();
            let objects = absent.iter().map(|row| object::absent(row, now)).collect();
            let report = self.applier.apply(objects, Origin::Reconcile, false).await?;
            drift.add(kind, &report);
        }
        Ok(())
    }

    /// Finds of each kind what Clerk does not know by name.
    async fn find_absent(&self, seen: &Seen, scan: &Scan, drift: &mut Drift) -> Result<Vec<Found>, RunError> {
        let (mut all, mut parents) = (Vec::new(), HashSet::new());
        for kind in KINDS {
            let mut candidates = self.unseen(kind, seen, scan.started).await?;
            // What goes with its parent is not removed for itself.
            candidates.retain(|row| {
                let pair = Pair::parse(&row.key).filter(|_| kind == Kind::Membership);
                pair.is_none_or(|pair| !parents.contains(&pair.organization) && !parents.contains(&pair.user))
            });
            let live = self.live(kind).await?;
            let share = (live as f64 * self.config.max_removal_share.clamp(0.0, 1.0)) as u64;
            let allowed = scan.allow_removals.unwrap_or(share.max(ALWAYS));
            let keys: Vec<String> = candidates.iter().map(|row| row.key.clone()).collect();
            let found = self.absent(kind, candidates, (live, allowed), scan, drift).await?;
            match found.is_too_many() {
                // Not all were asked for.
                true => parents.extend(keys),
                false => parents.extend(found.absent.iter().map(|row| row.key.clone())),
            }
            all.push(found);
        }
        Ok(all)
    }

    async fn live(&self, kind: Kind) -> Result<u64, DbErr> {
        let count = match kind {
            Kind::User => {
                "select count(*) as n from clerk_sync.users where clerk_id is not null and status <> 'deleted'"
            }
            Kind::Organization => "select count(*) as n from clerk_sync.organizations where status <> 'deleted'",
            Kind::Membership | Kind::MembershipId => "select count(*) as n from clerk_sync.organization_memberships",
        };
        let rows = Stmt::new(&self.db.read, count).all(&self.db.read).await?;
        let n = rows.first().map(|row| row.try_get::<i64>("", "n")).transpose()?;
        Ok(n.unwrap_or(0).unsigned_abs())
    }

    /// Live rows from before the run that no list held, other than those whose deletion an operator decides or has decided.
    async fn unseen(&self, kind: Kind, seen: &Seen, started: Time) -> Result<Vec<Absence>, DbErr> {
        let mut found = Vec::new();
        let mut after = String::new();
        loop {
            let rows = self.rows(kind, &after, started).await?;
            let Some(last) = rows.last() else { return Ok(found) };
            after = last.try_get("", "place")?;
            for row in &rows {
                let key: String = row.try_get("", "subject")?;
                if !seen.has(kind, &key) {
                    let newest: Option<String> = row.try_get("", "version")?;
                    found.push(Absence { kind, key, seen: Version::stored(newest.unwrap_or_default()) });
                }
            }
        }
    }

    async fn rows(&self, kind: Kind, after: &str, started: Time) -> Result<Vec<QueryResult>, DbErr> {
        let read = &self.db.read;
        let select = match kind {
            Kind::User => Stmt::new(
                read,
                "select u.clerk_id as place, u.clerk_id as subject, s.version from clerk_sync.users u
                    left join clerk_sync.subjects s on s.kind = 'user' and s.key = u.clerk_id
                    where u.status <> 'deleted' and u.deletion_held_at is null and not exists (
                        select 1 from clerk_sync.deletion_decisions d where d.kind = 'user' and d.subject = u.clerk_id)
                    and u.clerk_id > ",
            )
            .val(after)
            .sql(" and u.created_at < ")
            .val(started)
            .sql(" order by u.clerk_id limit "),
            Kind::Organization => Stmt::new(
                read,
                "select o.clerk_id as place, o.clerk_id as subject, s.version from clerk_sync.organizations o
                    left join clerk_sync.subjects s on s.kind = 'organization' and s.key = o.clerk_id
                    where o.status <> 'deleted' and not exists (
                        select 1 from clerk_sync.deletion_decisions d where d.kind = 'organization' and d.subject = o.clerk_id)
                    and not exists (select 1 from clerk_sync.inbox i where i.subject = o.clerk_id
                        and i.state = 'held' and i.event_type = 'organization.deleted')
                    and o.clerk_id > ",
            )
            .val(after)
            .sql(" and o.created_at < ")
            .val(started)
            .sql(" order by o.clerk_id limit "),
            Kind::Membership | Kind::MembershipId => Stmt::new(
                read,
                "select m.clerk_id as place, o.clerk_id || '/' || u.clerk_id as subject, s.version
                    from clerk_sync.organization_memberships m
                    join clerk_sync.organizations o on o.id = m.organization_id join clerk_sync.users u on u.id = m.user_id
                    left join clerk_sync.subjects s on s.kind = 'membership' and s.key = o.clerk_id || '/' || u.clerk_id
                    where m.clerk_id > ",
            )
            .val(after)
            .sql(" and m.created_at < ")
            .val(started)
            .sql(" order by m.clerk_id limit "),
        };
        select.val(PAGE).all(read).await
    }

    /// Those of them that Clerk does not know by name either. Once they are more than may be removed, no more are asked
    /// for, but where they are only to be named.
    async fn absent(
        &self,
        kind: Kind,
        mut candidates: Vec<Absence>,
        (live, allowed): (u64, u64),
        scan: &Scan,
        drift: &mut Drift,
    ) -> Result<Found, RunError> {
        if kind == Kind::User {
            candidates = self.not_listed(candidates).await?;
        }
        let room =
            scan.allow_removals.map_or(self.config.extras_max as usize, |n| usize::try_from(n).unwrap_or(usize::MAX));
        let most = room.saturating_mul(ASKED);
        let (total, mut asked) = (candidates.len() as u64, 0);
        let mut absent = Vec::new();
        for candidate in candidates.into_iter().take(most) {
            if absent.len() as u64 > allowed && !scan.dry {
                break;
            }
            asked += 1;
            if patiently(&self.shutdown, || self.is_there(&candidate)).await? {
                continue;
            }
            absent.push(candidate);
        }
        let estimate = (absent.len() as u64 * total).checked_div(asked).unwrap_or(0);
        drift.left += if estimate > allowed { 0 } else { total - asked };
        Ok(Found { kind, absent, estimate, live, allowed })
    }

    /// Whether Clerk knows a subject by its id.
    pub(super) async fn is_there(&self, Absence { kind, key, .. }: &Absence) -> Result<bool, ApiError> {
        Ok(match kind {
            Kind::User => self.api.user(key, TURN).await?.is_some(),
            Kind::Organization => self.api.organization(key, TURN).await?.is_some(),
            Kind::Membership | Kind::MembershipId => match Pair::parse(key) {
                Some(Pair { organization, user }) => self.api.membership(&organization, &user, TURN).await?.is_some(),
                None => true,
            },
        })
    }

    /// A hundred at a time, so that only those who are likely gone are asked for one by one.
    async fn not_listed(&self, candidates: Vec<Absence>) -> Result<Vec<Absence>, RunError> {
        let mut left = Vec::new();
        for chunk in candidates.chunks(IDS_MAX) {
            let ids: Vec<&str> = chunk.iter().map(|row| row.key.as_str()).filter(|id| is_plain(id)).collect();
            let objects = patiently(&self.shutdown, || self.api.users(&ids, TURN)).await?;
            let known: HashSet<String> = objects.iter().filter_map(|object| outline(object).id).collect();
            left.extend(chunk.iter().filter(|row| !known.contains(&row.key)).cloned());
        }
        Ok(left)
    }
}
