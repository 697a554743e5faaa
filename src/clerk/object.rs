//! Objects of Clerk's API in the shape of deliveries, so that one decoder reads both. They carry no time of their own:
//! where they are ordered, `updated_at` stands in for the envelope's.

use serde_json::{json, value::RawValue};
use sha2::{Digest as _, Sha256};

use crate::{clock::Time, json::Value};

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

/// What a deletion would have said that never arrived.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Gone {
    User { clerk_id: String },
    Organization { clerk_id: String },
    Membership { clerk_id: String, organization: String, user: String, role: String, created_at: Option<Time> },
}

/// A deletion found out at `at`.
pub fn gone(what: &Gone, at: Time) -> Stored {
    let ms = at.timestamp_millis();
    let (event_type, data) = match what {
        Gone::User { clerk_id } => ("user.deleted", json!({"id": clerk_id, "object": "user", "deleted": true})),
        Gone::Organization { clerk_id } => {
            ("organization.deleted", json!({"id": clerk_id, "object": "organization", "deleted": true}))
        }
        Gone::Membership { clerk_id, organization, user, role, created_at } => (
            "organizationMembership.deleted",
            json!({"id": clerk_id, "object": "organization_membership", "role": role,
                "created_at": created_at.map(|at| at.timestamp_millis()), "updated_at": ms,
                "organization": {"id": organization}, "public_user_data": {"user_id": user}}),
        ),
    };
    let body = json!({"data": data, "object": "event", "type": event_type, "timestamp": ms}).to_string();
    made(format!("api_{}", uuid::Uuid::new_v4().simple()), event_type, body, Some(at))
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
    fn what_is_gone_decodes_as_its_deletion() {
        let at = crate::clock::from_millis(1_735_197_879_343).unwrap();
        let user = gone(&Gone::User { clerk_id: "user_1".into() }, at);
        let event = decode(user, None);
        assert_eq!(event.occurred_at, Some(at));
        assert!(matches!(event.change, Change::UserDeleted { clerk_id } if clerk_id == "user_1"));
        let pair = Gone::Membership {
            clerk_id: "orgmem_1".into(),
            organization: "org_1".into(),
            user: "user_1".into(),
            role: "org:member".into(),
            created_at: Some(at),
        };
        assert!(matches!(decode(gone(&pair, at), None).change, Change::Membership(told) if told.is_end()));
    }

    #[test]
    fn outlines_are_lenient() {
        let read = outline(&raw(r#"{"id":7,"created_at":"x","updated_at":1735197879343,"more":[1]}"#));
        assert!(read.id.is_none() && read.created_at.is_none() && read.updated_at.is_some());
        assert!(outline(&raw("[]")).id.is_none());
    }
}
