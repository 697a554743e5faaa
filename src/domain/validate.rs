//! Validation of single fields. One that fails is left empty, with a reason and an alert; the event goes on.
//!
//! What reaches an index is bounded in bytes, not in characters: Postgres refuses an index row of more than 2,704 bytes,
//! whatever the column's type allows, and repeats do not compress away.
//!
//! | value | indexed in | bound in bytes |
//! |---|---|---|
//! | Clerk's ids: users, organisations, memberships, sessions, creators, roles | `users`, `organizations`, `organization_memberships`, `subjects`, `inbox`, `outbox`, `audit_log`, `alerts`, `conflicts`, `conflict_decisions`, `revoked_sessions`, `dead_letters`, `wakes` | [`ID_MAX`] each, so 511 for a membership's pair; `Alert::key` adds the kind |
//! | external id, username, slug | `users`, `organizations` | [`KEY_MAX`] |
//! | address as given | `users` | [`ADDRESS_MAX`] |
//! | address in normal form | `email_addresses`, `conflicts`, `conflict_decisions` | thrice that: what NFC grows by at most |
//! | provider, connection and subject of an identity | `federated_identities` | [`KEY_MAX`] each |
//! | names of the application's roles | `roles` | [`ID_MAX`], checked in the configuration |
//! | svix-id, event type, instance id, traceparent | `inbox` | 255, 64 the last; checked by the receiver |
//!
//! Names of people and organisations, URLs, wallets, permissions, settings and metadata are in no index over their values:
//! search documents are indexed by trigram.

use super::{Organization, User, user::Identity};

/// The longest id that is taken, in bytes.
pub const ID_MAX: usize = 255;
/// The longest other value of an indexed column, in bytes.
pub const KEY_MAX: usize = 512;
/// The longest address as given, in bytes: 64 of the local part, `@`, 255 of the domain.
pub const ADDRESS_MAX: usize = 320;
/// The longest name, in characters; in no index.
const TEXT_MAX: usize = 512;
const URL_MAX: usize = 4096;

/// Fields that bar a user: one that is neither a boolean nor null counts as true instead of being left empty.
const BARS: [&str; 2] = ["banned", "deprovisioned"];

/// Empties what is not valid; answers the names of the emptied fields, sorted, each once.
pub fn user(user: &mut User) -> Vec<&'static str> {
    let mut emptied = empty([
        ("external_id", &mut user.external_id, key),
        ("username", &mut user.username, key),
        ("first_name", &mut user.first_name, text),
        ("last_name", &mut user.last_name, text),
        ("image_url", &mut user.image_url, url),
        ("locale", &mut user.locale, locale),
    ]);
    let counts = (user.emails.len(), user.phones.len(), user.wallets.len());
    user.emails.retain(|email| address(email.address.trim()));
    user.phones.retain(|phone| number(&phone.number));
    user.wallets.retain(|wallet| id(wallet));
    if counts.0 != user.emails.len() {
        emptied.push("email_addresses");
    }
    if counts.1 != user.phones.len() {
        emptied.push("phone_numbers");
    }
    if counts.2 != user.wallets.len() {
        emptied.push("web3_wallets");
    }
    emptied.sort_unstable();
    emptied
}

/// The same for an organisation.
pub fn organization(organization: &mut Organization) -> Vec<&'static str> {
    empty([
        ("name", &mut organization.name, text),
        ("slug", &mut organization.slug, key),
        ("image_url", &mut organization.image_url, url),
        ("created_by", &mut organization.created_by, id),
    ])
}

/// Whether an identity fits into an index row.
pub fn identity(identity: &Identity) -> bool {
    [&identity.provider, &identity.connection, &identity.subject].into_iter().all(|part| key(part))
}

