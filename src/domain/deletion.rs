//! **Deletion** wins always and is final. It empties every personal field; the row keeps id, Clerk id, status and
//! the earliest time that a deletion carried.

use uuid::Uuid;

use crate::clock::Time;

use super::{Account, account::COLUMNS, account::Field, account::Profile, status::Status};

/// What is left of a person: of a live row the emptied one, of an unknown id a new one like it.
pub fn emptied(before: Option<&Account>, clerk_id: &str, deleted_at: Option<Time>, id: Uuid, now: Time) -> Account {
    let columns = COLUMNS.iter().map(|name| match *name {
        "email_verified" | "password_enabled" | "two_factor_enabled" => Field::Bool(false),
        "last_sign_in_at" | "clerk_created_at" | "clerk_updated_at" => Field::Time(None),
        _ => Field::Text(None),
    });
    Account {
        id: before.map_or(id, |row| row.id),
        clerk_id: clerk_id.to_owned(),
        status: Status::Deleted,
        columns: columns.collect(),
        profile: Profile::default(),
        public_metadata: Default::default(),
        private_metadata: Default::default(),
        unsafe_metadata: Default::default(),
        mapped_settings: Default::default(),
        settings: Default::default(),
        addresses: Default::default(),
        identities: Default::default(),
        roles: Default::default(),
        local_roles: Default::default(),
        version: None,
        deletion_held_at: None,
        deleted_at,
        created_at: before.map_or(now, |row| row.created_at),
        updated_at: now,
        rev: before.map_or(0, |row| row.rev),
    }
}
