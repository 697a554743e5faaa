//! What a plan is made of: changed rows, conflicts, alerts, the audit trail, the change feed, and who is woken.

use std::collections::BTreeSet;

use serde_json::{Map, Value};
use uuid::Uuid;

use crate::clock::Time;

use super::Account;

/// A person's rows before and after.
#[derive(Debug)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Changed {
    pub before: Option<Account>,
    pub after: Account,
}

/// A change of the table `conflicts`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are the columns'")]
pub enum ConflictChange {
    Open { id: Uuid, clerk_id: String, address: String, other: String, svix_id: String },
    Close { id: Uuid },
}

/// Something an operator should know.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are the columns'")]
pub struct Alert {
    pub kind: &'static str,
    pub level: &'static str,
    pub subject: String,
    pub text: String,
}

impl Alert {
    /// Alerts of one key are one row with a count.
    pub fn key(&self) -> String {
        format!("{}:{}", self.kind, self.subject)
    }
}

/// A row of the audit trail.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "the names are the columns'")]
pub struct Audit {
    pub actor: &'static str,
    pub action: String,
    pub subject: String,
    /// Field to `[before, after]`; private metadata masked.
    pub diff: Map<String, Value>,
    pub correlation_id: String,
}

/// A row of the change feed.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "the names are the columns'")]
pub struct Message {
    pub seq: i64,
    pub event: &'static str,
    /// `users` or `admin`.
    pub topic: &'static str,
    pub subject: String,
    /// Further topics that get it, e.g. `user:{id}`.
    pub routing: Vec<String>,
    pub payload: Map<String, Value>,
    pub changed: Vec<String>,
    /// `all`, or `state`: only caches and search look at it.
    pub effects: &'static str,
    pub correlation_id: String,
    pub occurred_at: Option<Time>,
}

/// Whose parked rows go back to `pending`, after the batch's own outcomes are written.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Wake {
    /// Persons whose newest version rose, or who were deleted: `conflict` rows of theirs and those that await them.
    pub clashes: BTreeSet<String>,
    /// Persons who entered or were deleted: their rows refused at entry.
    pub entries: BTreeSet<String>,
}
