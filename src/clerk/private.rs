//! The one list of what Clerk sends and we never store (P8).

use crate::json::Value;

/// Members that hold secrets, wherever they stand. They are removed before a body is stored.
pub(super) const SECRET_MEMBERS: [&str; 4] = ["backup_codes", "nonce", "password_digest", "totp_secret"];

/// Members that are a team's own: nothing in them is Clerk's to be a secret.
pub(super) const METADATA: [&str; 3] = ["public_metadata", "private_metadata", "unsafe_metadata"];

/// Types whose bodies are not stored at all: they carry one-time codes, magic links, tickets, or whole persons
/// that no rule reads. Only id, type and subject are kept.
const BODILESS: [&str; 5] = ["email.", "sms.", "session.", "organizationInvitation.", "waitlistEntry."];

/// What is said of an event whose body is needed and was emptied.
pub const BODY_EMPTIED: &str = "body emptied by retention or erasure";

/// Whether a body of this type is stored.
pub fn keeps_body(event_type: &str) -> bool {
    !BODILESS.iter().any(|prefix| event_type.starts_with(prefix))
}

/// A copy of a body for people to look at: `private_metadata` masked, wherever it stands.
pub fn mask(value: &mut Value) {
    match value {
        Value::Object(members) => members.iter_mut().for_each(|(name, value)| match name.as_str() {
            "private_metadata" if !value.is_null() => *value = Value::String("***".into()),
            _ => mask(value),
        }),
        Value::Array(items) => items.iter_mut().for_each(mask),
        _ => {}
    }
}
