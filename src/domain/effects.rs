//! What a plan is made of: changed rows, conflicts, alerts, the audit trail, the change feed, and who is woken.

use std::{collections::BTreeSet, sync::Arc};

use uuid::Uuid;

use crate::{clock::Time, json::Object};

use super::{Account, membership::Member, organization::Org};

/// A person's rows before and after.
#[derive(Debug)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Changed {
    pub before: Option<Arc<Account>>,
    pub after: Arc<Account>,
}

/// Kinds of subjects, as the column has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Kind {
    User,
    Organization,
    Membership,
    /// Facts about a membership by Clerk's id of it, which events need to find its pair.
    MembershipId,
}

impl Kind {
    /// The column's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Organization => "organization",
            Self::Membership => "membership",
            Self::MembershipId => "membership_id",
        }
    }
}

/// An organisation's row before and after.
#[derive(Debug)]
#[expect(missing_docs, reason = "the names say it")]
pub struct ChangedOrganization {
    pub before: Option<Org>,
    pub after: Org,
}

/// A membership's row before and after; it is gone where there is no after.
#[derive(Debug)]
#[expect(missing_docs, reason = "the names say it")]
pub struct ChangedMember {
    pub before: Option<Member>,
    pub after: Option<Member>,
}

/// A returning person's rows move to the id that they had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Relinked {
    /// The stable id, whose row was emptied.
    pub kept: Uuid,
    /// The newcomer's id, whose row goes.
    pub given_up: Uuid,
}

/// A session that ended.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are the columns'")]
pub struct Revoked {
    pub session_id: String,
    pub clerk_id: String,
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
    pub diff: Object,
    pub correlation_id: String,
}

/// A row of the change feed.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "the names are the columns'")]
pub struct Message {
    pub seq: i64,
    pub event: &'static str,
    /// `users`, `organizations`, `admin`, or `internal`, which nobody subscribes to.
    pub topic: &'static str,
    pub subject: String,
    /// Further topics that get it, e.g. `user:{id}`.
    pub routing: Vec<String>,
    pub payload: Object,
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
    /// Persons and organisations who came or went: memberships that wait for them.
    pub parents: BTreeSet<String>,
    /// Users and organisations who were deleted or whose deletion was cancelled: their held rows.
    pub held: BTreeSet<String>,
    /// Users and organisations whose deletion was cancelled: the deletions among their held rows are discarded.
    pub cancelled: BTreeSet<String>,
}
