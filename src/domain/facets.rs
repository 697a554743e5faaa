//! What a reader can see of a person, by name: the columns of `users`, then what hangs on them.
//!
//! Two rows are compared as they are; JSON is made only of what is shown. What is equal here is equal as JSON.

use serde_json::{Value, json};

use crate::clock::rfc3339;

use super::{Account, account::COLUMNS};

/// What stands beside the columns of `users`, in the order in which it is told.
const SIDES: [&str; 10] = [
    "status",
    "deletion_held_at",
    "email_addresses",
    "identities",
    "roles",
    "profile",
    "settings",
    "public_metadata",
    "private_metadata",
    "unsafe_metadata",
];

impl Account {
    /// Everything a reader can see change, by name.
    pub fn facets(&self) -> impl Iterator<Item = (&'static str, Value)> {
        let columns = COLUMNS.iter().zip(&self.columns).map(|(name, field)| (*name, field.to_json()));
        columns.chain(SIDES.into_iter().map(|name| (name, self.side(name))))
    }

    /// Those that differ from `before`: name, before, now.
    pub fn changed_facets(&self, before: &Self) -> impl Iterator<Item = (&'static str, Value, Value)> {
        let columns = COLUMNS.iter().zip(before.columns.iter().zip(&self.columns));
        let columns = columns.filter(|(_, (old, new))| old != new);
        let columns = columns.map(|(name, (old, new))| (*name, old.to_json(), new.to_json()));
        let sides = SIDES.into_iter().filter(|name| !self.same_side(before, name));
        columns.chain(sides.map(|name| (name, before.side(name), self.side(name))))
    }

    fn same_side(&self, other: &Self, name: &str) -> bool {
        match name {
            "status" => self.status == other.status,
            "deletion_held_at" => self.deletion_held_at == other.deletion_held_at,
            "email_addresses" => self.addresses == other.addresses,
            "identities" => self.identities == other.identities,
            "roles" => (&self.roles, &self.local_roles) == (&other.roles, &other.local_roles),
            "profile" => self.profile == other.profile,
            "settings" => (&self.settings, &self.mapped_settings) == (&other.settings, &other.mapped_settings),
            "public_metadata" => self.public_metadata == other.public_metadata,
            "private_metadata" => self.private_metadata == other.private_metadata,
            _ => self.unsafe_metadata == other.unsafe_metadata,
        }
    }

    fn side(&self, name: &str) -> Value {
        match name {
            "status" => json!(self.status.as_str()),
            "deletion_held_at" => json!(self.deletion_held_at.map(rfc3339)),
            "email_addresses" => self
                .addresses
                .values()
                .map(|a| json!({"email_address": a.email_address, "verified": a.verified, "primary": a.primary}))
                .collect(),
            "identities" => self
                .shown_identities()
                .map(|i| json!({"provider": i.provider, "provider_subject_id": i.subject}))
                .collect(),
            "roles" => self.roles.union(&self.local_roles).map(String::as_str).collect(),
            "profile" => json!({
                "has_image": self.profile.has_image,
                "phone_numbers": self.profile.phone_numbers,
                "web3_wallets": self.profile.web3_wallets,
                "legal_accepted_at": self.profile.legal_accepted_at.map(rfc3339),
            }),
            "settings" => {
                let mut settings = self.settings.clone();
                settings.extend(self.mapped_settings.clone());
                Value::Object(settings)
            }
            "public_metadata" => Value::Object(self.public_metadata.clone()),
            "private_metadata" => Value::Object(self.private_metadata.clone()),
            _ => Value::Object(self.unsafe_metadata.clone()),
        }
    }
}
