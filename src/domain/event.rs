//! One event, decoded and validated, as the plan takes it.

use crate::clock::Time;

use super::{User, Version};

/// An event of the batch.
#[derive(Debug, Clone)]
pub struct Event {
    /// The inbox row it came from; outcomes name it.
    pub seq: i64,
    /// What links audit and change feed to the delivery: the svix-id.
    pub correlation_id: String,
    /// Clerk's type, e.g. `user.updated`.
    pub event_type: String,
    /// When it happened, by its envelope.
    pub occurred_at: Option<Time>,
    /// What it says.
    pub change: Change,
}

/// What an event says.
#[derive(Debug, Clone)]
pub enum Change {
    /// A whole snapshot of a person.
    User(Box<Snapshot>),
    /// A person was deleted, at the envelope's time where it has one.
    UserDeleted {
        /// Clerk's id of the person.
        clerk_id: String,
    },
    /// A type without a rule: stored, counted, without effect.
    Ignored {
        /// Why it has no effect.
        reason: &'static str,
    },
    /// It cannot be understood, or is of another instance: raises no facts.
    Refused {
        /// Why, in our words.
        reason: String,
    },
}

/// A person's snapshot with its version.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// What it says.
    pub user: User,
    /// Where it stands in the person's history.
    pub version: Version,
    /// Fields that failed validation and were left empty.
    pub emptied: Vec<&'static str>,
}
