//! Whom a token makes of a client, and what that one may follow. The only place that decides either.

use serde::Serialize;

use crate::access::{Access, Caller};

use super::topics::Topic;

/// Who a client is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Identity {
    /// An operator: every topic.
    Admin,
}

/// The person whom `welcome` names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Person {
    pub(super) id: Option<String>,
    pub(super) clerk_id: String,
}

/// Who holds this token; `None` refuses it. API tokens belong to services, which follow `/v1/changes` instead.
pub(super) async fn authenticate(access: &Access, token: &str) -> Option<Identity> {
    match access.identify(token) {
        Some(Caller::Admin) => Some(Identity::Admin),
        Some(Caller::Service { .. }) | None => None,
    }
}

impl Identity {
    /// The person it is, if it is one.
    pub(super) fn person(&self) -> Option<Person> {
        match self {
            Self::Admin => None,
        }
    }

    /// Whether it may follow this topic.
    pub(super) fn may_follow(&self, _topic: &Topic) -> bool {
        match self {
            Self::Admin => true,
        }
    }
}
