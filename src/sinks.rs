//! Where changes go, one file a sink. A state sink takes a change as "this subject changed": it loads the present row
//! and writes that, with its `rev`, never the payload. So it may get changes twice and in any order.

pub mod cache;
pub mod local;
pub mod reindex;
pub mod search;

use std::collections::{BTreeMap, BTreeSet};

use sea_orm::DbErr;
use serde_json::Value;

use self::{cache::CacheSink, search::SearchSink};
use crate::{
    db::Db,
    domain::Account,
    outbox::{
        feed::Entry,
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
        let entry = Entry {
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
        };
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
    accounts(&db.read, &subjects).await
}

/// The last entry about each subject.
fn last_of(entries: &[Entry]) -> BTreeMap<&str, &Entry> {
    entries.iter().map(|entry| (entry.subject.as_str(), entry)).collect()
}
