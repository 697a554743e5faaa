//! A membership: the pair of an organisation and a person. What an event says of it, and what our rows hold.

use serde::Serialize;
use uuid::Uuid;

use crate::{
    clock::{Time, rfc3339},
    json::{Value, json},
};

use super::Version;

/// Organisation and person, by Clerk's ids: the subject of a membership.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Pair {
    pub organization: String,
    pub user: String,
}

impl std::fmt::Display for Pair {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.organization, self.user)
    }
}

/// One snapshot of a membership. Those of organisation and person that come with it are not used.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[expect(missing_docs, reason = "the names are Clerk's own terms")]
pub struct Membership {
    pub clerk_id: String,
    pub pair: Pair,
    /// As Clerk names it: `org:admin`, `org:member`, a custom one, or the older `admin`, `basic_member`.
    pub role: String,
    pub permissions: Vec<String>,
    pub created_at: Time,
    pub updated_at: Option<Time>,
}

/// What an event says of a pair.
#[derive(Debug, Clone, PartialEq)]
pub struct Told {
    /// The membership as it was at the event.
    pub membership: Membership,
    /// Whether the event ends it.
    pub ended: bool,
    /// Where it stands in the pair's history.
    pub version: Version,
    /// The pair as one text: the subject of inbox, audit and change feed.
    pub key: String,
}

/// The row of a live membership.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "the names are the columns'")]
pub struct Member {
    pub id: Uuid,
    pub shown: Membership,
    pub organization_id: Uuid,
    pub user_id: Uuid,
    pub created_at: Time,
    pub updated_at: Time,
    pub rev: i64,
    /// The outbox seq with which this person joined; those who resume see nothing older of the organisation.
    pub joined_seq: i64,
    /// The version the row shows.
    pub version: Option<Version>,
}

impl Member {
    /// Everything a reader can see change, by name.
    pub fn facets(&self) -> Vec<(&'static str, Value)> {
        vec![
            ("clerk_id", json!(self.shown.clerk_id)),
            ("role", json!(self.shown.role)),
            ("permissions", json!(self.shown.permissions)),
            ("clerk_created_at", json!(rfc3339(self.shown.created_at))),
            ("clerk_updated_at", json!(self.shown.updated_at.map(rfc3339))),
        ]
    }

    /// The order in which members are looked at for an owner: who has been there longest.
    pub fn seniority(&self) -> (Time, &str) {
        (self.shown.created_at, &self.shown.clerk_id)
    }
}
