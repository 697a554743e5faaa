//! Tasks: what Meilisearch has promised to do, asked about until it has done it; and what its errors mean to us.

use std::time::Duration;

use meilisearch_sdk::{
    errors::Error,
    request::{HttpClient as _, Method},
    task_info::TaskInfo,
};
use serde::Deserialize;

use super::{super::http::Failure, Meili, SearchError};

/// Between two questions about a task; doubles from the first to the second.
const DELAY: (Duration, Duration) = (Duration::from_millis(5), Duration::from_secs(1));

/// Codes that are about the documents of a request and would come again with the same documents.
const ABOUT_DOCUMENTS: [&str; 9] = [
    "invalid_document_id",
    "missing_document_id",
    "invalid_document_fields",
    "invalid_document_geo_field",
    "max_fields_limit_exceeded",
    "malformed_payload",
    "payload_too_large",
    "invalid_vectors_type",
    "invalid_vector_dimensions",
];

/// The parts of a task that matter. The client's own type knows no `canceled` and reads every detail.
#[derive(Deserialize)]
struct Task {
    status: String,
    error: Option<TaskError>,
}

#[derive(Deserialize)]
struct TaskError {
    code: String,
}

impl Meili {
    /// Waits until the task has succeeded.
    pub(super) async fn done(&self, task: TaskInfo) -> Result<(), SearchError> {
        let uid = task.get_task_uid();
        let ended = tokio::time::timeout(self.task_timeout, self.ended(uid)).await;
        let task = ended.map_err(|_| SearchError::Slow { task: uid, waited: self.task_timeout })??;
        match task.error {
            None if task.status == "succeeded" => Ok(()),
            Some(TaskError { code }) if is_about_documents(&code) => Err(documents(code)),
            Some(TaskError { code }) => Err(SearchError::Task { task: uid, code }),
            None => Err(SearchError::Task { task: uid, code: task.status }),
        }
    }

    async fn ended(&self, uid: u32) -> Result<Task, SearchError> {
        let url = format!("{}/tasks/{uid}", self.host);
        let mut delay = DELAY.0;
        loop {
            let task: Task = self.http.request::<(), (), Task>(&url, Method::Get { query: () }, 200).await?;
            if !matches!(task.status.as_str(), "enqueued" | "processing") {
                return Ok(task);
            }
            tokio::time::sleep(delay).await;
            delay = DELAY.1.min(delay * 2);
        }
    }
}

fn is_about_documents(code: &str) -> bool {
    ABOUT_DOCUMENTS.contains(&code)
}

fn documents(code: String) -> SearchError {
    SearchError::Documents { users: Vec::new(), code }
}

/// Whether the index is not there.
pub(super) fn is_missing_index(error: &SearchError) -> bool {
    matches!(error, SearchError::Answer { code, .. } | SearchError::Task { code, .. } if code == "index_not_found")
}

impl From<Error> for SearchError {
    fn from(error: Error) -> Self {
        let Error::Other(error) = error else { return Self::Unreachable("the request could not be made") };
        match error.downcast::<Failure>().map(|failure| *failure) {
            Ok(Failure::Status { status: status @ (401 | 403), code }) => Self::Key { status, code },
            Ok(Failure::Status { status, code }) if status == 413 || is_about_documents(&code) => documents(code),
            Ok(Failure::Status { status, code }) => Self::Answer { status, code },
            Ok(Failure::Unreachable(what)) => Self::Unreachable(what),
            Err(_) => Self::Unreachable("the request could not be sent"),
        }
    }
}
