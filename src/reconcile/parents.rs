//! The parents that memberships wait for past their deadline: asked for at Clerk, each once for all who wait. Whoever is
//! there comes in through the plan and wakes them; whom Clerk does not know ends them `rejected: gone at Clerk`, which
//! is no tombstone: they are looked at again if their parent comes after all.

use std::{
    collections::{BTreeSet, HashSet},
    time::Duration,
};

use sea_orm::DbErr;

use crate::{
    clerk::{
        api::{ApiError, IDS_MAX},
        object::{Kind, outline, stored},
    },
    clock::Time,
    db::{Rows, Stmt},
    domain::entry::GONE,
    lease,
    sync::{confirm::is_plain, objects::Origin},
};

use super::{Reconciler, RunError};

/// Rows that are due looked at in one round.
const MOST: i64 = 1_000;
/// Organisations asked for in one round, each with a request of its own.
const ORGANIZATIONS: usize = 50;
/// Rows ended in one transaction.
const CHUNK: i64 = 5_000;
/// How long Clerk may take for one answer.
const PATIENCE: Duration = Duration::from_secs(10);

const LEASE: &str = "parents";
const LENGTH: Duration = Duration::from_secs(120);

/// What a round did.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Fetched {
    /// Parents whom Clerk knows, and that were planned.
    pub came: u64,
    /// Parents whom Clerk does not know.
    pub gone: u64,
    /// Rows that ended with them.
    pub ended: u64,
}

impl Reconciler {
    /// Asks for the parents of the rows that are due, those of whom nothing is known here. One replica at a time.
    ///
    /// # Errors
    /// [`RunError`]; the rows wait on then.
    pub async fn fetch_parents(&self) -> Result<Fetched, RunError> {
        let now = self.clock.now();
        let parents = self.unheard(now).await?;
        if parents.is_empty() {
            return Ok(Fetched::default());
        }
        self.checked().await?;
        if !lease::take(&self.db, LEASE, &self.owner, now, LENGTH).await? {
            return Ok(Fetched::default());
        }
        let fetched = self.fetch(&parents).await;
        lease::release(&self.db, LEASE, &self.owner).await?;
        fetched
    }

    /// Parents that rows which are due await, and of which no event has ever been seen. A row that awaits its own subject
    /// awaits the pair of a membership, which Clerk cannot be asked for by the membership's id.
    async fn unheard(&self, now: Time) -> Result<BTreeSet<String>, DbErr> {
        let rows = Stmt::new(
            &self.db.read,
            "select distinct p.k from (select awaits as k from (select awaits from clerk_sync.inbox where state = 'waiting' and awaits <> subject and available_at <= ",
        )
        .val(now)
        .sql(" order by available_at limit ")
        .val(MOST)
        .sql(") a union select awaits_too from (select awaits_too from clerk_sync.inbox where state = 'waiting' and available_at <= ")
        .val(now)
        .sql(" order by available_at limit ")
        .val(MOST)
        .sql(
            ") b) p where p.k is not null and not exists (select 1 from clerk_sync.subjects s
                where s.kind in ('user', 'organization') and s.key = p.k)",
        )
        .all(&self.db.read)
        .await?;
        rows.iter().map(|row| row.try_get("", "k")).collect()
    }

    async fn fetch(&self, parents: &BTreeSet<String>) -> Result<Fetched, RunError> {
        let (people, others): (Vec<&str>, Vec<&str>) =
            parents.iter().map(String::as_str).partition(|id| id.starts_with("user_"));
        let (mut objects, mut gone) = (Vec::new(), BTreeSet::new());
        for chunk in people.chunks(IDS_MAX) {
            let plain: Vec<&str> = chunk.iter().copied().filter(|id| is_plain(id)).collect();
            let found = self.api.users(&plain, PATIENCE).await?;
            let known: HashSet<String> = found.iter().filter_map(|object| outline(object).id).collect();
            gone.extend(chunk.iter().filter(|id| !known.contains(**id)).map(|id| (*id).to_owned()));
            objects.extend(found.iter().map(|object| stored(Kind::User, object)));
        }
        for id in others.into_iter().take(ORGANIZATIONS) {
            match self.api.organization(id, PATIENCE).await {
                Ok(Some(object)) => objects.push(stored(Kind::Organization, &object)),
                Ok(None) | Err(ApiError::Refused { .. }) => {
                    gone.insert(id.to_owned());
                }
                Err(error) => return Err(error.into()),
            }
        }
        let came = objects.len() as u64;
        self.applier.apply(objects, Origin::Ensure, false).await?;
        let ended = self.end_waiters(&gone).await?;
        Ok(Fetched { came, gone: gone.len() as u64, ended })
    }

    /// Ends those who wait for parents whom Clerk does not know, in chunks. They keep whom they await.
    async fn end_waiters(&self, gone: &BTreeSet<String>) -> Result<u64, DbErr> {
        let mut total = 0;
        if gone.is_empty() {
            return Ok(0);
        }
        loop {
            // Under the commit lock: a parent that comes meanwhile wakes them, or finds them ended and wakes them.
            let tx = self.db.begin_commit().await?;
            let ended =
                Stmt::new(&tx, "update clerk_sync.inbox set state = 'rejected', outcome = 'rejected', reason = ")
                    .val(GONE)
                    .sql(", finished_at = ")
                    .val(self.clock.now())
                    .sql(" where seq in (select seq from (select i.seq from ")
                    .rows(Rows::keys(gone))
                    .sql(" join clerk_sync.inbox i on i.awaits = r.k and i.state = 'waiting' where ")
                    .sql(NOT_HERE)
                    .sql(" union select i.seq from ")
                    .rows(Rows::keys(gone))
                    .sql(" join clerk_sync.inbox i on i.awaits_too = r.k and i.state = 'waiting' where ")
                    .sql(NOT_HERE)
                    .sql(" limit ")
                    .val(CHUNK)
                    .sql(") w)")
                    .exec(&tx)
                    .await?;
            tx.commit().await?;
            total += ended;
            if ended < CHUNK.unsigned_abs() {
                return Ok(total);
            }
        }
    }
}

/// Still nothing has been heard of the parent.
const NOT_HERE: &str =
    "not exists (select 1 from clerk_sync.subjects s where s.kind in ('user', 'organization') and s.key = r.k)";
