//! What the receiver must know of a body before it stores it: type, subject, the people it names.
//! Everything beyond that is judged later, from the stored row.

use std::borrow::Cow;

use crate::{clock::Time, json::Number};

use super::{
    fields::millis,
    private,
    walk::{Ids, cut, walk},
};

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

/// The body is not UTF-8 JSON, or is not an object with a string `type` and an object `data`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the body is not a Clerk event: {0}")]
pub struct InvalidPayload(pub &'static str);

/// Reads a signed body.
///
/// # Errors
/// [`InvalidPayload`], for exactly the reasons it names.
pub fn read(body: &[u8]) -> Result<Envelope, InvalidPayload> {
    let text = std::str::from_utf8(body).map_err(|_| InvalidPayload("not UTF-8"))?;
    let found = walk(text).map_err(|_| InvalidPayload("not JSON"))?;
    let event_type = found.event_type.filter(|_| found.has_data);
    let event_type = event_type.ok_or(InvalidPayload("no string type and object data"))?;
    let keeps_body = private::keeps_body(&event_type);
    // What stood only in a secret member is gone with it.
    let left = (!found.secrets.is_empty()).then(|| cut(text, &found.secrets));
    let user_ids = match &left {
        Some(left) => walk(left).map(|found| found.user_ids).unwrap_or_default(),
        None => found.user_ids,
    };
    let (subject, object_id) = subject(&event_type, found.ids);
    Ok(Envelope {
        subject,
        object_id,
        user_ids: user_ids.into_iter().collect(),
        body: keeps_body.then(|| left.map_or_else(|| body.to_vec(), String::into_bytes)),
        instance_id: found.instance_id.and_then(instance),
        occurred_at: found.timestamp.and_then(|at| millis(&Number::written(at).into())),
        event_type: clip(event_type.into_owned()),
    })
}

/// An id as a column can hold it: not empty, not absurdly long.
fn id(id: Cow<'_, str>) -> Option<String> {
    (!id.is_empty() && id.len() <= 255).then(|| id.into_owned())
}

/// One that is too long is clipped, not left out: it is still of another instance than the configured one.
fn instance(id: Cow<'_, str>) -> Option<String> {
    (!id.is_empty()).then(|| clip(id.into_owned()))
}

fn clip(mut text: String) -> String {
    if text.len() > 255 {
        let end = (0..=255).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
        text.truncate(end);
    }
    text
}

/// The subject; and of sessions the id of the object itself.
fn subject(event_type: &str, ids: Ids<'_>) -> (Option<String>, Option<String>) {
    if event_type.starts_with("organizationMembership.") {
        let pair = ids.organization_id.and_then(id).zip(ids.public_user_data_user_id.and_then(id));
        // Without its pair the membership's own id stands as the subject.
        let pair = pair.map(|(organization, user)| format!("{organization}/{user}"));
        return (pair.or_else(|| ids.id.and_then(id)), None);
    }
    let own = ids.id.and_then(id);
    if event_type.starts_with("session.") {
        return (ids.user_id.and_then(id).or_else(|| own.clone()), own);
    }
    (own, None)
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
        assert_eq!(code(r#"{"type":"x","data":{}} {}"#), "not JSON");
        assert!(read(br#"{"type":"user.created","data":{"id":1e999}}"#).is_ok());
    }

    /// What any signed-in user can write into `unsafe_metadata` leaves a delivery readable.
    #[test]
    fn nothing_that_users_write_hides_an_event() {
        let deep = format!("{}{}", "[".repeat(70), "]".repeat(70));
        let very_deep = format!("{}{}", "[".repeat(200_000), "]".repeat(200_000));
        for written in [
            r#""half \ud83d""#,
            "1e400",
            "1.7976931348623157e308",
            "-1e-999999",
            &deep,
            &very_deep,
            r#"{"\udfff":{"\u0000":0}}"#,
            r#"{"$serde_json::private::RawValue":"{"}"#,
            r#"{"$serde_json::private::Number":"x"}"#,
            r#"{"type":"x","data":[],"id":7}"#,
        ] {
            let body = format!(
                r#"{{"data":{{"unsafe_metadata":{{"a":{written}}},"id":"user_1","web3_wallets":[{{"verification":{{"nonce":"s3cr3t"}}}}]}},
                    "type":"user.updated","timestamp":1735197879343,"instance_id":"ins_1"}}"#
            );
            let envelope = read(body.as_bytes()).unwrap();
            assert_eq!(envelope.subject.as_deref(), Some("user_1"), "{written:.40}");
            assert_eq!(envelope.user_ids, ["user_1"]);
            assert!(envelope.occurred_at.is_some() && envelope.instance_id.as_deref() == Some("ins_1"));
            let stored = String::from_utf8(envelope.body.unwrap()).unwrap();
            assert!(!stored.contains("s3cr3t") && stored.contains(written));
        }
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
