//! Objects of Clerk's API in the shape of deliveries, so that one decoder reads both. They carry no time of their own:
//! where they are ordered, `updated_at` stands in for the envelope's.

use serde_json::{json, value::RawValue};
use sha2::{Digest as _, Sha256};

use crate::{clock::Time, domain::event::Absence, json::Value};

use super::decode::Stored;

pub use crate::domain::plan::Kind;

fn updated(kind: Kind) -> &'static str {
    match kind {
        Kind::User => "user.updated",
        Kind::Organization => "organization.updated",
        Kind::Membership | Kind::MembershipId => "organizationMembership.updated",
    }
}

/// An object as an event that says so. Its id is a function of what it says: asked twice, it is one.
pub fn stored(kind: Kind, object: &RawValue) -> Stored {
    let event_type = updated(kind);
    let body = format!(r#"{{"data":{},"object":"event","type":"{event_type}"}}"#, object.get());
    let digest = Sha256::digest(body.as_bytes());
    let digest: String = digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    made(format!("api_{digest}"), event_type, body, None)
}

/// Types of what a comparison inferred. Clerk sends none of them.
pub(super) fn absent_type(kind: Kind) -> &'static str {
    match kind {
        Kind::User => "comparison.user_absent",
        Kind::Organization => "comparison.organization_absent",
        Kind::Membership | Kind::MembershipId => "comparison.membership_absent",
    }
}

/// That a comparison found a subject absent at Clerk at `at`, in the shape of a delivery.
pub fn absent(Absence { kind, key, seen }: &Absence, at: Time) -> Stored {
    let event_type = absent_type(*kind);
    let data = json!({"id": key, "version": seen.as_str()});
    let body = json!({"data": data, "object": "event", "type": event_type, "timestamp": at.timestamp_millis()});
    made(format!("api_{}", uuid::Uuid::new_v4().simple()), event_type, body.to_string(), Some(at))
}

fn made(id: String, event_type: &str, body: String, occurred_at: Option<Time>) -> Stored {
    Stored {
        seq: 0,
        svix_id: id,
        event_type: event_type.to_owned(),
        body: Some(body.into_bytes()),
        instance_id: None,
        occurred_at,
        received_at: None,
        subject: None,
        object_id: None,
    }
}

/// The members of an object that scans look at; what is missing or of the wrong kind is `None`.
#[derive(Debug, Clone, Default)]
#[expect(missing_docs, reason = "the names are Clerk's")]
pub struct Outline {
    pub id: Option<String>,
    pub created_at: Option<Time>,
    pub updated_at: Option<Time>,
}

/// Reads them.
pub fn outline(object: &RawValue) -> Outline {
    let object = Value::stored(object.get());
    Outline {
        id: object["id"].as_str().map(str::to_owned),
        created_at: super::fields::millis(&object["created_at"]),
        updated_at: super::fields::millis(&object["updated_at"]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{clerk::decode::decode, domain::Change};

    fn raw(text: &str) -> Box<RawValue> {
        RawValue::from_string(text.to_owned()).unwrap()
    }

    #[test]
    fn an_object_is_one_event_however_often_it_is_asked_for() {
        let object = raw(r#"{"id":"user_1","updated_at":1735197879343}"#);
        let (once, again) = (stored(Kind::User, &object), stored(Kind::User, &object));
        assert_eq!(once.svix_id, again.svix_id);
        assert_ne!(once.svix_id, stored(Kind::User, &raw(r#"{"id":"user_1","updated_at":1735197879344}"#)).svix_id);
        assert!(matches!(decode(once, None).change, Change::User(snapshot) if snapshot.user.clerk_id == "user_1"));
    }

    #[test]
    fn what_is_absent_decodes_as_an_inference() {
        let at = crate::clock::from_millis(1_735_197_879_343).unwrap();
        for (kind, key) in [(Kind::User, "user_1"), (Kind::Organization, "org_1"), (Kind::Membership, "org_1/user_1")] {
            let seen = crate::domain::Version::of(7, 9, &"");
            let absence = Absence { kind, key: key.into(), seen };
            let event = decode(absent(&absence, at), None);
            assert_eq!(event.occurred_at, Some(at));
            assert!(matches!(event.change, Change::Absent(read) if read == absence));
        }
    }

    #[test]
    fn outlines_are_lenient() {
        let read = outline(&raw(r#"{"id":7,"created_at":"x","updated_at":1735197879343,"more":[1]}"#));
        assert!(read.id.is_none() && read.created_at.is_none() && read.updated_at.is_some());
        assert!(outline(&raw("[]")).id.is_none());
    }
}
