//! What a reader can see of a person, by name: the columns of `users`, then what hangs on them.
//!
//! Two rows are compared as they are; JSON is made only of what is shown. What is equal here is equal as JSON.

use crate::{
    clock::rfc3339,
    json::{Value, json},
};

use super::{Account, account::COLUMNS, user::Identity};

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
            "identities" => self.shown_identities().map(Identity::to_json).collect(),
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

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::{
        clock::from_millis,
        domain::{Policy, User, Version, account::Field, emails::Address, status::Status, user::Identity},
    };

    type Change<'a> = (&'a str, &'a dyn Fn(&mut Account));

    /// What differs by way of JSON.
    fn differing(before: &Account, after: &Account) -> Vec<&'static str> {
        before.facets().zip(after.facets()).filter(|(old, new)| old != new).map(|((name, _), _)| name).collect()
    }

    #[test]
    fn rows_are_compared_as_their_json_would_be() {
        let now = from_millis(1_760_000_000_000).unwrap();
        let user = User { clerk_id: "user_a".into(), ..User::default() };
        let show = Account::show(None, &user, Version::of(1, 1, &""), &Policy::default(), Uuid::nil(), now);
        let address = |verified| Address { email_address: "a@example.com".into(), verified, primary: true };
        let identity = || Identity { provider: "google".into(), connection: String::new(), subject: "1".into() };
        let changes: [Change<'_>; 13] = [
            ("username", &|a| a.columns[1] = Field::Text(Some("ada".into()))),
            ("last_sign_in_at", &|a| a.columns[12] = Field::Time(Some(now))),
            ("status", &|a| a.status = Status::Banned),
            ("deletion_held_at", &|a| a.deletion_held_at = Some(now)),
            ("email_addresses", &|a| _ = a.addresses.insert("a@example.com".into(), address(true))),
            ("identities", &|a| _ = a.identities.insert(identity(), true)),
            ("roles", &|a| _ = a.local_roles.insert("owner".into())),
            ("profile", &|a| a.profile.has_image = true),
            ("settings", &|a| _ = a.mapped_settings.insert("theme".into(), json!("dark"))),
            ("public_metadata", &|a| _ = a.public_metadata.insert("plan".into(), json!(1))),
            ("private_metadata", &|a| _ = a.private_metadata.insert("plan".into(), json!(1))),
            ("unsafe_metadata", &|a| _ = a.unsafe_metadata.insert("plan".into(), json!(1))),
            ("", &|a| a.rev = 7),
        ];
        for (name, change) in changes {
            let mut after = show.clone();
            change(&mut after);
            let names: Vec<&str> = after.changed_facets(&show).map(|(name, ..)| name).collect();
            assert_eq!(names, differing(&show, &after), "{name}");
            assert_eq!(names.first().copied().unwrap_or_default(), name);
        }
    }
}
