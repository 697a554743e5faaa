//! Lossless JSON: what is grammatical is read, written and read again without a difference.

use std::collections::BTreeMap;

use clerk_sync::json::{Value, parse::STORED_DEPTH};

use super::reference::{self, Tree};

/// Checks one text.
pub fn check(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let parsed = Value::parse(text);
    assert_eq!(parsed.is_ok(), reference::is_json(text), "the grammar");
    let Ok(value) = parsed else {
        assert!(Value::stored(text).is_null());
        return;
    };
    assert!(depth(&value) <= STORED_DEPTH);
    let written = value.to_string();
    assert_eq!(Value::parse(&written).as_ref(), Ok(&value), "written and read");
    assert_eq!(Value::parse(&format!("{value:#}")).as_ref(), Ok(&value), "written in lines and read");
    assert!(reference::is_json(&written));
    if let Some(tree) = reference::parse(text) {
        assert!(is_same(&value, &tree), "another parser reads {tree:?}");
    }
    // Our own values that come by way of `serde_json` lose nothing that it can hold.
    if let Ok(held) = serde_json::from_str::<serde_json::Value>(text)
        && !text.contains("$serde_json")
        && !text.contains("\\u")
    {
        assert_eq!(Value::from(held.clone()).to_string(), sorted(&held).to_string());
    }
}

fn depth(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Object(members) => 1 + members.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

fn is_same(value: &Value, tree: &Tree) -> bool {
    match (value, tree) {
        (Value::Null, Tree::Null) => true,
        (Value::Bool(ours), Tree::Bool(theirs)) => ours == theirs,
        (Value::Number(ours), tree) => tree.as_number() == Some(ours.as_str()),
        (Value::String(ours), Tree::String(theirs)) => ours == theirs,
        (Value::Array(ours), Tree::Array(theirs)) => {
            ours.len() == theirs.len() && ours.iter().zip(theirs).all(|(ours, theirs)| is_same(ours, theirs))
        }
        (Value::Object(ours), Tree::Object(theirs)) => {
            let theirs: BTreeMap<_, _> = theirs.iter().map(|(name, value)| (name, value)).collect();
            ours.len() == theirs.len()
                && ours.iter().zip(theirs).all(|(ours, theirs)| ours.0 == theirs.0 && is_same(ours.1, theirs.1))
        }
        _ => false,
    }
}

/// The same value with sorted members, whichever map `serde_json` has been built with.
fn sorted(value: &serde_json::Value) -> serde_json::Value {
    match value {
        serde_json::Value::Array(items) => items.iter().map(sorted).collect(),
        serde_json::Value::Object(members) => {
            let members: BTreeMap<_, _> = members.iter().map(|(name, value)| (name.clone(), sorted(value))).collect();
            members.into_iter().collect()
        }
        other => other.clone(),
    }
}
