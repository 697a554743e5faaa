//! An index and its settings.

use meilisearch_sdk::{
    request::{HttpClient as _, Method},
    settings::{MinWordSizeForTypos, Settings, TypoToleranceSettings},
};
use serde::Deserialize;

use super::{KEY, Meili, SearchError, tasks};
use crate::backends::search::typos::FORGIVING;

/// Fields that are searched, the weightiest first.
const SEARCHABLE: [&str; 6] = ["display_name", "first_name", "last_name", "spellings", "username", "email"];

/// When an index was made: what tells it from another one of the same name.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Made {
    created_at: String,
}

impl Meili {
    /// The index as it is, if it is.
    pub(super) async fn made(&self, uid: &str) -> Result<Option<Made>, SearchError> {
        let url = format!("{}/indexes/{uid}", self.host);
        match self.http.request::<(), (), Made>(&url, Method::Get { query: () }, 200).await.map_err(SearchError::from) {
            Ok(made) => Ok(Some(made)),
            Err(error) if tasks::is_missing_index(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Makes the index unless it is there, and sets its settings.
    pub(super) async fn make(&self, uid: &str) -> Result<(), SearchError> {
        if self.made(uid).await?.is_none() {
            let task = self.client.create_index(uid, Some(KEY)).await?;
            match self.done(task).await {
                // Another replica was quicker.
                Err(SearchError::Task { code, .. }) if code == "index_already_exists" => {}
                done => done?,
            }
        }
        let task = self.index(uid).set_settings(&settings()).await?;
        self.done(task).await
    }

    /// Removes the index if it is there.
    pub(super) async fn remove(&self, uid: &str) -> Result<(), SearchError> {
        if self.made(uid).await?.is_none() {
            return Ok(());
        }
        let task = self.client.delete_index(uid).await?;
        match self.done(task).await {
            Err(error) if tasks::is_missing_index(&error) => Ok(()),
            done => done,
        }
    }
}

/// Words are found by their beginning without being told so.
fn settings() -> Settings {
    let one_slip = MinWordSizeForTypos {
        one_typo: u8::try_from(FORGIVING).ok(),
        // No word is this long: a second slip is never forgiven.
        two_typos: Some(u8::MAX),
    };
    Settings::new().with_searchable_attributes(SEARCHABLE).with_typo_tolerance(TypoToleranceSettings {
        enabled: Some(true),
        min_word_size_for_typos: Some(one_slip),
        ..Default::default()
    })
}
