//! Search in Meilisearch. Every write is a task there, and is done only when the task is.
//!
//! A document replaces the one before it, whatever its `rev`: the caller writes the rows as they are now, in
//! the order of its cursor, so what comes later is never older.

mod index;
mod probe;
mod query;
mod rebuild;
mod tasks;

use std::time::Duration;

use meilisearch_sdk::{
    client::Client,
    indexes::Index,
    search::{MatchingStrategies, Selectors},
};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

pub(super) use rebuild::Rebuild;

use super::{Doc, SearchError, http::Http, spellings, split::Split};
use crate::config;

/// The field that identifies a document.
const KEY: &str = "user_id";

/// An index in Meilisearch. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Meili {
    client: Client<Http>,
    http: Http,
    host: String,
    index: String,
    task_timeout: Duration,
}

/// A document as Meilisearch has it. How it cuts a CJK name into words depends on what stands around it, so the name is
/// also there as it is typed.
#[derive(Debug, Serialize)]
struct Document<'a> {
    #[serde(flatten)]
    doc: &'a Doc,
    spellings: Vec<String>,
}

impl Meili {
    pub(super) fn new(config: &config::Meili) -> Result<Self, SearchError> {
        let host = config.url.expose().trim_end_matches('/').to_owned();
        let url = reqwest::Url::parse(&host).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
        if url.is_none() {
            return Err(SearchError::Config { key: "meili.url", problem: "is no http:// or https:// URL" });
        }
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        if config.index.is_empty() || config.index.len() > 400 || !config.index.chars().all(plain) {
            return Err(SearchError::Config { key: "meili.index", problem: "may hold letters, digits, - and _ only" });
        }
        let http = Http::new(config)?;
        let client = Client::new_with_client(&host, None::<String>, http.clone());
        Ok(Self { client, http, host, index: config.index.clone(), task_timeout: config.task_timeout })
    }

    fn index(&self, uid: &str) -> Index<Http> {
        self.client.index(uid)
    }

    /// Deletions first: a document that is refused must not keep anybody findable.
    pub(super) async fn apply(&self, upserts: Vec<Doc>, deletes: Vec<(Uuid, i64)>) -> Result<(), SearchError> {
        let (gone, here): (Vec<Doc>, Vec<Doc>) = upserts.into_iter().partition(Doc::is_deleted);
        let gone: Vec<Uuid> =
            gone.iter().map(|doc| doc.user_id).chain(deletes.into_iter().map(|(user, _)| user)).collect();
        if !gone.is_empty() {
            let task = self.index(&self.index).delete_documents(&gone).await?;
            match self.done(task).await {
                // Where there is no index there is nobody to be found.
                Err(error) if tasks::is_missing_index(&error) => {}
                done => done?,
            }
        }
        self.add(&self.index, &here).await
    }

    /// Adds or replaces. One task, unless documents are refused.
    async fn add(&self, uid: &str, docs: &[Doc]) -> Result<(), SearchError> {
        let mut split = Split::new(docs, usize::MAX, |doc| doc.user_id);
        while let Some(part) = split.next() {
            let documents: Vec<Document<'_>> =
                part.iter().map(|doc| Document { doc, spellings: spellings::compatible(doc) }).collect();
            let done = match self.index(uid).add_documents(&documents, Some(KEY)).await {
                Ok(task) => self.done(task).await,
                Err(error) => Err(error.into()),
            };
            split.settle(part, done)?;
        }
        split.end()
    }

    pub(super) async fn search(&self, q: &str, limit: usize) -> Result<Vec<Uuid>, SearchError> {
        #[derive(Deserialize)]
        struct Hit {
            user_id: Uuid,
        }
        let Some(q) = query::plain(q) else { return Ok(Vec::new()) };
        let index = self.index(&self.index);
        let results = index
            .search()
            .with_query(&q)
            .with_limit(limit)
            .with_matching_strategy(MatchingStrategies::ALL)
            .with_attributes_to_retrieve(Selectors::Some(&[KEY]))
            .execute::<Hit>()
            .await?;
        Ok(results.hits.into_iter().map(|hit| hit.result.user_id).collect())
    }

    pub(super) async fn prepare(&self) -> Result<(), SearchError> {
        self.make(&self.index).await
    }

    pub(super) async fn ping(&self) -> Result<(), SearchError> {
        self.client.health().await?;
        Ok(())
    }
}
