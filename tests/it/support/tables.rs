//! The identity tables as one comparable value: generated ids, our numbers and our clocks aside.

use std::collections::BTreeMap;

use entity::{
    Id, email_addresses, federated_identities, roles, subjects, user_metadata, user_profiles, user_roles,
    user_settings, users,
};
use sea_orm::{DatabaseConnection, EntityTrait};
use serde_json::{Value, json};

fn ms(time: Option<chrono::DateTime<chrono::Utc>>) -> Value {
    json!(time.map(|time| time.timestamp_millis()))
}

/// Every user with everything that hangs on it, by Clerk id; and every subject.
pub(crate) async fn snapshot(db: &DatabaseConnection) -> Value {
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
    identities.sort_by(|a, b| (&a.provider, &a.provider_subject_id).cmp(&(&b.provider, &b.provider_subject_id)));
    for i in identities {
        put(
            i.user_id,
            "identities",
            json!({"provider": i.provider, "provider_subject_id": i.provider_subject_id, "current": i.current}),
        );
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
            json!({"has_image": p.has_image, "phone_numbers": p.phone_numbers, "web3_wallets": p.web3_wallets, "legal_accepted_at": ms(p.legal_accepted_at)}),
        );
    }
    for s in user_settings::Entity::find().all(db).await.unwrap() {
        put(s.user_id, "settings", json!({"settings": s.settings, "mapped": s.mapped}));
    }
    for m in user_metadata::Entity::find().all(db).await.unwrap() {
        put(m.user_id, "public_metadata", m.public_metadata);
        put(m.user_id, "private_metadata", m.private_metadata);
        put(m.user_id, "unsafe_metadata", m.unsafe_metadata);
    }
    let mut facts: Vec<Value> = Vec::new();
    for s in subjects::Entity::find().all(db).await.unwrap() {
        facts.push(json!({"kind": s.kind, "key": s.key, "version": s.version, "entered": s.entered, "deleted": s.deleted, "deleted_at": ms(s.deleted_at)}));
    }
    facts.sort_by_key(|fact| fact["key"].as_str().unwrap().to_owned());
    json!({"users": out.into_values().collect::<Vec<_>>(), "subjects": facts})
}
