//! Bodies of people, in as few words as a test needs.

use serde_json::{Value, json};

/// A `user.updated` of `user_{name}` at `updated_at` (milliseconds after a fixed moment), with one verified address.
pub(crate) fn user(name: &str, updated_at: u64) -> Value {
    let at = 1_760_000_000_000 + updated_at;
    json!({
        "type": "user.updated", "object": "event", "timestamp": at + 20, "instance_id": "ins_tests",
        "data": {
            "id": format!("user_{name}"), "object": "user", "first_name": name, "last_name": "Tester",
            "created_at": 1_760_000_000_000_u64, "updated_at": at,
            "primary_email_address_id": format!("idn_{name}"),
            "email_addresses": [address(&format!("{name}@example.com"), &format!("idn_{name}"))],
            "public_metadata": {}, "private_metadata": {}, "unsafe_metadata": {},
        },
    })
}

/// A verified address.
pub(crate) fn address(address: &str, id: &str) -> Value {
    json!({"id": id, "object": "email_address", "email_address": address, "verification": {"status": "verified", "strategy": "email_code"}})
}

/// The same body with one member of `data` set.
pub(crate) fn with(mut body: Value, member: &str, value: Value) -> Value {
    body["data"][member] = value;
    body
}

/// A `user.deleted`.
pub(crate) fn deleted(name: &str, at: u64) -> Value {
    let at = 1_760_000_000_000 + at;
    json!({"type": "user.deleted", "object": "event", "timestamp": at, "data": {"id": format!("user_{name}"), "object": "user", "deleted": true}})
}
