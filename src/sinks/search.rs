//! The search index: everybody who changed is indexed anew, or taken out.

use std::{sync::Arc, time::Duration};

use tokio::sync::OnceCell;

use crate::{
    backends::search::{Doc, Search, SearchError},
    db::Db,
    domain::{Account, account::Field},
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

    async fn deliver(&self, entries: &[Entry]) -> Result<Vec<Refused>, Transient> {
        let accounts =
            super::present(&self.db, entries).await.map_err(|_| Transient::from("the database does not answer"))?;
        let transient = |error: SearchError| Transient::from(error.to_string());
        self.prepared.get_or_try_init(|| self.search.prepare()).await.map_err(transient)?;
        let (live, gone): (Vec<&Account>, Vec<&Account>) = accounts.iter().partition(|account| account.is_live());
        let deletes = gone.iter().map(|account| (account.id, account.rev)).collect();
        match self.search.apply(live.into_iter().map(doc).collect(), deletes).await {
            Ok(()) => Ok(Vec::new()),
            Err(error) if error.is_permanent() => Ok(refused(&error, &accounts, entries)),
            Err(error) => Err(transient(error)),
        }
    }
}

/// What is indexed of a person.
pub fn doc(account: &Account) -> Doc {
    let text = |name: &str| match account.column(name) {
        Some(Field::Text(text)) => text.clone(),
        _ => None,
    };
    Doc {
        user_id: account.id,
        rev: account.rev,
        clerk_id: Some(account.clerk_id.clone()),
        display_name: text("display_name"),
        first_name: text("first_name"),
        last_name: text("last_name"),
        username: text("username"),
        email: text("email"),
        image_url: text("image_url"),
        status: account.status.as_str().to_owned(),
    }
}

fn refused(error: &SearchError, accounts: &[Account], entries: &[Entry]) -> Vec<Refused> {
    let last = super::last_of(entries);
    let of = |id: &uuid::Uuid| accounts.iter().find(|account| account.id == *id);
    let entry = |account: &Account| last.get(account.clerk_id.as_str()).copied();
    let refused = error.refused().iter().filter_map(of).filter_map(entry);
    let reason = "the search index refuses this document";
    refused.map(|entry| Refused::new(entry, reason)).collect()
}
