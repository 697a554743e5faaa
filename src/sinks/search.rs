//! The search index: everybody who changed is indexed anew, or taken out.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use entity::Id;
use sea_orm::{DbErr, FromQueryResult};
use tokio::sync::OnceCell;
use uuid::Uuid;

use crate::{
    backends::search::{Doc, Search, SearchError},
    db::{Db, Rows, Stmt},
    outbox::{
        feed::Entry,
        relay::{Refused, Sink, Transient},
    },
};

/// An index is dear to write, and nobody searches for somebody within a blink of their change.
const GATHER: Duration = Duration::from_millis(200);

/// Writes changes to the search index.
#[derive(Debug, Clone)]
pub struct SearchSink {
    /// Where the present rows are.
    pub db: Db,
    /// The index.
    pub search: Search,
    prepared: Arc<OnceCell<()>>,
}

impl SearchSink {
    /// A sink that prepares the index before its first delivery.
    pub fn new(db: Db, search: Search) -> Self {
        Self { db, search, prepared: Arc::default() }
    }
}

impl Sink for SearchSink {
    fn name(&self) -> &'static str {
        match self.search {
            Search::Database(_) => "search:database",
            Search::Meili(_) => "search:meilisearch",
        }
    }

    fn gather(&self) -> Duration {
        GATHER
    }

    fn gives_way(&self) -> bool {
        true
    }

    async fn deliver(&self, entries: &[Entry]) -> Result<Vec<Refused>, Transient> {
        let docs = docs(&self.db, &super::subjects(entries)).await;
        let docs = docs.map_err(|_| Transient::from("the database does not answer"))?;
        let names: BTreeMap<Uuid, String> =
            docs.iter().map(|doc| (doc.user_id, doc.clerk_id.clone().unwrap_or_default())).collect();
        let gone = super::gone(entries, &names.values().map(String::as_str).collect());
        let transient = |error: SearchError| Transient::from(error.to_string());
        self.prepared.get_or_try_init(|| self.search.prepare()).await.map_err(transient)?;
        let deletes = gone.iter().map(|account| (account.id, account.rev)).collect();
        match self.search.apply(docs, deletes).await {
            Ok(()) => Ok(Vec::new()),
            Err(error) if error.is_permanent() => Ok(refused(&error, &names, entries)),
            Err(error) => Err(transient(error)),
        }
    }
}

/// What is indexed of people, by Clerk's ids: columns of their own rows, nothing that hangs on them. Of the deleted their
/// status says it.
///
/// # Errors
/// What the database says.
pub async fn docs(db: &Db, clerk_ids: &BTreeSet<String>) -> Result<Vec<Doc>, DbErr> {
    if clerk_ids.is_empty() {
        return Ok(Vec::new());
    }
    let select = "select u.id, u.rev, u.clerk_id, u.display_name, u.first_name, u.last_name, u.username, u.email,
        u.image_url, u.status from ";
    let rows: Vec<Row> = Stmt::new(&db.read, select)
        .rows(Rows::keys(clerk_ids))
        .sql(" join clerk_sync.users u on u.clerk_id = r.k order by u.clerk_id")
        .all_as(&db.read)
        .await?;
    Ok(rows.into_iter().map(Doc::from).collect())
}

#[derive(FromQueryResult)]
struct Row {
    id: Id,
    rev: i64,
    clerk_id: Option<String>,
    display_name: Option<String>,
    first_name: Option<String>,
    last_name: Option<String>,
    username: Option<String>,
    email: Option<String>,
    image_url: Option<String>,
    status: String,
}

impl From<Row> for Doc {
    fn from(row: Row) -> Self {
        let Row { id, rev, clerk_id, display_name, first_name, last_name, username, email, image_url, status } = row;
        let user_id = id.0;
        Self { user_id, rev, clerk_id, display_name, first_name, last_name, username, email, image_url, status }
    }
}

fn refused(error: &SearchError, names: &BTreeMap<Uuid, String>, entries: &[Entry]) -> Vec<Refused> {
    let last = super::last_of(entries);
    let entry = |id: &Uuid| last.get(names.get(id)?.as_str()).copied();
    let reason = "the search index refuses this document";
    error.refused().iter().filter_map(entry).map(|entry| Refused::new(entry, reason)).collect()
}
