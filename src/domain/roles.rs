//! Roles of source `clerk` are a function of the newest version: the grantable ones it names, else the default
//! role. `admin` is not grantable unless the operator lists it. Local roles are never touched.

use std::collections::BTreeSet;

use crate::json::Value;

use super::{Policy, User, settings::lookup};

/// The roles that a snapshot gives, and those it names that may not be granted (each is worth an alert).
pub fn roles(user: &User, policy: &Policy) -> (BTreeSet<String>, BTreeSet<String>) {
    let named: BTreeSet<String> = match lookup(user, &policy.roles_path) {
        Some(Value::String(role)) => [role.trim().to_owned()].into(),
        Some(Value::Array(roles)) => {
            roles.iter().filter_map(Value::as_str).map(|role| role.trim().to_owned()).collect()
        }
        _ => BTreeSet::new(),
    };
    let (mut granted, refused): (BTreeSet<_>, BTreeSet<_>) =
        named.into_iter().filter(|role| !role.is_empty()).partition(|role| policy.grantable.contains(role));
    if granted.is_empty() && !policy.default_role.is_empty() {
        granted.insert(policy.default_role.clone());
    }
    (granted, refused)
}
