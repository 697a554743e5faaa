//! What the receiver must know of a body before it stores it: type, subject, the people it names.
//! Everything beyond that is judged later, from the stored row.

use serde::de::DeserializeOwned;
use serde_json::{Value, value::RawValue};

use crate::clock::Time;

use super::{fields::millis, pick::pick, private, scan::scan};

/// Deeper nesting than this is refused: nothing of Clerk's comes near it.
const DEPTH_MAX: usize = 64;

/// What a delivery's row holds of its body.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Envelope {
    /// Clerk's type, e.g. `user.created`.
    pub event_type: String,
    /// Clerk's id of the subject; `org_…/user_…` for a membership, or its own id where the body lacks its pair.
    pub subject: Option<String>,
    /// Clerk's id of the object itself, of sessions: their bodies are not stored.
    pub object_id: Option<String>,
    /// Every `user_…` id that the body names, sorted.
    pub user_ids: Vec<String>,
    /// The body as it is stored; `None` for types whose bodies are not.
    pub body: Option<Vec<u8>>,
    /// Clerk's id of the instance.
    pub instance_id: Option<String>,
    /// The envelope's timestamp.
    pub occurred_at: Option<Time>,
}

/// The body is not UTF-8 JSON, is nested deeper than 64, or is not an object with a string `type` and an object `data`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the body is not a Clerk event: {0}")]
pub struct InvalidPayload(pub &'static str);

const NO_EVENT: InvalidPayload = InvalidPayload("no string type and object data");

/// Reads a signed body.
///
/// # Errors
/// [`InvalidPayload`], for exactly the reasons it names.
pub fn read(body: &[u8]) -> Result<Envelope, InvalidPayload> {
    let text = std::str::from_utf8(body).map_err(|_| InvalidPayload("not UTF-8"))?;
    if deeper_than(text, DEPTH_MAX) {
        return Err(InvalidPayload("nested too deep"));
    }
    let members = pick(text, ["type", "data", "instance_id", "timestamp"]);
    let [event_type, data, instance_id, timestamp] = members.map_err(|error| match error.classify() {
        serde_json::error::Category::Data => NO_EVENT,
        _ => InvalidPayload("not JSON"),
    })?;
    let event_type: String = event_type.and_then(read_as).ok_or(NO_EVENT)?;
    let data = data.map(RawValue::get).filter(|data| data.starts_with('{')).ok_or(NO_EVENT)?;
    let event_type = event_type.replace('\0', "\u{fffd}");
    let keeps_body = private::keeps_body(&event_type);
    // Grammatical JSON that no value can hold (a number beyond all numbers) is stored, and refused with a reason later.
    let Ok(mut found) = scan(text) else {
        let body = keeps_body.then(|| body.to_vec());
        return Ok(Envelope { event_type: clip(event_type), body, ..Envelope::default() });
    };
    let body = match found.secrets {
        false => keeps_body.then(|| body.to_vec()),
        true => {
            // Rare, so it may cost: the value is built and written anew, and what it names is read from what is left.
            let mut value: Value = serde_json::from_str(text).unwrap_or_default();
            private::strip(&mut value);
            let left = value.to_string();
            found = scan(&left).unwrap_or_default();
            keeps_body.then(|| left.into_bytes())
        }
    };
    let (subject, object_id) = subject(&event_type, data);
    Ok(Envelope {
        subject,
        object_id,
        user_ids: found.user_ids.into_iter().collect(),
        body,
        instance_id: instance_id.and_then(id),
        occurred_at: timestamp.and_then(read_as).and_then(|at: Value| millis(&at)),
        event_type: clip(event_type),
    })
}

fn read_as<T: DeserializeOwned>(raw: &RawValue) -> Option<T> {
    serde_json::from_str(raw.get()).ok()
}

/// An id as a column can hold it: not empty, not absurdly long, no NUL.
fn id(raw: &RawValue) -> Option<String> {
    let id: String = read_as(raw)?;
    (!id.is_empty() && id.len() <= 255 && !id.contains('\0')).then_some(id)
}

fn clip(mut text: String) -> String {
    if text.len() > 255 {
        let end = (0..=255).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
        text.truncate(end);
    }
    text
}

/// The subject; and of sessions the id of the object itself.
fn subject(event_type: &str, data: &str) -> (Option<String>, Option<String>) {
    let names = ["id", "user_id", "organization", "public_user_data"];
    let [own, user, organization, person] = pick(data, names).unwrap_or_default();
    let member =
        |object: Option<&RawValue>, name| pick(object?.get(), [name]).ok()?.first().copied().flatten().and_then(id);
    if event_type.starts_with("organizationMembership.") {
        let pair = member(organization, "id").zip(member(person, "user_id"));
        // Without its pair the membership's own id stands as the subject.
        return (pair.map(|(organization, user)| format!("{organization}/{user}")).or_else(|| own.and_then(id)), None);
    }
    if event_type.starts_with("session.") {
        let session = own.and_then(id);
        return (user.and_then(id).or_else(|| session.clone()), session);
    }
    (own.and_then(id), None)
}

/// Whether brackets outside of strings are nested deeper than `limit`: a scan, so that no parser has to recurse first.
fn deeper_than(text: &str, limit: usize) -> bool {
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    for byte in text.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'{' | b'[' if !in_string => {
                depth += 1;
                if depth > limit {
                    return true;
                }
            }
            b'}' | b']' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(body: &str) -> &'static str {
        read(body.as_bytes()).unwrap_err().0
    }

    #[test]
    fn refuses_only_what_is_no_event() {
        assert_eq!(read(b"\xff{}").unwrap_err().0, "not UTF-8");
        assert_eq!(code(r#"{"type":"user.created","data":{"#), "not JSON");
        assert_eq!(code("[]"), "no string type and object data");
        assert_eq!(code(r#"{"type":1,"data":{}}"#), "no string type and object data");
        assert_eq!(code(r#"{"type":"x"}"#), "no string type and object data");
        assert_eq!(code(r#"{"type":"x","data":[]}"#), "no string type and object data");
        let nested =
            |depth: usize| format!(r#"{{"type":"x","data":{{"a":{}{}}}}}"#, "[".repeat(depth), "]".repeat(depth));
        assert_eq!(code(&nested(63)), "nested too deep");
        assert!(read(nested(62).as_bytes()).is_ok());
        assert!(read(br#"{"type":"x","data":{"a":"[[[[\"[[{"}}"#).is_ok());
        assert!(read(br#"{"type":"user.created","data":{"id":1e999}}"#).is_ok());
    }

    #[test]
    fn names_subject_and_people() {
        let membership = br#"{"type":"organizationMembership.created","data":{"id":"orgmem_1","organization":{"id":"org_1","created_by":"user_2"},"public_user_data":{"user_id":"user_1"}},"timestamp":1716883200}"#;
        let read = read(membership).unwrap();
        assert_eq!(read.subject.as_deref(), Some("org_1/user_1"));
        assert_eq!(read.user_ids, ["user_1", "user_2"]);
        assert_eq!(read.occurred_at.map(|at| at.timestamp_millis()), Some(1_716_883_200_000));
    }

    #[test]
    fn secrets_are_not_stored() {
        let phone = br#"{"type":"user.created","data":{"id":"user_1","phone_numbers":[{"backup_codes":["s3cr3t"]}]}}"#;
        let body = String::from_utf8(read(phone).unwrap().body.unwrap()).unwrap();
        assert!(!body.contains("s3cr3t") && body.contains("user_1"));
        assert_eq!(read(br#"{"type":"email.created","data":{"body":"123456"}}"#).unwrap().body, None);
    }
}