/// What a reason says of fields that failed, all of them; `None` if none did.
pub fn reason(failed: &[&'static str]) -> Option<String> {
    let (barring, emptied): (Vec<&str>, Vec<&str>) = failed.iter().partition(|name| BARS.contains(name));
    let part = |what: &str, names: Vec<&str>| (!names.is_empty()).then(|| format!("{what}: {}", names.join(", ")));
    let parts = [part("left empty", emptied), part("taken as true", barring)];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    (!parts.is_empty()).then(|| format!("field.invalid: {}", parts.join("; ")))
}

/// A field's name, the field, and what it must be.
type Check<'a> = (&'static str, &'a mut Option<String>, fn(&str) -> bool);

fn empty<const N: usize>(checks: [Check<'_>; N]) -> Vec<&'static str> {
    let mut emptied = Vec::new();
    for (name, field, valid) in checks {
        if field.as_deref().is_some_and(|value| !valid(value)) {
            *field = None;
            emptied.push(name);
        }
    }
    emptied
}

fn text(value: &str) -> bool {
    value.chars().count() <= TEXT_MAX
}

/// Whether a value fits into a column of an index.
pub fn key(value: &str) -> bool {
    value.len() <= KEY_MAX
}

/// Whether a value is as short as ids are.
pub fn id(value: &str) -> bool {
    value.len() <= ID_MAX
}

fn url(value: &str) -> bool {
    value.len() <= URL_MAX
        && (value.starts_with("https://") || value.starts_with("http://"))
        && !value.chars().any(|c| c.is_whitespace() || c.is_control())
}

fn locale(value: &str) -> bool {
    value.len() <= 35 && value.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
}

/// Something, an @, something: Clerk has already judged the rest, and a stricter rule would lose people.
fn address(value: &str) -> bool {
    let parts = value.rsplit_once('@');
    value.len() <= ADDRESS_MAX
        && parts.is_some_and(|(local, domain)| !local.is_empty() && !domain.is_empty())
        && !value.chars().any(|c| c.is_whitespace() || c.is_control())
}

fn number(value: &str) -> bool {
    value
        .strip_prefix('+')
        .is_some_and(|digits| (2..=15).contains(&digits.len()) && digits.chars().all(|c| c.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::user::{Email, Phone};

    #[test]
    fn what_is_not_valid_is_emptied_and_named() {
        let email = |address: &str| Email { id: None, address: address.into(), verified: true };
        let mut user = User {
            first_name: Some("x".repeat(513)),
            last_name: Some("Lovelace".into()),
            image_url: Some("javascript:alert(1)".into()),
            emails: vec![email("ada@example.com"), email("no address"), email("@example.com")],
            phones: vec![
                Phone { id: None, number: "+15550100123".into(), verified: true },
                Phone { id: None, number: "0".into(), verified: false },
            ],
            ..User::default()
        };
        assert_eq!(super::user(&mut user), ["email_addresses", "first_name", "image_url", "phone_numbers"]);
        assert_eq!(user.emails, [email("ada@example.com")]);
        assert_eq!(user.phones.len(), 1);
        assert_eq!((user.first_name, user.last_name.as_deref()), (None, Some("Lovelace")));
    }

    #[test]
    fn bounds_of_indexed_values_are_in_bytes() {
        let of = |bytes: usize| Some(format!("{}{}", "\u{1f600}".repeat(bytes / 4), "x".repeat(bytes % 4)));
        let mut user = User { username: of(512), external_id: of(513), first_name: of(2048), ..User::default() };
        user.wallets = [of(255), of(256)].into_iter().flatten().collect();
        assert_eq!(super::user(&mut user), ["external_id", "web3_wallets"]);
        assert_eq!((user.username, user.first_name, user.wallets.len()), (of(512), of(2048), 1));
        let mut organization =
            Organization { slug: of(513), created_by: of(256), name: of(2048), ..Organization::default() };
        assert_eq!(super::organization(&mut organization), ["slug", "created_by"]);
        let identity = |provider, connection, subject| {
            let [provider, connection, subject] = [provider, connection, subject].map(|n| of(n).unwrap());
            super::identity(&Identity { provider, connection, subject })
        };
        assert!(identity(512, 512, 512));
        assert!(!identity(513, 0, 1) && !identity(1, 513, 1) && !identity(1, 0, 513));
        assert!(address(&format!("{}@x", "x".repeat(318))) && !address(&format!("{}@x", "x".repeat(319))));
    }

    #[test]
    fn a_reason_names_every_field_that_failed() {
        assert_eq!(reason(&[]), None);
        assert_eq!(reason(&["banned"]).unwrap(), "field.invalid: taken as true: banned");
        let all = reason(&["banned", "deprovisioned", "first_name", "slug"]).unwrap();
        assert_eq!(all, "field.invalid: left empty: first_name, slug; taken as true: banned, deprovisioned");
    }
}
