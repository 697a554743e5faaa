//! From a stored delivery to an event of the domain. Never fails: what cannot be understood is an event too,
//! refused with a reason.

use sea_orm::FromQueryResult;
use serde_json::{Map, Value};

use crate::{
    clock::Time,
    domain::{
        Change, Event, Version,
        event::{OrganizationSnapshot, Snapshot},
        membership::Told,
        validate,
    },
};

use super::{
    examples::is_example,
    fields::replace_nul,
    membership, organization,
    private::{BODY_EMPTIED, is_read_later, keeps_body},
    user,
};

const NO_TIME: &str = "malformed: neither data.updated_at nor timestamp is a time";

/// A delivery as its inbox row holds it.
#[derive(Debug, Clone, FromQueryResult)]
#[expect(missing_docs, reason = "the names are the columns'")]
pub struct Stored {
    pub seq: i64,
    pub svix_id: String,
    pub event_type: String,
    pub body: Option<Vec<u8>>,
    pub instance_id: Option<String>,
    pub occurred_at: Option<Time>,
    /// The subject as the receiver read it, and Clerk's id of the object: all that is kept of a session.
    pub subject: Option<String>,
    pub object_id: Option<String>,
}

impl Stored {
    /// Whether its body is gone. It is not to be planned again then: nothing tells what it said.
    pub fn is_emptied(&self) -> bool {
        self.body.is_none() && keeps_body(&self.event_type)
    }
}

/// Decodes and validates. `instance` is the configured instance, if one is; events of others are refused.
pub fn decode(stored: Stored, instance: Option<&str>) -> Event {
    let change = change(&stored, instance);
    Event {
        seq: stored.seq,
        correlation_id: stored.svix_id,
        event_type: stored.event_type,
        occurred_at: stored.occurred_at,
        actor: "clerk",
        change,
        refreshed: None,
    }
}

fn change(stored: &Stored, instance: Option<&str>) -> Change {
    let refused = |reason: &str| Change::Refused { reason: reason.to_owned() };
    // Before the instance is judged: an example may name Clerk's own.
    if is_example(stored) {
        return Change::Example;
    }
    if let (Some(expected), Some(actual)) = (instance, stored.instance_id.as_deref())
        && expected != actual
    {
        return refused("wrong instance");
    }
    let read = match stored.event_type.as_str() {
        "user.created" | "user.updated" => data(stored).and_then(|data| user_snapshot(stored, &data)),
        "user.deleted" => deleted(stored).map(|clerk_id| Change::UserDeleted { clerk_id }),
        "organization.created" | "organization.updated" => {
            data(stored).and_then(|data| organization_snapshot(stored, &data))
        }
        "organization.deleted" => deleted(stored).map(|clerk_id| Change::OrganizationDeleted { clerk_id }),
        "organizationMembership.created" | "organizationMembership.updated" => membership_told(stored, false),
        "organizationMembership.deleted" => membership_told(stored, true),
        "session.ended" | "session.removed" | "session.revoked" => session_ended(stored),
        later if is_read_later(later) => {
            return Change::Ignored { reason: "not applied yet: a later version reads this type" };
        }
        _ => return Change::Ignored { reason: "no rule for this type" },
    };
    read.unwrap_or_else(refused)
}

fn data(stored: &Stored) -> Result<Map<String, Value>, &'static str> {
    let body = stored.body.as_deref().ok_or(BODY_EMPTIED)?;
    let mut envelope: Value = serde_json::from_slice(body).map_err(|_| "malformed: a number beyond all numbers")?;
    // Only an escape can bring U+0000 into a JSON text.
    if body.windows(6).any(|window| window == br"\u0000") {
        replace_nul(&mut envelope);
    }
    match envelope["data"].take() {
        Value::Object(data) => Ok(data),
        _ => Err("malformed: data is no object"),
    }
}

pub(super) fn id(data: &Map<String, Value>) -> Option<String> {
    let id = data.get("id")?.as_str()?;
    (!id.is_empty() && id.len() <= 255).then(|| id.to_owned())
}

fn deleted(stored: &Stored) -> Result<String, &'static str> {
    id(&data(stored)?).ok_or("malformed: data has no id")
}

fn ms(time: Time) -> u64 {
    u64::try_from(time.timestamp_millis()).unwrap_or(0)
}

fn user_snapshot(stored: &Stored, data: &Map<String, Value>) -> Result<Change, &'static str> {
    let (mut user, mut emptied) = user::read(id(data).ok_or("malformed: data has no id")?, data);
    let updated_at = user.updated_at.or(stored.occurred_at).ok_or(NO_TIME)?;
    user.updated_at = Some(updated_at);
    emptied.extend(validate::user(&mut user));
    emptied.sort_unstable();
    emptied.dedup();
    let version = Version::of(ms(updated_at), ms(stored.occurred_at.unwrap_or(updated_at)), &user);
    Ok(Change::User(Box::new(Snapshot { user, version, emptied })))
}

fn organization_snapshot(stored: &Stored, data: &Map<String, Value>) -> Result<Change, &'static str> {
    let (mut organization, mut emptied) = organization::read(id(data).ok_or("malformed: data has no id")?, data);
    let updated_at = organization.updated_at.or(stored.occurred_at).ok_or(NO_TIME)?;
    organization.updated_at = Some(updated_at);
    emptied.extend(validate::organization(&mut organization));
    emptied.sort_unstable();
    emptied.dedup();
    let version = Version::of(ms(updated_at), ms(stored.occurred_at.unwrap_or(updated_at)), &organization);
    Ok(Change::Organization(Box::new(OrganizationSnapshot { organization, version, emptied })))
}

fn membership_told(stored: &Stored, ended: bool) -> Result<Change, &'static str> {
    let membership = membership::read(&data(stored)?, stored.occurred_at)?;
    let updated_at = membership.updated_at.or(stored.occurred_at).unwrap_or(membership.created_at);
    let timestamp = ms(stored.occurred_at.unwrap_or(updated_at));
    let birth = (ms(membership.created_at), membership.clerk_id.as_str());
    let version = Version::of_membership(birth, ended, ms(updated_at), timestamp, &membership);
    let key = membership.pair.to_string();
    Ok(Change::Membership(Box::new(Told { membership, ended, version, key })))
}

/// Of sessions only the ids are stored.
fn session_ended(stored: &Stored) -> Result<Change, &'static str> {
    let session_id = stored.object_id.clone().ok_or("malformed: data has no id")?;
    let clerk_id = stored.subject.clone().filter(|subject| *subject != session_id);
    let clerk_id = clerk_id.ok_or("malformed: data has no user_id")?;
    Ok(Change::SessionEnded { session_id, clerk_id })
}
