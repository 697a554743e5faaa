//! What the receiver must know of a body before it stores it: type, subject, the people it names.
//! Everything beyond that is judged later, from the stored row.

use std::collections::BTreeSet;

use serde::Deserialize;
use serde_json::{Value, value::RawValue};

use crate::clock::Time;

use super::{fields::millis, private};

/// Deeper nesting than this is refused: nothing of Clerk's comes near it.
const DEPTH_MAX: usize = 64;

/// What a delivery's row holds of its body.
#[derive(Debug, Clone, PartialEq)]
pub struct Envelope {
    /// Clerk's type, e.g. `user.created`.
    pub event_type: String,
    /// Clerk's id of the subject; `org_…/user_…` for a membership.
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

#[derive(Deserialize)]
struct Outline<'a> {
    #[serde(rename = "type")]
    event_type: String,
    #[serde(borrow)]
    data: &'a RawValue,
}

/// Reads a signed body.
///
/// # Errors
/// [`InvalidPayload`], for exactly the reasons it names.
pub fn read(body: &[u8]) -> Result<Envelope, InvalidPayload> {
    let text = std::str::from_utf8(body).map_err(|_| InvalidPayload("not UTF-8"))?;
    if deeper_than(text, DEPTH_MAX) {
        return Err(InvalidPayload("nested too deep"));
    }
    let outline: Outline<'_> = serde_json::from_str(text).map_err(|error| match error.classify() {
        serde_json::error::Category::Data => InvalidPayload("no string type and object data"),
        _ => InvalidPayload("not JSON"),
    })?;
    if !outline.data.get().starts_with('{') {
        return Err(InvalidPayload("no string type and object data"));
    }
    // Grammatical JSON that no value can hold (a number beyond all numbers) is stored, and refused with a reason later.
    let mut value: Value = serde_json::from_str(text).unwrap_or_default();
    let event_type = outline.event_type.replace('\0', "\u{fffd}");
    let stripped = private::strip(&mut value);
    let body =
        private::keeps_body(&event_type).then(|| if stripped { value.to_string().into_bytes() } else { body.to_vec() });
    let mut user_ids = BTreeSet::new();
    collect_user_ids(&value, &mut user_ids);
    Ok(Envelope {
        subject: subject(&event_type, &value["data"]),
        object_id: event_type.starts_with("session.").then(|| id(&value["data"]["id"])).flatten(),
        user_ids: user_ids.into_iter().collect(),
        body,
        instance_id: id(&value["instance_id"]),
        occurred_at: millis(&value["timestamp"]),
        event_type: clip(event_type),
    })
}

/// An id as a column can hold it: not empty, not absurdly long, no NUL.
fn id(value: &Value) -> Option<String> {
    let id = value.as_str()?;
    (!id.is_empty() && id.len() <= 255 && !id.contains('\0')).then(|| id.to_owned())
}

fn clip(mut text: String) -> String {
    if text.len() > 255 {
        let end = (0..=255).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
        text.truncate(end);
    }
    text
}

fn subject(event_type: &str, data: &Value) -> Option<String> {
    if event_type.starts_with("organizationMembership.") {
        let pair = (id(&data["organization"]["id"])?, id(&data["public_user_data"]["user_id"])?);
        return Some(format!("{}/{}", pair.0, pair.1));
    }
    if event_type.starts_with("session.") {
        return id(&data["user_id"]).or_else(|| id(&data["id"]));
    }
    id(&data["id"])
}

fn collect_user_ids(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::String(text) => {
            let plain = |rest: &str| !rest.is_empty() && rest.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
            if text.len() <= 255 && text.strip_prefix("user_").is_some_and(plain) {
                found.insert(text.clone());
            }
        }
        Value::Array(items) => items.iter().for_each(|value| collect_user_ids(value, found)),
        Value::Object(members) => members.values().for_each(|value| collect_user_ids(value, found)),
        _ => {}
    }
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
