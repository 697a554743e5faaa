//! Indexes, documents and tasks.

use std::collections::BTreeMap;

use clerk_sync::clock::{Clock, rfc3339};
use serde_json::{Value, json};

use super::{Faults, matching::Document};

#[derive(Debug, Default)]
pub(super) struct Engine {
    pub(super) indexes: BTreeMap<String, Index>,
    tasks: Vec<Task>,
}

#[derive(Debug, Clone)]
pub(super) struct Index {
    pub(super) primary_key: Option<String>,
    pub(super) created_at: String,
    pub(super) settings: Value,
    pub(super) documents: BTreeMap<String, Document>,
}

#[derive(Debug, Clone)]
pub(super) enum Work {
    Create { key: Option<String> },
    Settings(Value),
    Add { documents: Vec<Value>, key: Option<String> },
    Delete { ids: Vec<String> },
    Drop,
    Swap(Vec<(String, String)>),
}

#[derive(Debug)]
struct Task {
    index: Option<String>,
    work: Work,
    status: &'static str,
    error: Option<(&'static str, String)>,
    enqueued_at: String,
    finished_at: Option<String>,
}

type Outcome = Result<(), (&'static str, String)>;

fn now() -> String {
    rfc3339(Clock::system().now())
}

/// An error as Meilisearch writes it.
pub(super) fn error(code: &str, message: &str) -> Value {
    let kind = match code {
        "invalid_api_key" | "missing_authorization_header" => "auth",
        "internal" => "internal",
        "no_space_left_on_device" | "io_error" => "system",
        _ => "invalid_request",
    };
    let link = format!("https://docs.meilisearch.com/errors#{code}");
    json!({"message": message, "code": code, "type": kind, "link": link})
}

impl Engine {
    /// Takes a task; answers what the 202 carries.
    pub(super) fn enqueue(&mut self, index: Option<&str>, work: Work) -> Value {
        let uid = self.tasks.len();
        let task = Task {
            index: index.map(str::to_owned),
            work,
            status: "enqueued",
            error: None,
            enqueued_at: now(),
            finished_at: None,
        };
        let info = json!({
            "taskUid": uid, "indexUid": task.index, "status": "enqueued",
            "type": task.kind(), "enqueuedAt": task.enqueued_at,
        });
        self.tasks.push(task);
        info
    }

    pub(super) fn task(&self, uid: usize) -> Option<Value> {
        let task = self.tasks.get(uid)?;
        Some(json!({
            "uid": uid,
            "batchUid": task.finished_at.as_ref().map(|_| uid),
            "indexUid": task.index,
            "status": task.status,
            "type": task.kind(),
            "canceledBy": null,
            "details": {},
            "error": task.error.as_ref().map(|(code, message)| error(code, message)),
            "duration": task.finished_at.as_ref().map(|_| "PT0.001S"),
            "enqueuedAt": task.enqueued_at,
            "startedAt": task.finished_at,
            "finishedAt": task.finished_at,
        }))
    }

    /// The task to do next, now being processed.
    pub(super) fn next(&mut self) -> Option<usize> {
        let uid = self.tasks.iter().position(|task| task.status == "enqueued")?;
        self.tasks[uid].status = "processing";
        Some(uid)
    }

    pub(super) fn run(&mut self, uid: usize, faults: &Faults) {
        let (index, work) = (self.tasks[uid].index.clone().unwrap_or_default(), self.tasks[uid].work.clone());
        let outcome = self.work(&index, work, uid, faults);
        let task = &mut self.tasks[uid];
        task.status = if outcome.is_ok() { "succeeded" } else { "failed" };
        task.error = outcome.err();
        task.finished_at = Some(now());
    }

    fn work(&mut self, uid: &str, work: Work, task: usize, faults: &Faults) -> Outcome {
        match work {
            Work::Create { .. } if self.indexes.contains_key(uid) => {
                Err(("index_already_exists", format!("Index `{uid}` already exists.")))
            }
            Work::Create { key } => {
                self.index(uid, task).primary_key = key;
                Ok(())
            }
            Work::Settings(settings) => {
                let present = &mut self.index(uid, task).settings;
                for (name, value) in settings.as_object().into_iter().flatten() {
                    present[name] = value.clone();
                }
                Ok(())
            }
            Work::Add { documents, key } => self.add(uid, documents, key, task, faults),
            Work::Delete { ids } => {
                if let Some(code) = faults.task_code {
                    return Err((code, "told to fail".into()));
                }
                let index = self.indexes.get_mut(uid).ok_or_else(|| missing(uid))?;
                ids.iter().for_each(|id| drop(index.documents.remove(id)));
                Ok(())
            }
            Work::Drop => self.indexes.remove(uid).map(drop).ok_or_else(|| missing(uid)),
            Work::Swap(swaps) => {
                for (a, b) in swaps {
                    let first = self.indexes.get(&a).cloned().ok_or_else(|| missing(&a))?;
                    let second = self.indexes.insert(b.clone(), first).ok_or_else(|| missing(&b))?;
                    self.indexes.insert(a, second);
                }
                Ok(())
            }
        }
    }

    /// All of them or, with one bad among them, none.
    fn add(&mut self, uid: &str, documents: Vec<Value>, key: Option<String>, task: usize, faults: &Faults) -> Outcome {
        if let Some(code) = faults.task_code {
            return Err((code, "told to fail".into()));
        }
        let index = self.index(uid, task);
        let Some(key) = index.primary_key.clone().or(key) else {
            return Err(("index_primary_key_no_candidate_found", "The primary key inference failed".into()));
        };
        let mut new = index.documents.clone();
        for document in documents {
            let Some(id) = document.get(&key).and_then(Value::as_str) else {
                return Err((
                    "missing_document_id",
                    format!("Document doesn't have a `{key}` attribute: `{document}`."),
                ));
            };
            let plain = id.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'));
            if !plain || faults.refused.contains(id) {
                return Err(("invalid_document_id", format!("Document identifier `{document}` is invalid.")));
            }
            new.insert(id.to_owned(), Document::new(document));
        }
        index.primary_key = Some(key);
        index.documents = new;
        Ok(())
    }

    /// The index, made if need be: documents and settings make what they are sent to.
    fn index(&mut self, uid: &str, task: usize) -> &mut Index {
        // Times in the real one are finer than a millisecond; here the number of the task tells two makings apart.
        let created_at = now().replace('Z', &format!("{task:06}Z"));
        let new = Index { primary_key: None, created_at, settings: json!({}), documents: BTreeMap::new() };
        self.indexes.entry(uid.to_owned()).or_insert(new)
    }
}

impl Task {
    fn kind(&self) -> &'static str {
        match self.work {
            Work::Create { .. } => "indexCreation",
            Work::Settings(_) => "settingsUpdate",
            Work::Add { .. } => "documentAdditionOrUpdate",
            Work::Delete { .. } => "documentDeletion",
            Work::Drop => "indexDeletion",
            Work::Swap(_) => "indexSwap",
        }
    }
}

fn missing(uid: &str) -> (&'static str, String) {
    ("index_not_found", format!("Index `{uid}` not found."))
}
