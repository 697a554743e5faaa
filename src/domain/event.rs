//! One event, decoded and validated, as the plan takes it.

use crate::clock::Time;

use super::{Organization, User, Version, effects::Kind, membership::Told, operators::Action};

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
    /// Who says it, for the audit trail: `clerk`, or an operator.
    pub actor: &'static str,
    /// What it says.
    pub change: Change,
    /// Whether it is an object that Clerk's API has just shown: a proof that its subject exists.
    pub from_api: bool,
    /// That the users of its clash were read from Clerk already; a clash that is still there then is a conflict.
    pub refreshed: Option<Refreshed>,
}

/// What reading the users of a clash from Clerk showed, beside the snapshots, which went their own way into the plan.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Refreshed {
    /// Users of the clash that Clerk no longer has.
    pub gone: Vec<String>,
}

impl Event {
    /// An event in whose name consequences are told; it says nothing itself.
    pub fn consequence(correlation_id: String, occurred_at: Option<Time>) -> Self {
        Self {
            seq: 0,
            correlation_id,
            event_type: "consequence".into(),
            occurred_at,
            actor: "clerk-sync",
            change: Change::Ignored { reason: "" },
            from_api: false,
            refreshed: None,
        }
    }
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
    /// A deletion, of a person or an organisation, that says `deleted: false`: refused, and an operator is alerted.
    NotDeleted {
        /// Clerk's id of the subject.
        clerk_id: String,
    },
    /// A whole snapshot of an organisation.
    Organization(Box<OrganizationSnapshot>),
    /// An organisation was deleted.
    OrganizationDeleted {
        /// Clerk's id of the organisation.
        clerk_id: String,
    },
    /// A membership is there, or has ended.
    Membership(Box<Told>),
    /// A comparison found a subject absent at Clerk: an inference, no word of Clerk's.
    Absent(Absence),
    /// A session has ended.
    SessionEnded {
        /// Clerk's id of the session.
        session_id: String,
        /// Clerk's id of the person.
        clerk_id: String,
    },
    /// An operator's action, which has no inbox row.
    Operator(Action),
    /// A type without a rule: stored, counted, without effect.
    Ignored {
        /// Why it has no effect.
        reason: &'static str,
    },
    /// An example of Clerk's dashboard: about objects that never existed. Raises no facts.
    Example,
    /// It cannot be understood, or is of another instance: raises no facts.
    Refused {
        /// Why, in our words.
        reason: String,
    },
}

/// A live row that Clerk neither lists nor knows by its id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Absence {
    /// What it is about: a user, an organisation, or a membership by its pair.
    pub kind: Kind,
    /// Clerk's id, or the pair as one text.
    pub key: String,
    /// The newest version that was known when Clerk was asked; of anything newer it says nothing.
    pub seen: Version,
}

/// An organisation's snapshot with its version.
#[derive(Debug, Clone)]
pub struct OrganizationSnapshot {
    /// What it says.
    pub organization: Organization,
    /// Where it stands in the organisation's history.
    pub version: Version,
    /// Fields that failed validation and were left empty.
    pub emptied: Vec<&'static str>,
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

impl Change {
    /// The subject, where the event names one: Clerk's id, of a membership `org_…/user_…`.
    pub fn subject(&self) -> Option<&str> {
        match self {
            Self::User(snapshot) => Some(&snapshot.user.clerk_id),
            Self::Organization(snapshot) => Some(&snapshot.organization.clerk_id),
            Self::Membership(told) => Some(&told.key),
            Self::UserDeleted { clerk_id }
            | Self::OrganizationDeleted { clerk_id }
            | Self::NotDeleted { clerk_id }
            | Self::SessionEnded { clerk_id, .. } => Some(clerk_id),
            Self::Absent(absence) => Some(&absence.key),
            Self::Operator(action) => action.persons().first().copied(),
            Self::Ignored { .. } | Self::Example | Self::Refused { .. } => None,
        }
    }

    /// Clerk's id of the person whose own rows this is about.
    pub fn person(&self) -> Option<&str> {
        match self {
            Self::User(snapshot) => Some(&snapshot.user.clerk_id),
            Self::UserDeleted { clerk_id } => Some(clerk_id),
            Self::Absent(Absence { kind: Kind::User, key, .. }) => Some(key),
            _ => None,
        }
    }
}
