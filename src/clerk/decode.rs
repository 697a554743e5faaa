//! From a stored delivery to an event of the domain. Never fails: what cannot be understood is an event too,
//! refused with a reason.

use sea_orm::FromQueryResult;
use serde_json::{Map, Value};

use crate::{
    clock::Time,
    domain::{Change, Event, Version, event::Snapshot, validate::validate},
};

use super::{fields::replace_nul, user};

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
}

/// Decodes and validates. `instance` is the configured instance, if one is; events of others are refused.
pub fn decode(stored: Stored, instance: Option<&str>) -> Event {
    let change = change(&stored, instance);
    Event {
        seq: stored.seq,
        correlation_id: stored.svix_id,
        event_type: stored.event_type,
        occurred_at: stored.occurred_at,
        change,
    }
}

fn change(stored: &Stored, instance: Option<&str>) -> Change {
    let refused = |reason: &str| Change::Refused { reason: reason.to_owned() };
    if let (Some(expected), Some(actual)) = (instance, stored.instance_id.as_deref())
        && expected != actual
    {
        return refused("wrong instance");
    }
    match stored.event_type.as_str() {
        "user.created" | "user.updated" => match data(stored) {
            Ok(data) => snapshot(stored, &data),
            Err(reason) => refused(reason),
        },
        "user.deleted" => match data(stored).map(|data| clerk_id(&data)) {
            Ok(Some(clerk_id)) => Change::UserDeleted { clerk_id },
            Ok(None) => refused("malformed: data has no id"),
            Err(reason) => refused(reason),
        },
        _ => Change::Ignored { reason: "no rule for this type" },
    }
}

fn data(stored: &Stored) -> Result<Map<String, Value>, &'static str> {
    let body = stored.body.as_deref().ok_or("malformed: the body is no longer stored")?;
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

fn clerk_id(data: &Map<String, Value>) -> Option<String> {
    let id = data.get("id")?.as_str()?;
    (!id.is_empty() && id.len() <= 255).then(|| id.to_owned())
}

fn snapshot(stored: &Stored, data: &Map<String, Value>) -> Change {
    let refused = |reason: &str| Change::Refused { reason: reason.to_owned() };
    let Some(clerk_id) = clerk_id(data) else { return refused("malformed: data has no id") };
    let (mut user, mut emptied) = user::read(clerk_id, data);
    let Some(updated_at) = user.updated_at.or(stored.occurred_at) else {
        return refused("malformed: neither data.updated_at nor timestamp is a time");
    };
    user.updated_at = Some(updated_at);
    emptied.extend(validate(&mut user));
    emptied.sort_unstable();
    emptied.dedup();
    let ms = |time: Time| u64::try_from(time.timestamp_millis()).unwrap_or(0);
    let version = Version::of(ms(updated_at), ms(stored.occurred_at.unwrap_or(updated_at)), &user);
    Change::User(Box::new(Snapshot { user, version, emptied }))
}
