//! The identity tables as one comparable value: generated ids, our numbers and our clocks aside.

use std::collections::BTreeMap;

use clerk_sync::db::Pool;
use entity::{
    Id, JsonText, email_addresses, federated_identities, organization_memberships, organizations, roles, subjects,
    user_metadata, user_profiles, user_roles, user_settings, users,
};
use sea_orm::{ConnectionTrait as _, EntityTrait};
use serde_json::{Value, json};

/// Every table that events fill, in an order in which they can be emptied.
const FILLED: [&str; 22] = [
    "organization_memberships",
    "organizations",
    "tombstone_addresses",
    "user_roles",
    "roles",
    "user_profiles",
    "user_settings",
    "user_metadata",
    "email_addresses",
    "federated_identities",
    "users",
    "subjects",
    "inbox",
    "outbox",
    "dead_letters",
    "conflicts",
    "conflict_decisions",
    "alerts",
    "audit_log",
    "revoked_sessions",
    "wakes",
    "applier_progress",
];

/// Takes every row away that events have brought.
pub(crate) async fn empty(db: &Pool) {
    let statements: String = FILLED.iter().map(|table| format!("delete from clerk_sync.{table};")).collect();
    db.execute_unprepared(&format!("begin;{statements}commit")).await.unwrap();
}

fn ms(time: Option<chrono::DateTime<chrono::Utc>>) -> Value {
    json!(time.map(|time| time.timestamp_millis()))
}

/// Every user with everything that hangs on it, by Clerk id; every organisation and membership; and every subject.
pub(crate) async fn snapshot(db: &Pool) -> Value {
    let users = users::Entity::find().all(db).await.unwrap();
    let ids: BTreeMap<Id, String> = users.iter().map(|user| (user.id, user.clerk_id.clone().unwrap())).collect();
    let mut out: BTreeMap<String, Value> = BTreeMap::new();
    for u in users {
        let row = json!({
            "clerk_id": u.clerk_id, "user_type": u.user_type, "external_id": u.external_id, "username": u.username,
            "first_name": u.first_name, "last_name": u.last_name, "display_name": u.display_name, "email": u.email,
            "email_verified": u.email_verified, "phone": u.phone, "image_url": u.image_url, "locale": u.locale,
            "status": u.status, "deletion_held_at": ms(u.deletion_held_at), "password_enabled": u.password_enabled,
            "two_factor_enabled": u.two_factor_enabled, "last_sign_in_at": ms(u.last_sign_in_at),
            "clerk_created_at": ms(u.clerk_created_at), "clerk_updated_at": ms(u.clerk_updated_at),
            "deleted_at": ms(u.deleted_at), "version": u.version,
            "email_addresses": [], "identities": [], "roles": [],
        });
        out.insert(u.clerk_id.unwrap(), row);
    }
    let mut put = |id: Id, key: &str, value: Value| {
        let row = out.get_mut(&ids[&id]).unwrap();
        match row.get_mut(key) {
            Some(Value::Array(list)) => list.push(value),
            _ => row[key] = value,
        }
    };
    let mut addresses = email_addresses::Entity::find().all(db).await.unwrap();
    addresses.sort_by(|a, b| a.email_address.cmp(&b.email_address));
    for a in addresses {
        put(
            a.user_id,
            "email_addresses",
            json!({"email_address": a.email_address, "verified": a.verified, "primary": a.primary}),
        );
    }
    let mut identities = federated_identities::Entity::find().all(db).await.unwrap();
    identities.sort_by_key(|i| (i.provider.clone(), i.connection.clone(), i.provider_subject_id.clone()));
    for i in identities {
        let mut row =
            json!({"provider": i.provider, "provider_subject_id": i.provider_subject_id, "current": i.current});
        // Scenarios say nothing of what OAuth has none of.
        if !i.connection.is_empty() {
            row["connection"] = json!(i.connection);
        }
        put(i.user_id, "identities", row);
    }
    let names: BTreeMap<Id, String> =
        roles::Entity::find().all(db).await.unwrap().into_iter().map(|r| (r.id, r.name)).collect();
    let mut granted: Vec<(Id, String)> = user_roles::Entity::find()
        .all(db)
        .await
        .unwrap()
        .into_iter()
        .map(|r| (r.user_id, names[&r.role_id].clone()))
        .collect();
    granted.sort_by(|a, b| a.1.cmp(&b.1));
    for (id, name) in granted {
        put(id, "roles", json!(name));
    }
    for p in user_profiles::Entity::find().all(db).await.unwrap() {
        put(
            p.user_id,
            "profile",
            json!({"has_image": p.has_image, "phone_numbers": read(&p.phone_numbers), "web3_wallets": read(&p.web3_wallets), "legal_accepted_at": ms(p.legal_accepted_at)}),
        );
    }
    for s in user_settings::Entity::find().all(db).await.unwrap() {
        put(s.user_id, "settings", json!({"settings": read(&s.settings), "mapped": read(&s.mapped)}));
    }
    for m in user_metadata::Entity::find().all(db).await.unwrap() {
        put(m.user_id, "public_metadata", read(&m.public_metadata));
        put(m.user_id, "private_metadata", read(&m.private_metadata));
        put(m.user_id, "unsafe_metadata", read(&m.unsafe_metadata));
    }
    let mut facts: Vec<Value> = Vec::new();
    for s in subjects::Entity::find().all(db).await.unwrap() {
        facts.push(json!({"kind": s.kind, "key": s.key, "version": s.version, "entered": s.entered, "deleted": s.deleted, "deleted_at": ms(s.deleted_at), "banned": s.banned, "deprovisioned": s.deprovisioned, "pair": s.pair}));
    }
    facts.sort_by_key(|fact| fact["key"].as_str().unwrap().to_owned());
    let (organizations, memberships) = organized(db, &ids).await;
    json!({
        "users": out.into_values().collect::<Vec<_>>(), "subjects": facts,
        "organizations": organizations, "memberships": memberships,
    })
}

