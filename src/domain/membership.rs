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

impl Pair {
    /// From its text.
    pub fn parse(text: &str) -> Option<Self> {
        let (organization, user) = text.split_once('/')?;
        Some(Self { organization: organization.to_owned(), user: user.to_owned() })
    }
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

/// What an event says of a membership. Of an end nothing but its id or its pair need be there.
#[derive(Debug, Clone, PartialEq)]
pub struct Told {
    /// Clerk's id of it. Only an end may lack it.
    pub clerk_id: Option<String>,
    /// Its organisation, by Clerk's id.
    pub organization: Option<String>,
    /// Its user, by Clerk's id.
    pub user: Option<String>,
    /// What it shows; none where the event ends it.
    pub terms: Option<Terms>,
    /// Where it stands in the pair's history. None of an end that acts by the id alone: one that does not name the pair, or
    /// of which it is not known when it began.
    pub version: Option<Version>,
    /// The subject of inbox and reports: the pair as one text, else Clerk's id.
    pub key: String,
}

/// What a snapshot shows of a membership, beside whose it is.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "the names are Clerk's own terms")]
pub struct Terms {
    pub role: String,
    pub permissions: Vec<String>,
    pub created_at: Time,
    pub updated_at: Option<Time>,
}

impl Told {
    /// The pair, where the event names it.
    pub fn pair(&self) -> Option<Pair> {
        let (organization, user) = self.organization.clone().zip(self.user.clone())?;
        Some(Pair { organization, user })
    }

    /// Whether it ends the membership.
    pub fn is_end(&self) -> bool {
        self.terms.is_none()
    }
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
