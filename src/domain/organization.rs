//! An organisation: what a snapshot says, and what our rows hold.

use serde::Serialize;
use uuid::Uuid;

use crate::{
    clock::{Time, rfc3339},
    json::{Object, Value, json, serialize_object},
};

use super::Version;

/// One snapshot of an organisation. What it does not carry is empty.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[expect(missing_docs, reason = "the names are Clerk's own terms")]
pub struct Organization {
    pub clerk_id: String,
    pub name: Option<String>,
    pub slug: Option<String>,
    pub image_url: Option<String>,
    pub created_by: Option<String>,
    #[serde(serialize_with = "serialize_object")]
    pub public_metadata: Object,
    #[serde(serialize_with = "serialize_object")]
    pub private_metadata: Object,
    pub created_at: Option<Time>,
    pub updated_at: Option<Time>,
}

/// An organisation's row. A deleted one keeps ids, status and time of deletion.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "the names are the columns'")]
pub struct Org {
    /// The stable business id: never changes.
    pub id: Uuid,
    /// What the newest snapshot says; empty but for the Clerk id once deleted.
    pub shown: Organization,
    pub live: bool,
    /// `users.id` of the owner: a function of rows and policy.
    pub owner_id: Option<Uuid>,
    /// Live memberships.
    pub members_count: i64,
    pub deleted_at: Option<Time>,
    pub created_at: Time,
    pub updated_at: Time,
    pub rev: i64,
    /// The version the row shows.
    pub version: Option<Version>,
}

impl Org {
    /// What the row shows of `snapshot`. `before` is the organisation's row, if there is one.
    pub fn show(before: Option<&Self>, snapshot: &Organization, version: Version, id: Uuid, now: Time) -> Self {
        Self {
            id: before.map_or(id, |row| row.id),
            shown: snapshot.clone(),
            live: true,
            owner_id: before.and_then(|row| row.owner_id),
            members_count: before.map_or(0, |row| row.members_count),
            deleted_at: None,
            created_at: before.map_or(now, |row| row.created_at),
            updated_at: before.map_or(now, |row| row.updated_at),
            rev: before.map_or(0, |row| row.rev),
            version: Some(version),
        }
    }

    /// What a deletion leaves: of an unknown id a new row like it.
    pub fn emptied(before: Option<&Self>, clerk_id: &str, deleted_at: Option<Time>, id: Uuid, now: Time) -> Self {
        Self {
            id: before.map_or(id, |row| row.id),
            shown: Organization { clerk_id: clerk_id.to_owned(), ..Organization::default() },
            live: false,
            owner_id: None,
            members_count: 0,
            deleted_at,
            created_at: before.map_or(now, |row| row.created_at),
            updated_at: now,
            rev: before.map_or(0, |row| row.rev),
            version: None,
        }
    }

    /// The column `status`.
    pub fn status(&self) -> &'static str {
        if self.live { "active" } else { "deleted" }
    }

    /// Everything a reader can see change, by name.
    pub fn facets(&self) -> Vec<(&'static str, Value)> {
        let Organization { name, slug, image_url, created_by, .. } = &self.shown;
        vec![
            ("name", json!(name)),
            ("slug", json!(slug)),
            ("image_url", json!(image_url)),
            ("created_by", json!(created_by)),
            ("owner_id", json!(self.owner_id)),
            ("members_count", json!(self.members_count)),
            ("public_metadata", json!(self.shown.public_metadata)),
            ("private_metadata", json!(self.shown.private_metadata)),
            ("status", json!(self.status())),
            ("clerk_created_at", json!(self.shown.created_at.map(rfc3339))),
            ("clerk_updated_at", json!(self.shown.updated_at.map(rfc3339))),
        ]
    }
}