/// A JSON column; its text where no `serde_json::Value` can hold it.
pub(crate) fn read(column: &JsonText) -> Value {
    serde_json::from_str(&column.0).unwrap_or_else(|_| json!(column.0))
}

/// Organisations by Clerk id, the owner by theirs; memberships by their pair.
async fn organized(db: &Pool, users: &BTreeMap<Id, String>) -> (Vec<Value>, Vec<Value>) {
    let (mut names, mut out): (BTreeMap<Id, String>, BTreeMap<String, Value>) = Default::default();
    for o in organizations::Entity::find().all(db).await.unwrap() {
        let row = json!({
            "clerk_id": o.clerk_id, "name": o.name, "slug": o.slug, "image_url": o.image_url,
            "created_by": o.created_by, "owner": o.owner_id.map(|id| users[&id].clone()),
            "members_count": o.members_count, "public_metadata": read(&o.public_metadata),
            "private_metadata": read(&o.private_metadata), "status": o.status, "clerk_created_at": ms(o.clerk_created_at),
            "clerk_updated_at": ms(o.clerk_updated_at), "deleted_at": ms(o.deleted_at), "version": o.version,
        });
        names.insert(o.id, o.clerk_id.clone());
        out.insert(o.clerk_id, row);
    }
    let mut members: BTreeMap<String, Value> = BTreeMap::new();
    for m in organization_memberships::Entity::find().all(db).await.unwrap() {
        let (organization, user) = (&names[&m.organization_id], &users[&m.user_id]);
        let key = format!("{organization}/{user}");
        let row = json!({
            "key": key, "organization": organization, "user": user, "clerk_id": m.clerk_id, "role": m.role,
            "permissions": m.permissions, "clerk_created_at": ms(m.clerk_created_at),
            "clerk_updated_at": ms(m.clerk_updated_at), "version": m.version,
        });
        members.insert(key, row);
    }
    (out.into_values().collect(), members.into_values().collect())
}
