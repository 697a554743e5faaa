//! Where changes go, one file a sink. A state sink takes a change as "this subject changed": it loads the present row
//! and writes that, with its `rev`, never the payload. So it may get changes twice and in any order. A message sink sends
//! what the row says, under the idempotency key `{seq}:{sink}`. The [`stream`] gets pages as a state sink does, says what
//! the row says, and sees to it that each is in it once.

mod alert;
pub mod cache;
pub mod chat;
pub mod local;
pub mod mail;
pub mod reindex;
pub mod search;
pub mod stream;

use std::collections::{BTreeMap, BTreeSet};

use sea_orm::DbErr;
use uuid::Uuid;

use self::{cache::CacheSink, chat::ChatSink, mail::MailSink, search::SearchSink, stream::StreamSink};
use crate::{
    db::Db,
    domain::{Account, deletion},
    outbox::{
        feed::{self, Entry},
        lazy::Lazy,
        relay::{Sink as _, Transient},
    },
    sync::load::accounts,
};

/// The sinks of a process. Channels that are not configured are not there.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Sinks {
    pub cache: CacheSink,
    pub search: SearchSink,
    /// There where Redis is, also where nothing is added to it (`stream.enabled`).
    pub stream: Option<StreamSink>,
    pub mail: Option<MailSink>,
    pub chat: Option<ChatSink>,
}

impl Sinks {
    /// Hands a dead letter to its sink again: to a state sink its subject as its rows are now, to a message sink the
    /// message as it was. Answers whether it was refused once more.
    ///
    /// # Errors
    /// When the sink does not answer, or is not in use any more; when the message has left the change feed.
    pub async fn redeliver(&self, dead: &entity::dead_letters::Model) -> Result<bool, Transient> {
        // With what the change said, where the feed still has it.
        let stored = feed::at(&self.search.db.read, dead.seq).await;
        let stored = stored.map_err(|_| Transient::from("the database does not answer"))?;
        let message = || stored.clone().ok_or("the message is no longer in the change feed; discard the dead letter");
        let change = || stored.clone().unwrap_or_else(|| change(dead));
        let refused = match (dead.sink.as_str(), &self.mail, &self.chat) {
            (sink, Some(mail), _) if sink == mail.name() => mail.deliver(&[message()?]).await?,
            (sink, _, Some(chat)) if sink == chat.name() => chat.deliver(&[message()?]).await?,
            (sink, ..) if sink == self.search.name() => self.search.deliver(&[change()]).await?,
            (sink, ..) if sink == self.cache.name() => self.cache.deliver(&[change()]).await?,
            (sink, ..) => return Err(format!("{sink} is not in use; discard the dead letter").into()),
        };
        Ok(!refused.is_empty())
    }
}

/// What is left of a change that has left the feed.
fn change(dead: &entity::dead_letters::Model) -> Entry {
    Entry {
        seq: dead.seq,
        event: dead.event.clone(),
        topic: "users".into(),
        subject: dead.subject.clone(),
        routing: Lazy::default(),
        payload: Lazy::default(),
        changed: Lazy::default(),
        effects: "state".into(),
        correlation_id: None,
        occurred_at: None,
        created_at: dead.created_at,
    }
}

/// The present rows of everybody whom the entries are about, deleted ones as the emptied rows they are; each with the
/// entries (by index) that brought it up. Coalesced: one a person.
async fn present(db: &Db, entries: &[Entry]) -> Result<Vec<Account>, DbErr> {
    let subjects = subjects(entries);
    if subjects.is_empty() {
        return Ok(Vec::new());
    }
    let mut present = accounts(&db.read, &subjects).await?;
    let gone = gone(entries, &present.iter().map(|account| account.clerk_id.as_str()).collect());
    present.extend(gone);
    Ok(present)
}

/// Clerk's ids of everybody whom the entries are about.
fn subjects(entries: &[Entry]) -> BTreeSet<String> {
    entries.iter().filter(|entry| entry.topic == "users").map(|entry| entry.subject.clone()).collect()
}

/// Of whom no row is left, beside the `present`: deleted under `hard`, or given up when somebody got an older id back.
fn gone(entries: &[Entry], present: &BTreeSet<&str>) -> Vec<Account> {
    let last = last_of(entries).into_values();
    last.filter(|entry| !present.contains(entry.subject.as_str())).filter_map(removed).collect()
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
