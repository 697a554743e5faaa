//! What changed, by name, for the audit trail and for whoever asks what a replay would do.

use crate::json::{Object, Value, json};

use super::{Account, membership::Member, organization::Org};

/// Changed fields of a person with `[before, after]`; private metadata masked.
pub fn person(before: Option<&Account>, after: &Account) -> Object {
    let pairs: Vec<(&'static str, Value, Value)> = match before {
        None => after.facets().map(|(name, new)| (name, Value::Null, new)).collect(),
        Some(before) => after.changed_facets(before).collect(),
    };
    told(pairs)
}

/// The same of an organisation.
pub fn organization(before: Option<&Org>, after: &Org) -> Object {
    changes(before.map(Org::facets), after.facets())
}

/// The same of a membership, which may come or go.
pub fn member(before: Option<&Member>, after: Option<&Member>) -> Object {
    changes(before.map(Member::facets), after.map(Member::facets).unwrap_or_default())
}

fn changes(before: Option<Vec<(&'static str, Value)>>, after: Vec<(&'static str, Value)>) -> Object {
    let gone = after.is_empty();
    let pairs: Vec<(&'static str, Value, Value)> = match before {
        None => after.into_iter().map(|(name, new)| (name, Value::Null, new)).collect(),
        Some(before) if gone => before.into_iter().map(|(name, old)| (name, old, Value::Null)).collect(),
        Some(before) => before.into_iter().zip(after).map(|((name, old), (_, new))| (name, old, new)).collect(),
    };
    told(pairs)
}

/// Changed facets with `[before, after]`, whoever's they are; private metadata masked. Of a new row, every one that is
/// not empty; of one that went, likewise.
fn told(pairs: Vec<(&'static str, Value, Value)>) -> Object {
    let empty = |value: &Value| match value {
        Value::Null | Value::Bool(false) => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(members) => members.is_empty(),
        _ => false,
    };
    let mut diff = Object::new();
    for (name, old, new) in pairs {
        let changed = if old.is_null() || new.is_null() { !(empty(&old) && empty(&new)) } else { old != new };
        if changed {
            let pair = if name == "private_metadata" { json!(["***", "***"]) } else { Value::Array(vec![old, new]) };
            diff.insert(name.to_owned(), pair);
        }
    }
    diff
}
