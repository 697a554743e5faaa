//! Bodies of organisations, memberships and sessions, in as few words as a test needs.

use serde_json::{Value, json};

const START: u64 = 1_760_000_000_000;

/// An `organization.updated` of `org_{name}` at `updated_at` (milliseconds after a fixed moment), made by `user_{creator}`.
pub(crate) fn organization(name: &str, creator: &str, updated_at: u64) -> Value {
    let at = START + updated_at;
    json!({
        "type": "organization.updated", "object": "event", "timestamp": at + 20, "instance_id": "ins_tests",
        "data": {
            "id": format!("org_{name}"), "object": "organization", "name": name, "slug": name,
            "created_by": format!("user_{creator}"), "created_at": START, "updated_at": at,
            "public_metadata": {}, "private_metadata": {},
        },
    })
}

/// An `organizationMembership.created` of `user_{user}` in `org_{organization}`, made and last updated at `at`; its id is
/// theirs.
pub(crate) fn member(organization: &str, user: &str, at: u64, role: &str) -> Value {
    json!({
        "type": "organizationMembership.created", "object": "event", "timestamp": START + at + 20, "instance_id": "ins_tests",
        "data": {
            "id": format!("orgmem_{user}_{organization}"), "object": "organization_membership", "role": role,
            "permissions": [], "created_at": START + at, "updated_at": START + at,
            "organization": {"id": format!("org_{organization}"), "object": "organization", "name": "as it was"},
            "public_user_data": {"user_id": format!("user_{user}"), "first_name": "as it was"},
        },
    })
}

/// The end of a membership.
pub(crate) fn ended(mut membership: Value) -> Value {
    membership["type"] = json!("organizationMembership.deleted");
    membership
}

/// An `organization.deleted`.
pub(crate) fn dissolved(name: &str, at: u64) -> Value {
    let data = json!({"id": format!("org_{name}"), "object": "organization", "deleted": true});
    json!({"type": "organization.deleted", "object": "event", "timestamp": START + at, "data": data})
}

/// A `session.{what}` of `user_{user}`.
pub(crate) fn session(name: &str, user: &str, what: &str) -> Value {
    json!({
        "type": format!("session.{what}"), "object": "event", "timestamp": START + 500, "instance_id": "ins_tests",
        "data": {
            "id": format!("sess_{name}"), "object": "session", "user_id": format!("user_{user}"), "status": what,
            "client_id": "client_tests", "latest_activity": {"ip_address": "203.0.113.20"},
        },
    })
}
