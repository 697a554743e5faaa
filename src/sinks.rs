//! Where changes go, one file a sink. A state sink takes a change as "this subject changed": it loads the present row
//! and writes that, with its `rev`, never the payload. So it may get changes twice and in any order.

pub mod cache;
pub mod local;
pub mod reindex;
pub mod search;

use std::collections::{BTreeMap, BTreeSet};

use sea_orm::DbErr;
use serde_json::Value;
use uuid::Uuid;

use self::{cache::CacheSink, search::SearchSink};
use crate::{
    db::Db,
    domain::{Account, deletion},
    outbox::{
        feed::{self, Entry},
        relay::{Sink as _, Transient},
    },
    sync::load::accounts,
};

/// The state sinks of a process.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Sinks {
    pub cache: CacheSink,
    pub search: SearchSink,
}

impl Sinks {
    /// Hands a dead letter's subject to its sink again, as its rows are now. Answers whether it was refused once more.
    ///
    /// # Errors
    /// When the sink does not answer, or is not in use any more.
    pub async fn redeliver(&self, dead: &entity::dead_letters::Model) -> Result<bool, Transient> {
        // With what the change said, where the feed still has it.
        let stored = feed::read(&self.search.db.read, dead.seq - 1, 1).await;
        let stored = stored.map_err(|_| Transient("the database does not answer".into()))?;
        let stored = stored.into_iter().find(|entry| entry.seq == dead.seq);
        let entry = stored.unwrap_or_else(|| Entry {
            seq: dead.seq,
            event: dead.event.clone(),
            topic: "users".into(),
            subject: dead.subject.clone(),
            routing: Value::Null,
            payload: Value::Null,
            changed: Value::Null,
            effects: "state".into(),
            correlation_id: None,
            occurred_at: None,
            created_at: dead.created_at,
        });
        let refused = match dead.sink.as_str() {
            sink if sink == self.search.name() => self.search.deliver(&[entry]).await?,
            sink if sink == self.cache.name() => self.cache.deliver(&[entry]).await?,
            sink => return Err(Transient(format!("{sink} is not in use; discard the dead letter"))),
        };
        Ok(!refused.is_empty())
    }
}

/// The present rows of everybody whom the entries are about, deleted ones as the emptied rows they are; each with the
/// entries (by index) that brought it up. Coalesced: one a person.
async fn present(db: &Db, entries: &[Entry]) -> Result<Vec<Account>, DbErr> {
    let subjects: BTreeSet<String> =
        entries.iter().filter(|entry| entry.topic == "users").map(|entry| entry.subject.clone()).collect();
    if subjects.is_empty() {
        return Ok(Vec::new());
    }
    let mut present = accounts(&db.read, &subjects).await?;
    let known: BTreeSet<String> = present.iter().map(|account| account.clerk_id.clone()).collect();
    // Of whom no row is left: deleted under `hard`, or given up when somebody got an older id back.
    let gone = last_of(entries).into_values().filter(|entry| !known.contains(&entry.subject)).filter_map(removed);
    present.extend(gone);
    Ok(present)
}

/// The row that a deletion would have left, by what the message says of it.
fn removed(entry: &Entry) -> Option<Account> {
    let id = Uuid::try_parse(entry.payload.get("id")?.as_str()?).ok()?;
    let deletion = (entry.event == "user.deleted").then_some(entry.created_at)?;
    let row = deletion::emptied(None, &entry.subject, None, id, deletion);
    Some(Account { rev: entry.seq, ..row })
}

/// The last entry about each subject.
fn last_of(entries: &[Entry]) -> BTreeMap<&str, &Entry> {
    entries.iter().map(|entry| (entry.subject.as_str(), entry)).collect()
}
