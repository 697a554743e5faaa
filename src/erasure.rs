//! Erasing people: what a deletion leaves in stored bodies, in the feed, in the audit trail and wherever else somebody
//! may be named is removed. [`Store::ALL`] is the one list of such places; whatever else comes to keep something about
//! people adds itself there.
//!
//! Invariants: nobody who is live is erased; ids of Clerk and of ours may stay, since the tombstone itself holds them;
//! erasing again does no harm, and [`Eraser::left`] tells store by store what is still there.

mod bodies;
mod feed;
mod outside;
mod rows;
mod windows;

use std::collections::{BTreeMap, BTreeSet};

use sea_orm::DbErr;
use uuid::Uuid;

use crate::{
    backends::{cache::CacheError, link::LinkError, search::SearchError},
    clock::{Clock, Time},
    db::{Col, Db, Quiet, Rows, Stmt, Type},
    sinks::Sinks,
};

/// Somebody who was deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Departed {
    /// Clerk's id.
    pub clerk_id: String,
    /// Our id, where a row is left.
    pub id: Option<Uuid>,
    /// The row's `rev`, or the head of the feed where none is left.
    pub rev: i64,
}

/// A place that may keep something about people.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Store {
    /// The emptied row and what hung on it. A deletion leaves nothing there; an erasure only looks.
    Rows,
    /// Bodies of deliveries that name them.
    Bodies,
    /// Payloads of the change feed.
    Feed,
    /// Diffs of the audit trail.
    Audit,
    /// Dead letters.
    DeadLetters,
    /// Conflicts of addresses.
    Conflicts,
    /// What operators decided about them.
    Decisions,
    /// Alerts.
    Alerts,
    /// Hashes of their addresses.
    AddressHashes,
    /// Ended sessions.
    Sessions,
    /// The cache.
    Cache,
    /// The search index.
    Search,
    /// The public stream in Redis.
    Stream,
    /// Mail written as files.
    MailFiles,
}

impl Store {
    /// All of them.
    pub const ALL: [Self; 14] = [
        Self::Rows,
        Self::Bodies,
        Self::Feed,
        Self::Audit,
        Self::DeadLetters,
        Self::Conflicts,
        Self::Decisions,
        Self::Alerts,
        Self::AddressHashes,
        Self::Sessions,
        Self::Cache,
        Self::Search,
        Self::Stream,
        Self::MailFiles,
    ];

    /// Its name in a receipt.
    pub fn name(self) -> &'static str {
        match self {
            Self::Rows => "rows",
            Self::Bodies => "inbox bodies",
            Self::Feed => "outbox payloads",
            Self::Audit => "audit diffs",
            Self::DeadLetters => "dead letters",
            Self::Conflicts => "conflicts",
            Self::Decisions => "conflict decisions",
            Self::Alerts => "alerts",
            Self::AddressHashes => "address hashes",
            Self::Sessions => "ended sessions",
            Self::Cache => "cache",
            Self::Search => "search index",
            Self::Stream => "public stream",
            Self::MailFiles => "mail files",
        }
    }
}

