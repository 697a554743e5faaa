//! How readers see a person: the same object on the change feed, the websocket, in the cache and over HTTP.
//! Column names; times RFC 3339; never `version`, never `private_metadata`.

use crate::{
    clock::rfc3339,
    json::{Object, Value, json},
};

use super::{Account, account::Field, membership::Member, organization::Org};

/// The whole object. A deleted person's holds only what the emptied row holds.
pub fn user(account: &Account) -> Object {
    let mut view = Object::new();
    view.insert("id".into(), json!(account.id));
    view.insert("clerk_id".into(), json!(account.clerk_id));
    if account.is_live() {
        view.insert("user_type".into(), json!("permanent"));
        let facets = account.facets().filter(|(name, _)| *name != "private_metadata");
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
pub fn only(object: &Object, names: &[String]) -> Object {
    names.iter().filter_map(|name| Some((name.clone(), object.get(name)?.clone()))).collect()
}

/// An organisation as its members see it: never `private_metadata`.
pub fn organization(row: &Org) -> Object {
    let mut view = Object::new();
    view.insert("id".into(), json!(row.id));
    view.insert("clerk_id".into(), json!(row.shown.clerk_id));
    if row.live {
        let facets = row.facets().into_iter().filter(|(name, _)| *name != "private_metadata");
        view.extend(facets.map(|(name, value)| (name.to_owned(), value)));
        view.insert("created_at".into(), json!(rfc3339(row.created_at)));
        view.insert("updated_at".into(), json!(rfc3339(row.updated_at)));
    } else {
        view.insert("status".into(), json!(row.status()));
        view.insert("deleted_at".into(), json!(row.deleted_at.map(rfc3339)));
    }
    view.insert("rev".into(), json!(row.rev));
    view
}

/// A membership whole, with the member's public profile under `user`.
pub fn member(row: &Member, person: Option<&Account>) -> Object {
    let mut view = Object::new();
    view.insert("id".into(), json!(row.id));
    view.insert("organization_id".into(), json!(row.organization_id));
    view.insert("organization_clerk_id".into(), json!(row.shown.pair.organization));
    view.insert("user_id".into(), json!(row.user_id));
    view.insert("user_clerk_id".into(), json!(row.shown.pair.user));
    view.extend(row.facets().into_iter().map(|(name, value)| (name.to_owned(), value)));
    view.insert("created_at".into(), json!(rfc3339(row.created_at)));
    view.insert("updated_at".into(), json!(rfc3339(row.updated_at)));
    view.insert("user".into(), Value::Object(profile(row, person)));
    view.insert("rev".into(), json!(row.rev));
    view
}

/// What the members of an organisation see of one another. Of somebody deleted only the ids are left.
pub fn profile(row: &Member, person: Option<&Account>) -> Object {
    let column = |name: &str| person.and_then(|account| account.column(name)).map(Field::to_json).unwrap_or_default();
    let mut view = Object::new();
    view.insert("id".into(), json!(row.user_id));
    view.insert("clerk_id".into(), json!(row.shown.pair.user));
    view.insert("display_name".into(), column("display_name"));
    view.insert("image_url".into(), column("image_url"));
    view.insert("role".into(), json!(row.shown.role));
    view
}
