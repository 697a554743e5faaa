//! Building the index anew beside the live one, then swapping the two in one task.

use meilisearch_sdk::client::SwapIndexes;

use super::{Meili, SearchError, index::Made};
use crate::backends::search::Doc;

/// An index under construction. Dropped without [`finish`](Self::finish) it is swept away by the next one.
#[derive(Debug)]
pub(in super::super) struct Rebuild {
    meili: Meili,
    uid: String,
    made: Made,
}

impl Rebuild {
    pub(in super::super) async fn begin(meili: Meili) -> Result<Self, SearchError> {
        let uid = format!("{}_rebuild", meili.index);
        meili.remove(&uid).await?;
        meili.make(&uid).await?;
        let made = meili.made(&uid).await?.ok_or(SearchError::Superseded)?;
        Ok(Self { meili, uid, made })
    }

    pub(in super::super) async fn add(&self, docs: Vec<Doc>) -> Result<(), SearchError> {
        let docs: Vec<Doc> = docs.into_iter().filter(|doc| !doc.is_deleted()).collect();
        self.meili.add(&self.uid, &docs).await
    }

    pub(in super::super) async fn finish(self) -> Result<(), SearchError> {
        let Self { meili, uid, made } = self;
        // Only what exists can be swapped.
        meili.make(&meili.index).await?;
        // Somebody else's rebuild has our name by now, and may be half empty.
        if meili.made(&uid).await?.as_ref() != Some(&made) {
            return Err(SearchError::Superseded);
        }
        let swap = SwapIndexes { indexes: (meili.index.clone(), uid.clone()), rename: None };
        let task = meili.client.swap_indexes([&swap]).await?;
        meili.done(task).await?;
        meili.remove(&uid).await
    }
}
