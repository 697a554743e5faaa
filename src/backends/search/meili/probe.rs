//! Whether Meilisearch lets us do what we do, asked in ways that change nothing.

use serde_json::Value;

use super::{Meili, SearchError, tasks};

impl Meili {
    /// Reachable, and the key may read the index, search it and write documents. Answers whether the index is there.
    pub(in crate::backends::search) async fn probe(&self) -> Result<bool, SearchError> {
        self.ping().await?;
        let there = self.made(&self.index).await?.is_some();
        match self.search("doctor", 1).await {
            Err(error) if !tasks::is_missing_index(&error) => return Err(error),
            _ => {}
        }
        // Documents in a form that Meilisearch does not take are refused as such (415) only to those who may write
        // some, and before any task is made of them; the others are refused as who they are.
        let url = format!("{}/indexes/{}/documents", self.host, self.index);
        self.http.send::<Value>(url, reqwest::Method::POST, Some((b"-".to_vec(), "text/plain")), 415).await?;
        Ok(there)
    }
}
