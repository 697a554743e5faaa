//! From a stored delivery to an event of the domain. Never fails: what cannot be understood is an event too,
//! refused with a reason.

use crate::{
    clock::Time,
    domain::{
        Change, Event, Version,
        event::{Absence, OrganizationSnapshot, Snapshot},
        plan::Kind,
        validate,
    },
    json::{Lexer, Object, SyntaxError, Token, Value, parse::DELIVERY_DEPTH, parse::Parser},
};
use sea_orm::FromQueryResult;

use super::{
    examples::is_example,
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
    /// Of a delivery: stands in for the time of an event that carries none at all.
    pub received_at: Option<Time>,
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
        from_api: false,
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
        "user.created" | "user.updated" => data(stored).and_then(|data| user_snapshot(stored, data)),
        "user.deleted" => deleted(stored, |clerk_id| Change::UserDeleted { clerk_id }),
        "organization.created" | "organization.updated" => {
            data(stored).and_then(|data| organization_snapshot(stored, data))
        }
        "organization.deleted" => deleted(stored, |clerk_id| Change::OrganizationDeleted { clerk_id }),
        "organizationMembership.created" => membership_told(stored, membership::Word::Created),
        "organizationMembership.updated" => membership_told(stored, membership::Word::Updated),
        "organizationMembership.deleted" => membership_told(stored, membership::Word::Deleted),
        "comparison.user_absent" => absent(stored, Kind::User),
        "comparison.organization_absent" => absent(stored, Kind::Organization),
        "comparison.membership_absent" => absent(stored, Kind::Membership),
        "session.ended" | "session.removed" | "session.revoked" => session_ended(stored),
        later if is_read_later(later) => {
            return Change::Ignored { reason: "not applied yet: a later version reads this type" };
        }
        _ => return Change::Ignored { reason: "no rule for this type" },
    };
    read.unwrap_or_else(refused)
}

/// The members of `data`, and the names of those in which something was nested too deep and is null now.
type Data = (Object, Vec<&'static str>);

fn data(stored: &Stored) -> Result<Data, &'static str> {
    let body = stored.body.as_deref().ok_or(BODY_EMPTIED)?;
    let body = std::str::from_utf8(body).map_err(|_| "malformed: the body is not UTF-8")?;
    read_data(body).map_err(|_| "malformed: the body is not JSON")?.ok_or("malformed: data is no object")
}

/// `None` where `data` is no object. Of two members of one name the last one stands.
fn read_data(body: &str) -> Result<Option<Data>, SyntaxError> {
    let (mut lexer, mut data) = (Lexer::new(body), None);
    if lexer.next_token()? != Some(Token::ObjectStart) {
        return Ok(None);
    }
    while let Some(Token::Name(name)) = lexer.next_token()? {
        let Some(first) = lexer.next_token()? else { break };
        if !name.is("data") {
            lexer.skip_value(first)?;
        } else if first == Token::ObjectStart {
            data = Some(read_members(&mut lexer)?);
        } else {
            lexer.skip_value(first)?;
            data = None;
        }
    }
    Ok(data)
}

fn read_members(lexer: &mut Lexer<'_>) -> Result<Data, SyntaxError> {
    let (mut members, mut cut) = (Object::new(), Vec::new());
    while let Some(Token::Name(name)) = lexer.next_token()? {
        let name = name.decode().into_owned();
        let mut parser = Parser::new(lexer, DELIVERY_DEPTH);
        let value = parser.value()?;
        if parser.too_deep {
            cut.push(match name.as_str() {
                "public_metadata" => "public_metadata (nested deeper than 64)",
                "private_metadata" => "private_metadata (nested deeper than 64)",
                "unsafe_metadata" => "unsafe_metadata (nested deeper than 64)",
                _ => "other members (nested deeper than 64)",
            });
        }
        members.insert(name, value);
    }
    Ok((members, cut))
}

/// The id of an object; `missing` and `long` are what is said where there is none that a column can hold.
fn id(object: Option<&Value>, missing: &'static str, long: &'static str) -> Result<String, &'static str> {
    let id = object.and_then(Value::as_str).filter(|id| !id.is_empty()).ok_or(missing)?;
    if validate::id(id) { Ok(id.to_owned()) } else { Err(long) }
}

fn own_id(data: &Object) -> Result<String, &'static str> {
    id(data.get("id"), "malformed: data has no id", "malformed: data.id is longer than 255 bytes")
}

/// A deletion: `deleted` is absent or true. Of one that is no boolean the type of the event decides.
fn deleted(stored: &Stored, change: impl FnOnce(String) -> Change) -> Result<Change, &'static str> {
    let (data, _) = data(stored)?;
    let clerk_id = own_id(&data)?;
    Ok(match data.get("deleted") {
        Some(Value::Bool(false)) => Change::NotDeleted { clerk_id },
        _ => change(clerk_id),
    })
}

/// What a comparison inferred: an object of ours, which no delivery is.
fn absent(stored: &Stored, kind: Kind) -> Result<Change, &'static str> {
    let (data, _) = data(stored)?;
    let seen = data.get("version").and_then(Value::as_str).ok_or("malformed: data has no version")?;
    // A pair may be longer than an id.
    let key = data.get("id").and_then(Value::as_str).ok_or("malformed: data has no id")?.to_owned();
    Ok(Change::Absent(Absence { kind, key, seen: Version::stored(seen.to_owned()) }))
}

pub(super) fn ms(time: Time) -> u64 {
    u64::try_from(time.timestamp_millis()).unwrap_or(0)
}

fn user_snapshot(stored: &Stored, (data, cut): Data) -> Result<Change, &'static str> {
    let (mut user, mut emptied) = user::read(own_id(&data)?, &data);
    emptied.extend(cut);
    let updated_at = user.updated_at.or(stored.occurred_at).ok_or(NO_TIME)?;
    user.updated_at = Some(updated_at);
    emptied.extend(validate::user(&mut user));
    emptied.sort_unstable();
    emptied.dedup();
    let version = Version::of(ms(updated_at), ms(stored.occurred_at.unwrap_or(updated_at)), &user);
    Ok(Change::User(Box::new(Snapshot { user, version, emptied })))
}

fn organization_snapshot(stored: &Stored, (data, cut): Data) -> Result<Change, &'static str> {
    let (mut organization, mut emptied) = organization::read(own_id(&data)?, &data);
    emptied.extend(cut);
    let updated_at = organization.updated_at.or(stored.occurred_at).ok_or(NO_TIME)?;
    organization.updated_at = Some(updated_at);
    emptied.extend(validate::organization(&mut organization));
    emptied.sort_unstable();
    emptied.dedup();
    let version = Version::of(ms(updated_at), ms(stored.occurred_at.unwrap_or(updated_at)), &organization);
    Ok(Change::Organization(Box::new(OrganizationSnapshot { organization, version, emptied })))
}

fn membership_told(stored: &Stored, word: membership::Word) -> Result<Change, &'static str> {
    Ok(Change::Membership(Box::new(membership::read(&data(stored)?.0, word, stored.occurred_at, stored.received_at)?)))
}

/// Of sessions only the ids are stored.
fn session_ended(stored: &Stored) -> Result<Change, &'static str> {
    let session_id = stored.object_id.clone().ok_or("malformed: data has no id, or one longer than 255 bytes")?;
    let clerk_id = stored.subject.clone().filter(|subject| *subject != session_id);
    let clerk_id = clerk_id.ok_or("malformed: data has no user_id, or one longer than 255 bytes")?;
    Ok(Change::SessionEnded { session_id, clerk_id })
}
