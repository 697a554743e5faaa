//! Where changes go, one file a sink. A state sink takes a change as "this subject changed": it loads the present row
//! and writes that, with its `rev`, never the payload. So it may get changes twice and in any order.

pub mod cache;
pub mod reindex;
pub mod search;

use std::collections::{BTreeMap, BTreeSet};

use sea_orm::DbErr;

use crate::{
    db::Db,
    domain::Account,
    outbox::feed::Entry,
    sync::load::accounts,
};

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
