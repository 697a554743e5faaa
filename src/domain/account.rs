//! What our tables hold of one person: a row of `users` and everything that hangs on it.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

use crate::{
    clock::{Time, rfc3339},
    json::{Object, Value, json},
};

use super::{Policy, User, Version, emails, emails::Address, names, roles, settings, status::Status, user::Identity};

/// A person's rows. Two accounts that are equal are the same rows.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "the names are the columns'")]
pub struct Account {
    /// The stable business id: never changes.
    pub id: Uuid,
    pub clerk_id: String,
    pub status: Status,
    /// The columns of `users` that come from the snapshot, in the order of [`COLUMNS`].
    pub columns: Vec<Field>,
    pub profile: Profile,
    pub public_metadata: Object,
    pub private_metadata: Object,
    pub unsafe_metadata: Object,
    /// Settings that follow Clerk.
    pub mapped_settings: Object,
    /// Settings written once, at creation; the application's afterwards. Only shown, never written again.
    pub settings: Object,
    /// By normal form.
    pub addresses: BTreeMap<String, Address>,
    /// Whether the identity is shown here.
    pub identities: BTreeMap<Identity, bool>,
    /// Roles of source `clerk`.
    pub roles: BTreeSet<String>,
    /// Roles of source `local`: only shown.
    pub local_roles: BTreeSet<String>,
    /// The version the row shows.
    pub version: Option<Version>,
    pub deletion_held_at: Option<Time>,
    pub deleted_at: Option<Time>,
    pub created_at: Time,
    pub updated_at: Time,
    pub rev: i64,
}

/// The row of `user_profiles`.
#[derive(Debug, Clone, Default, PartialEq)]
#[expect(missing_docs, reason = "the names are the columns'")]
pub struct Profile {
    pub has_image: bool,
    pub phone_numbers: Value,
    pub web3_wallets: Value,
    pub legal_accepted_at: Option<Time>,
}

/// A column's value.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Field {
    Text(Option<String>),
    Bool(bool),
    Time(Option<Time>),
}

/// The columns of `users` that a snapshot decides, `status` aside.
pub const COLUMNS: [&str; 15] = [
    "external_id",
    "username",
    "first_name",
    "last_name",
    "display_name",
    "email",
    "email_verified",
    "phone",
    "image_url",
    "locale",
    "password_enabled",
    "two_factor_enabled",
    "last_sign_in_at",
    "clerk_created_at",
    "clerk_updated_at",
];

/// Columns that move at every sign-in and tell nobody anything.
pub const QUIET: [&str; 2] = ["last_sign_in_at", "clerk_updated_at"];

impl Field {
    /// As readers see it.
    pub fn to_json(&self) -> Value {
        match self {
            Self::Text(text) => text.as_deref().map_or(Value::Null, Value::from),
            Self::Bool(bool) => Value::Bool(*bool),
            Self::Time(time) => time.map_or(Value::Null, |time| rfc3339(time).into()),
        }
    }
}

impl Account {
    /// What the rows show of `user` at `version`. `before` is the person's row, if there is one; `id` and `now` are
    /// used only where a row is made or changed.
    pub fn show(before: Option<&Self>, user: &User, version: Version, policy: &Policy, id: Uuid, now: Time) -> Self {
        let addresses = emails::addresses(user);
        let primary = addresses.values().find(|address| address.primary);
        let email = primary.map(|address| address.email_address.clone());
        let shown = |identity: &Identity| before.and_then(|row| row.identities.get(identity)).copied().unwrap_or(true);
        let text = |value: &Option<String>| Field::Text(value.clone());
        Self {
            id: before.map_or(id, |row| row.id),
            clerk_id: user.clerk_id.clone(),
            status: Status::from_facts(user.banned, user.deprovisioned),
            columns: vec![
                text(&user.external_id),
                text(&user.username),
                text(&user.first_name),
                text(&user.last_name),
                Field::Text(names::display_name(user, email.as_deref())),
                Field::Text(email),
                Field::Bool(primary.is_some_and(|address| address.verified)),
                Field::Text(primary_phone(user)),
                text(&user.image_url),
                text(&user.locale),
                Field::Bool(user.password_enabled),
                Field::Bool(user.two_factor_enabled),
                Field::Time(user.last_sign_in_at),
                Field::Time(user.created_at),
                Field::Time(user.updated_at),
            ],
            profile: Profile {
                has_image: user.has_image,
                phone_numbers: user
                    .phones
                    .iter()
                    .map(|phone| json!({"phone_number": phone.number, "verified": phone.verified}))
                    .collect(),
                web3_wallets: user.wallets.iter().map(|wallet| json!(wallet)).collect(),
                legal_accepted_at: user.legal_accepted_at,
            },
            public_metadata: user.public_metadata.clone(),
            private_metadata: user.private_metadata.clone(),
            unsafe_metadata: user.unsafe_metadata.clone(),
            mapped_settings: settings::mapped(user, policy),
            settings: before
                .filter(|row| row.is_live())
                .map_or_else(|| policy.default_settings.clone(), |row| row.settings.clone()),
            identities: user.identities.iter().map(|identity| (identity.clone(), shown(identity))).collect(),
            addresses,
            roles: roles::roles(user, policy).0,
            local_roles: before.map(|row| row.local_roles.clone()).unwrap_or_default(),
            version: Some(version),
            deletion_held_at: before.and_then(|row| row.deletion_held_at),
            deleted_at: None,
            created_at: before.map_or(now, |row| row.created_at),
            updated_at: before.map_or(now, |row| row.updated_at),
            rev: before.map_or(0, |row| row.rev),
        }
    }

    /// Takes an address away. If it was the primary one, the first verified of the others is, else the first.
    pub fn without_address(&mut self, normalised: &str) {
        let Some(gone) = self.addresses.remove(normalised) else { return };
        if !gone.primary {
            return;
        }
        let verified = self.addresses.iter().find(|(_, address)| address.verified).map(|(key, _)| key.clone());
        let next = verified.or_else(|| self.addresses.keys().next().cloned());
        let next = next.and_then(|key| self.addresses.get_mut(&key));
        let (email, verified) = match next {
            Some(address) => {
                address.primary = true;
                (Some(address.email_address.clone()), address.verified)
            }
            None => (None, false),
        };
        for (name, column) in COLUMNS.iter().zip(&mut self.columns) {
            match *name {
                "email" => *column = Field::Text(email.clone()),
                "email_verified" => *column = Field::Bool(verified),
                _ => {}
            }
        }
    }

    /// Whether this is a person, not what a deletion left.
    pub fn is_live(&self) -> bool {
        self.status != Status::Deleted
    }

    /// The value of one of [`COLUMNS`].
    pub fn column(&self, name: &str) -> Option<&Field> {
        COLUMNS.iter().position(|column| *column == name).and_then(|index| self.columns.get(index))
    }

    /// The identities that are shown here.
    pub fn shown_identities(&self) -> impl Iterator<Item = &Identity> {
        self.identities.iter().filter(|(_, shown)| **shown).map(|(identity, _)| identity)
    }
}

fn primary_phone(user: &User) -> Option<String> {
    let named = user.phones.iter().find(|phone| user.primary_phone_id.is_some() && phone.id == user.primary_phone_id);
    let phone = named.or_else(|| user.phones.iter().find(|phone| phone.verified)).or(user.phones.first());
    phone.map(|phone| phone.number.clone())
}
