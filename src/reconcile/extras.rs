//! Who is here and no longer at Clerk. A list that lacks somebody proves nothing: each is asked for by name, and only
//! whom Clerk then does not know is deleted, like any other deletion: under the breaker, held where it must be, and
//! never more in one run than `reconcile.extras_max`.

use std::{
    collections::{BTreeSet, HashSet},
    hash::{DefaultHasher, Hash as _, Hasher as _},
};

use sea_orm::{DbErr, QueryResult};
use serde_json::value::RawValue;

use crate::{
    clerk::{
        api::{IDS_MAX, Objects},
        decode::decode,
        object::{Gone, Kind, gone, outline, stored},
    },
    clock::Time,
    db::Stmt,
    sync::{confirm::is_plain, objects::Origin},
};

use super::{
    Reconciler, RunError,
    patience::{TURN, patiently},
    report::{Drift, Item, word},
};

/// Rows looked at at a time.
const PAGE: i64 = 2_000;

/// Candidates asked for by name in one run, for each that may be removed: a list that is wrong is no reason to ask for
/// everybody one by one.
const ASKED: usize = 10;

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

/// A live row that no list held.
#[derive(Debug, Clone)]
struct Candidate {
    subject: String,
    what: Gone,
}

impl Reconciler {
    pub(super) async fn extras(
        &self,
        seen: &Seen,
        started: Time,
        dry: bool,
        scheduled: bool,
        drift: &mut Drift,
    ) -> Result<(), RunError> {
        let mut room = self.config.extras_max as usize;
        // People and organisations first: their memberships go with them.
        for kind in [Kind::User, Kind::Organization, Kind::Membership] {
            let candidates = self.unseen(kind, seen, started).await?;
            let mut absent = self.absent(kind, candidates, room.saturating_mul(ASKED), drift).await?;
            if scheduled && !absent.is_empty() {
                // Their deliveries may be under way.
                tokio::select! {
                    () = tokio::time::sleep(self.config.settle) => {}
                    () = self.shutdown.cancelled() => return Err(RunError::Interrupted),
                }
                let still: BTreeSet<String> =
                    self.unseen(kind, seen, started).await?.into_iter().map(|row| row.subject).collect();
                absent.retain(|row| still.contains(&row.subject));
            }
            drift.left += absent.len().saturating_sub(room) as u64;
            absent.truncate(room);
            room -= absent.len();
            if dry {
                // What a deletion would take with it is not told apart: who is gone is.
                let item =
                    |row: Candidate| Item { kind: word(kind), id: row.subject, fields: Vec::new(), reason: None };
                absent.into_iter().map(item).for_each(|item| drift.extra.push(item));
                continue;
            }
            let now = self.clock.now();
            let objects = absent.iter().map(|row| gone(&row.what, now)).collect();
            let report = self.applier.apply(objects, Origin::Reconcile, false).await?;
            drift.add(kind, &report);
        }
        Ok(())
    }

    /// Live rows from before the run that no list held, other than those that an operator has decided about.
    async fn unseen(&self, kind: Kind, seen: &Seen, started: Time) -> Result<Vec<Candidate>, DbErr> {
        let mut found = Vec::new();
        let mut after = String::new();
        loop {
            let rows = self.rows(kind, &after, started).await?;
            let Some(last) = rows.last() else { return Ok(found) };
            after = last.try_get("", "place")?;
            for row in &rows {
                let candidate = candidate(kind, row)?;
                if !seen.has(kind, &candidate.subject) {
                    found.push(candidate);
                }
            }
        }
    }

    async fn rows(&self, kind: Kind, after: &str, started: Time) -> Result<Vec<QueryResult>, DbErr> {
        let read = &self.db.read;
        let select = match kind {
            Kind::User => Stmt::new(
                read,
                "select u.clerk_id as place, u.clerk_id as subject from clerk_sync.users u where u.status <> 'deleted'
                    and u.deletion_held_at is null and not exists (select 1 from clerk_sync.inbox i where i.subject = u.clerk_id
                        and i.event_type = 'user.deleted' and i.state = 'discarded') and u.clerk_id > ",
            )
            .val(after)
            .sql(" and u.created_at < ")
            .val(started)
            .sql(" order by u.clerk_id limit "),
            Kind::Organization => Stmt::new(
                read,
                "select o.clerk_id as place, o.clerk_id as subject from clerk_sync.organizations o where o.status <> 'deleted' and o.clerk_id > ",
            )
            .val(after)
            .sql(" and o.created_at < ")
            .val(started)
            .sql(" order by o.clerk_id limit "),
            Kind::Membership | Kind::MembershipId => Stmt::new(
                read,
                "select m.clerk_id as place, m.clerk_id, o.clerk_id as organization, u.clerk_id as person, m.role,
                        m.clerk_created_at from clerk_sync.organization_memberships m
                    join clerk_sync.organizations o on o.id = m.organization_id join clerk_sync.users u on u.id = m.user_id where m.clerk_id > ",
            )
            .val(after)
            .sql(" and m.created_at < ")
            .val(started)
            .sql(" order by m.clerk_id limit "),
        };
        select.val(PAGE).all(read).await
    }

    /// Those of them that Clerk does not know by name either.
    async fn absent(
        &self,
        kind: Kind,
        mut candidates: Vec<Candidate>,
        most: usize,
        drift: &mut Drift,
    ) -> Result<Vec<Candidate>, RunError> {
        if kind == Kind::User {
            candidates = self.not_listed(candidates).await?;
        }
        drift.left += candidates.len().saturating_sub(most) as u64;
        candidates.truncate(most);
        let mut absent = Vec::new();
        for candidate in candidates {
            let ask = || async {
                match &candidate.what {
                    Gone::User { clerk_id } => self.api.user(clerk_id, TURN).await,
                    Gone::Organization { clerk_id } => self.api.organization(clerk_id, TURN).await,
                    Gone::Membership { organization, user, .. } => self.api.membership(organization, user, TURN).await,
                }
            };
            if patiently(&self.shutdown, ask).await?.is_none() {
                absent.push(candidate);
            }
        }
        Ok(absent)
    }

    /// A hundred at a time, so that only those who are likely gone are asked for one by one.
    async fn not_listed(&self, candidates: Vec<Candidate>) -> Result<Vec<Candidate>, RunError> {
        let mut left = Vec::new();
        for chunk in candidates.chunks(IDS_MAX) {
            let ids: Vec<&str> = chunk.iter().map(|row| row.subject.as_str()).filter(|id| is_plain(id)).collect();
            let objects = patiently(&self.shutdown, || self.api.users(&ids, TURN)).await?;
            let known: HashSet<String> = objects.iter().filter_map(|object| outline(object).id).collect();
            left.extend(chunk.iter().filter(|row| !known.contains(&row.subject)).cloned());
        }
        Ok(left)
    }
}

fn candidate(kind: Kind, row: &QueryResult) -> Result<Candidate, DbErr> {
    if kind == Kind::Membership {
        let (organization, user): (String, String) = (row.try_get("", "organization")?, row.try_get("", "person")?);
        return Ok(Candidate {
            subject: format!("{organization}/{user}"),
            what: Gone::Membership {
                clerk_id: row.try_get("", "clerk_id")?,
                role: row.try_get("", "role")?,
                created_at: row.try_get("", "clerk_created_at")?,
                organization,
                user,
            },
        });
    }
    let subject: String = row.try_get("", "subject")?;
    let clerk_id = subject.clone();
    let what = if kind == Kind::User { Gone::User { clerk_id } } else { Gone::Organization { clerk_id } };
    Ok(Candidate { subject, what })
}
