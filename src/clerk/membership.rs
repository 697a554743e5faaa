//! Clerk's OrganizationMembership object. The organisation and the person inside it are snapshots of their own past:
//! only their ids are read.

use serde::Serialize;

use crate::{
    clock::Time,
    domain::{
        Version,
        membership::{Pair, Terms, Told},
        validate,
    },
    json::{self, Value},
};

use super::{decode::ms, fields::Fields};

const NO_TIME: &str = "malformed: neither data.created_at nor timestamp is a time";

/// The object as its version's hash covers it. The names and the order of its members are part of stored versions.
#[derive(Serialize)]
struct Hashed {
    clerk_id: Option<String>,
    pair: Option<Pair>,
    role: Option<String>,
    permissions: Vec<String>,
    created_at: Option<Time>,
    updated_at: Option<Time>,
}

/// What happened to a membership, by the event's type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Word {
    Created,
    Updated,
    Deleted,
}

/// Reads what an event says of a membership. `at` is the event's time: of a snapshot it stands in for a missing
/// `created_at`, and `received_at` for every time of an end that names the pair alone.
///
/// # Errors
/// What it lacks, in our words: of a snapshot the id, the role or a time; of the first one its pair too, which no earlier
/// event can name; of an end both its id and its pair. An id that no column can hold is refused too.
pub(super) fn read(
    data: &json::Object,
    word: Word,
    at: Option<Time>,
    received_at: Option<Time>,
) -> Result<Told, &'static str> {
    let clerk_id = id(data.get("id"), "malformed: data.id is longer than 255 bytes")?;
    let inner = |name: &str, member: &str| data.get(name).and_then(|object| object.get(member));
    let organization = id(inner("organization", "id"), "malformed: data.organization.id is longer than 255 bytes")?;
    let user =
        id(inner("public_user_data", "user_id"), "malformed: data.public_user_data.user_id is longer than 255 bytes")?;
    let pair = organization.clone().zip(user.clone()).map(|(organization, user)| Pair { organization, user });
    let mut f = Fields::new(data);
    let role = f.text("role");
    // An end needs no role.
    if word != Word::Deleted && role.as_deref().is_some_and(|role| !validate::id(role)) {
        return Err("malformed: data.role is longer than 255 bytes");
    }
    let permissions = data.get("permissions").and_then(Value::as_array).into_iter().flatten();
    let permissions = permissions.filter_map(Value::as_str).map(str::to_owned).collect();
    let (created_at, updated_at) = (f.time("created_at"), f.time("updated_at"));
    let key = pair.as_ref().map(Pair::to_string).or_else(|| clerk_id.clone());
    let key = key.ok_or("malformed: data names neither the membership's id nor its organisation and user")?;
    let object = Hashed {
        clerk_id: clerk_id.clone(),
        pair: pair.clone(),
        role: role.clone(),
        permissions,
        created_at,
        updated_at,
    };
    if word == Word::Deleted {
        let version = match (&clerk_id, &pair, created_at) {
            // It stands above everything of its id, whatever else it carries.
            (Some(id), Some(_), Some(birth)) => Some(version((birth, id), true, at, &object)),
            (Some(_), ..) => None,
            // Of the pair alone: above whatever began no later than the event.
            (None, ..) => {
                let at = at.or(updated_at).or(created_at).or(received_at).ok_or(NO_TIME)?;
                Some(version((at, ANY_ID), true, Some(at), &object))
            }
        };
        return Ok(Told { clerk_id, organization, user, terms: None, version, key });
    }
    let id = clerk_id.clone().ok_or("malformed: data has no id")?;
    if word == Word::Created && organization.is_none() {
        return Err("malformed: data.organization has no id");
    }
    if word == Word::Created && user.is_none() {
        return Err("malformed: data.public_user_data has no user_id");
    }
    let role = role.ok_or("malformed: data has no role")?;
    let created_at = created_at.or(updated_at).or(at).ok_or(NO_TIME)?;
    let object = Hashed { created_at: Some(created_at), ..object };
    let version = Some(version((created_at, &id), false, at, &object));
    let terms = Some(Terms { role, permissions: object.permissions, created_at, updated_at });
    Ok(Told { clerk_id, organization, user, terms, version, key })
}

/// An id, where there is one; `long` is what is said of one that no column can hold.
fn id(value: Option<&Value>, long: &'static str) -> Result<Option<String>, &'static str> {
    match value.and_then(Value::as_str).filter(|id| !id.is_empty()) {
        Some(id) if !validate::id(id) => Err(long),
        id => Ok(id.map(str::to_owned)),
    }
}

/// Sorts after every id of Clerk's.
const ANY_ID: &str = "~";

fn version((birth, id): (Time, &str), ended: bool, at: Option<Time>, object: &Hashed) -> Version {
    let updated_at = object.updated_at.or(at).unwrap_or(birth);
    let timestamp = ms(at.unwrap_or(updated_at));
    Version::of_membership((ms(birth), id), ended, ms(updated_at), timestamp, object)
}
