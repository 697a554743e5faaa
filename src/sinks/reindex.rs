//! `reindex`: whatever the cache and the search index hold can be built again from the database (P7).

use std::collections::BTreeSet;

use sea_orm::DbErr;

use crate::{
    backends::search::{DOCUMENT_VERSION, SearchError},
    clock::Clock,
    db::{Db, Stmt},
    meta,
    outbox::{cursor, feed, relay::Sink},
    sync::load::head,
};

use super::search::{SearchSink, docs};

/// A rebuild failed; the old index still stands (after `Trimmed` the new one, which lacks what changed meanwhile).
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the names say it")]
pub enum ReindexError {
    #[error("the database: {0}")]
    Database(#[from] DbErr),
    #[error("the search index: {0}")]
    Search(#[from] SearchError),
    #[error("changes made during the rebuild are not kept any more (retention.outbox): run it again")]
    Trimmed,
}

/// People a page.
const PAGE: i64 = 500;

/// Builds the index aside and swaps it in; then sets the cursor back to where the feed stood before, so that what
/// changed meanwhile is delivered again. `progress` hears how many people are in. Answers how many there are, and how
/// many of them the index refuses.
///
/// # Errors
/// [`ReindexError`].
pub async fn search(
    sink: &SearchSink,
    clock: &Clock,
    mut progress: impl FnMut(u64),
) -> Result<(u64, u64), ReindexError> {
    let before = head(&sink.db.read).await?;
    sink.search.prepare().await?;
    let rebuild = sink.search.rebuild().await?;
    let (mut after, mut total, mut refused) = (String::new(), 0_u64, 0_u64);
    loop {
        let ids = page(&sink.db, &after).await?;
        let Some(last) = ids.last() else { break };
        after.clone_from(last);
        let people = docs(&sink.db, &ids.into_iter().collect::<BTreeSet<_>>()).await?;
        total += people.len() as u64;
        match rebuild.add(people).await {
            Err(error) if error.is_permanent() => refused += error.refused().len() as u64,
            other => other?,
        }
        progress(total);
    }
    rebuild.finish().await?;
    cursor::ensure(&sink.db, sink.name(), clock.now()).await?;
    cursor::set_back(&sink.db, sink.name(), before, clock.now()).await?;
    // After the cursor is back: from here on retention waits for it.
    if feed::bounds(&sink.db.read).await?.0 > before + 1 {
        return Err(ReindexError::Trimmed);
    }
    note_version(sink).await?;
    Ok((total, refused))
}

/// Whether the index was built of documents of another version than this program makes. An index over nobody is as it
/// should be.
///
/// # Errors
/// What the database says.
pub async fn is_outdated(sink: &SearchSink) -> Result<bool, DbErr> {
    if meta::get(&sink.db, &version_key(sink)).await? == Some(DOCUMENT_VERSION.to_string()) {
        return Ok(false);
    }
    if !page(&sink.db, "").await?.is_empty() {
        return Ok(true);
    }
    note_version(sink).await?;
    Ok(false)
}

async fn note_version(sink: &SearchSink) -> Result<(), DbErr> {
    meta::put(&sink.db, &version_key(sink), &DOCUMENT_VERSION.to_string()).await
}

fn version_key(sink: &SearchSink) -> String {
    format!("{}.document_version", sink.name())
}

/// Clerk ids of live people after `after`, in order.
async fn page(db: &Db, after: &str) -> Result<Vec<String>, DbErr> {
    let select = Stmt::new(&db.read, "select clerk_id from clerk_sync.users where status <> 'deleted' and clerk_id > ")
        .val(after);
    let rows = select.sql(" order by clerk_id limit ").val(PAGE).all(&db.read).await?;
    rows.iter().map(|row| row.try_get("", "clerk_id")).collect()
}
