//! The one list of what Clerk sends and we never store (P8).

use crate::json::Value;

/// Members that hold secrets, wherever they stand. They are removed before a body is stored.
pub(super) const SECRET_MEMBERS: [&str; 4] = ["backup_codes", "nonce", "password_digest", "totp_secret"];

/// Members that are a team's own: nothing in them is Clerk's to be a secret.
pub(super) const METADATA: [&str; 3] = ["public_metadata", "private_metadata", "unsafe_metadata"];

/// Types whose bodies are not stored at all: they carry one-time codes, magic links, tickets, or whole persons
/// that no rule reads. Only id, type and subject are kept.
const BODILESS: [&str; 5] = ["email.", "sms.", "session.", "organizationInvitation.", "waitlistEntry."];

/// Types that no rule reads yet and a later version will, as prefixes: merged users, and the kinds that are to be mirrored.
///
/// Their events end `skipped: ignored`, and retention leaves their bodies alone, so that `replay` finds them then. The
/// invitations and the waitlist are bodiless until that version cuts their tickets. `entity::inbox::SPENT` says the same
/// in SQL; a test compares the two.
const READ_LATER: [&str; 9] = [
    "user.merged",
    "role.",
    "permission.",
    "organizationDomain.",
    "subscription.",
    "subscriptionItem.",
    "paymentAttempt.",
    "organizationInvitation.",
    "waitlistEntry.",
];

/// Whether a later version reads this type: what is stored of it is kept until then.
pub fn is_read_later(event_type: &str) -> bool {
    READ_LATER.iter().any(|prefix| event_type.starts_with(prefix))
}

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

#[cfg(test)]
mod tests {
    use super::*;

    /// The index over bodies that may be emptied leaves out exactly the stored types that a later version reads.
    #[test]
    fn retention_leaves_out_what_is_read_later() {
        let kept = READ_LATER.iter().filter(|prefix| keeps_body(prefix));
        let clauses: String = kept.map(|prefix| format!(" and event_type not like '{prefix}%'")).collect();
        assert_eq!(entity::inbox::SPENT, format!("body is not null and state in ('done', 'skipped'){clauses}"));
        assert!(is_read_later("user.merged") && is_read_later("role.updated") && !is_read_later("user.updated"));
        assert!(!keeps_body("organizationInvitation.created") && !keeps_body("waitlistEntry.updated"));
    }
}
