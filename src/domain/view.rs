//! How readers see a person: the same object on the change feed, the websocket, in the cache and over HTTP.
//! Column names; times RFC 3339; never `version`, never `private_metadata`.

use serde_json::{Map, Value, json};

use crate::clock::rfc3339;

use super::Account;

/// The whole object. A deleted person's holds only what the emptied row holds.
pub fn user(account: &Account) -> Map<String, Value> {
    let mut view = Map::new();
    view.insert("id".into(), json!(account.id));
    view.insert("clerk_id".into(), json!(account.clerk_id));
    if account.is_live() {
        view.insert("user_type".into(), json!("permanent"));
        let facets = account.facets().into_iter().filter(|(name, _)| *name != "private_metadata");
        view.extend(facets.map(|(name, value)| (name.to_owned(), value)));
        view.insert("created_at".into(), json!(rfc3339(account.created_at)));
        view.insert("updated_at".into(), json!(rfc3339(account.updated_at)));
    } else {
        view.insert("status".into(), json!(account.status.as_str()));
        view.insert("deleted_at".into(), json!(account.deleted_at.map(rfc3339)));
    }
    view.insert("rev".into(), json!(account.rev));
    view
}

/// Only the named members of an object, in the order of the names.
pub fn only(object: &Map<String, Value>, names: &[String]) -> Map<String, Value> {
    names.iter().filter_map(|name| Some((name.clone(), object.get(name)?.clone()))).collect()
}
