//! What can go wrong with the search index. Texts name codes and keys, never what was searched or indexed.

use std::time::Duration;

use sea_orm::DbErr;
use uuid::Uuid;

/// A failure of the search index.
#[derive(Debug, thiserror::Error)]
pub enum SearchError {
    /// The database failed; trying again may help.
    #[error("the search tables could not be read or written")]
    Database(#[from] DbErr),
    /// Meilisearch did not answer; trying again may help.
    #[error("Meilisearch: {0}")]
    Unreachable(&'static str),
    /// Meilisearch refuses our key. The operator must act, then trying again helps.
    #[error(
        "Meilisearch refuses the key (HTTP {status}, {code}): set meili.master_key to one that may write the index"
    )]
    Key {
        /// The HTTP status.
        status: u16,
        /// Meilisearch's code.
        code: String,
    },
    /// Meilisearch answered with an error that is about no document; trying again may help.
    #[error("Meilisearch answered HTTP {status}, {code}")]
    Answer {
        /// The HTTP status.
        status: u16,
        /// Meilisearch's code.
        code: String,
    },
    /// A task failed for a reason that is about no document; trying again may help.
    #[error("Meilisearch could not do task {task}: {code}")]
    Task {
        /// The task's number.
        task: u32,
        /// Meilisearch's code.
        code: String,
    },
    /// A task did not end in time. It may still be done; trying again does no harm.
    #[error("Meilisearch has not done task {task} within {}s (meili.task_timeout)", waited.as_secs())]
    Slow {
        /// The task's number.
        task: u32,
        /// How long it was waited for.
        waited: Duration,
    },
    /// A setting cannot be used.
    #[error("configuration: {key}: {problem}")]
    Config {
        /// The key, `section.name`.
        key: &'static str,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// Another rebuild has begun and this one has lost its place; nothing was swapped.
    #[error("another rebuild of the search index has begun")]
    Superseded,
    /// These documents can never be indexed as they are; all others of the batch have been.
    #[error("{} documents cannot be indexed: {code}", users.len())]
    Documents {
        /// Whose documents they are.
        users: Vec<Uuid>,
        /// The backend's code for the last of them.
        code: String,
    },
}

impl SearchError {
    /// Whether the same documents would be refused again, however often. Everything else is worth another try.
    pub fn is_permanent(&self) -> bool {
        matches!(self, Self::Documents { .. })
    }

    /// Whose documents were refused for good. Everybody else's in the batch have been written.
    pub fn refused(&self) -> &[Uuid] {
        match self {
            Self::Documents { users, .. } => users,
            _ => &[],
        }
    }
}
