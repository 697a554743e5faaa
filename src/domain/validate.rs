//! Validation of single fields. One that fails is left empty, with a reason and an alert; the event goes on.

use super::{Organization, User};

const TEXT_MAX: usize = 512;
const URL_MAX: usize = 4096;

/// Empties what is not valid; answers the names of the emptied fields, sorted, each once.
pub fn user(user: &mut User) -> Vec<&'static str> {
    let mut emptied = empty([
        ("external_id", &mut user.external_id, text),
        ("username", &mut user.username, text),
        ("first_name", &mut user.first_name, text),
        ("last_name", &mut user.last_name, text),
        ("image_url", &mut user.image_url, url),
        ("locale", &mut user.locale, locale),
    ]);
    let counts = (user.emails.len(), user.phones.len());
    user.emails.retain(|email| address(email.address.trim()));
    user.phones.retain(|phone| number(&phone.number));
    if counts.0 != user.emails.len() {
        emptied.push("email_addresses");
    }
    if counts.1 != user.phones.len() {
        emptied.push("phone_numbers");
    }
    emptied.sort_unstable();
    emptied
}

/// The same for an organisation.
pub fn organization(organization: &mut Organization) -> Vec<&'static str> {
    empty([
        ("name", &mut organization.name, text),
        ("slug", &mut organization.slug, text),
        ("image_url", &mut organization.image_url, url),
        ("created_by", &mut organization.created_by, text),
    ])
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
    value.len() <= 320
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
}