/// Why nothing, or not everything, was erased.
#[derive(Debug, thiserror::Error)]
pub enum EraseError {
    /// Still live, or a deletion of theirs is held.
    #[error("{0} is not deleted: only somebody who is deleted can be erased")]
    Live(String),
    /// Never heard of.
    #[error("{0} is not known here")]
    Unknown(String),
    /// The database says no.
    #[error("the database: {}", Quiet(.0))]
    Database(#[from] DbErr),
    /// The cache does not answer.
    #[error("the cache: {0}")]
    Cache(#[from] CacheError),
    /// The search index does not answer.
    #[error("the search index: {0}")]
    Search(#[from] SearchError),
    /// Redis, which has the stream, does not answer.
    #[error("the public stream: {0}")]
    Stream(#[from] LinkError),
    /// The folder of mails cannot be read.
    #[error("the folder of mails: {0}")]
    Files(#[from] std::io::Error),
}

/// What was removed, or is left: a number a store.
pub type Receipt = BTreeMap<Store, u64>;

/// Erases. Cheap to clone.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Eraser {
    pub db: Db,
    pub sinks: Sinks,
    pub clock: Clock,
    /// Where mails are written as files, if they are.
    pub mail_folder: Option<std::path::PathBuf>,
}

impl Eraser {
    /// Erases people, all in one pass over each store. They count as erased only when every store has answered.
    ///
    /// # Errors
    /// [`EraseError::Live`] or [`EraseError::Unknown`] before anything is touched.
    pub async fn erase(&self, clerk_ids: &BTreeSet<String>) -> Result<Receipt, EraseError> {
        let people = self.departed(clerk_ids).await?;
        let mut receipt = Receipt::new();
        for store in Store::ALL {
            receipt.insert(store, self.visit(store, &people, true).await?);
        }
        self.note(clerk_ids, self.clock.now()).await?;
        Ok(receipt)
    }

    /// What is left of people who are deleted, store by store.
    ///
    /// # Errors
    /// As [`Self::erase`].
    pub async fn left(&self, clerk_ids: &BTreeSet<String>) -> Result<Receipt, EraseError> {
        let people = self.departed(clerk_ids).await?;
        let mut receipt = Receipt::new();
        for store in Store::ALL {
            receipt.insert(store, self.visit(store, &people, false).await?);
        }
        Ok(receipt)
    }

    async fn visit(&self, store: Store, people: &[Departed], erase: bool) -> Result<u64, EraseError> {
        let db = &self.db;
        Ok(match store {
            Store::Rows => rows::personal(db, people).await?,
            Store::Bodies => bodies::visit(db, people, erase).await?,
            Store::Feed => feed::visit(db, people, erase).await?,
            Store::Audit => rows::audit(db, people, erase).await?,
            Store::DeadLetters => rows::dead_letters(db, people, erase).await?,
            Store::Conflicts => rows::conflicts(db, people, erase).await?,
            Store::Decisions => rows::decisions(db, people, erase).await?,
            Store::Alerts => rows::alerts(db, people, erase).await?,
            Store::AddressHashes => rows::address_hashes(db, people, erase).await?,
            Store::Sessions => rows::sessions(db, people, erase).await?,
            Store::Cache => outside::cache(&self.sinks, people, erase).await?,
            Store::Search => outside::search(&self.sinks, people, erase).await?,
            Store::Stream => outside::stream(&self.sinks, &self.clock, people, erase).await?,
            Store::MailFiles => outside::mail_files(self.mail_folder.as_deref(), people, erase).await?,
        })
    }

    /// Whom these ids name; all of them deleted, or an error.
    async fn departed(&self, clerk_ids: &BTreeSet<String>) -> Result<Vec<Departed>, EraseError> {
        let found = Stmt::new(&self.db.read, "select r.k, (s.deleted or s.absent_version is not null) as deleted, u.id, u.rev, (select coalesce(max(seq), 0) from clerk_sync.outbox) as head from ")
            .rows(Rows::keys(clerk_ids))
            .sql(" left join clerk_sync.subjects s on s.kind = 'user' and s.key = r.k left join clerk_sync.users u on u.clerk_id = r.k order by r.k")
            .all(&self.db.read)
            .await?;
        let mut people = Vec::new();
        for row in &found {
            let clerk_id: String = row.try_get("", "k")?;
            match row.try_get::<Option<bool>>("", "deleted")? {
                None => return Err(EraseError::Unknown(clerk_id)),
                Some(false) => return Err(EraseError::Live(clerk_id)),
                Some(true) => {}
            }
            let id: Option<entity::Id> = row.try_get("", "id")?;
            let rev: Option<i64> = row.try_get("", "rev")?;
            let head: i64 = row.try_get("", "head")?;
            people.push(Departed { clerk_id, id: id.map(|id| id.0), rev: rev.unwrap_or(head) });
        }
        Ok(people)
    }

    async fn note(&self, clerk_ids: &BTreeSet<String>, now: Time) -> Result<(), DbErr> {
        Stmt::new(
            &self.db.write,
            "update clerk_sync.subjects set deleted = true, absent_version = null, absent_at = null, erased_at = ",
        )
        .val(now)
        .sql(" where kind = 'user' and erased_at is null and key in (select k from ")
        .rows(Rows::keys(clerk_ids))
        .sql(")")
        .exec(&self.db.write)
        .await
        .map(drop)
    }

    /// Some of those who were deleted, or found absent at Clerk, before `before` and are not erased yet, the longest gone first.
    ///
    /// # Errors
    /// What the database says.
    pub async fn due(&self, before: Time, limit: i64) -> Result<BTreeSet<String>, DbErr> {
        let found = Stmt::new(
            &self.db.read,
            "select key from clerk_sync.subjects where kind = 'user' and erased_at is null and coalesce(buried_at, absent_at) < ",
        )
        .val(before)
        .sql(" order by coalesce(buried_at, absent_at) limit ")
        .val(limit)
        .all(&self.db.read)
        .await?;
        found.iter().map(|row| row.try_get("", "key")).collect()
    }
}

/// The people's Clerk ids as rows.
fn clerk_ids(people: &[Departed]) -> Rows {
    Rows::keys(people.iter().map(|person| person.clerk_id.as_str()))
}

/// Our ids as rows, of those who have a row.
fn ids(people: &[Departed]) -> Rows {
    let mut rows = Rows::new(&[Col("k", Type::Id)]);
    people.iter().filter_map(|person| person.id).for_each(|id| rows.push(vec![id.into()]));
    rows
}
