//! Clerk's User object, in the shapes that its external, enterprise and SAML accounts really come in.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    domain::{
        user::{Email, Identity, Phone, User},
        validate,
    },
    json::{Object, Value},
};

use super::fields::Fields;

/// Reads a User; names the members that were of the wrong kind.
pub(super) fn read(clerk_id: String, data: &Object) -> (User, Vec<&'static str>) {
    let mut f = Fields::new(data);
    let emails = f.list("email_addresses").filter_map(email).collect();
    let phones = f.list("phone_numbers").filter_map(phone).collect();
    let wallets = f.list("web3_wallets").filter_map(|wallet| Fields::new(wallet).text("web3_wallet")).collect();
    let identities = identities(&mut f);
    let user = User {
        clerk_id,
        external_id: f.text("external_id"),
        username: f.text("username"),
        first_name: f.text("first_name"),
        last_name: f.text("last_name"),
        image_url: f.text("image_url").or_else(|| f.text("profile_image_url")),
        has_image: f.truth("has_image"),
        locale: f.text("locale"),
        banned: f.access_flag("banned"),
        deprovisioned: f.access_flag("deprovisioned"),
        password_enabled: f.truth("password_enabled"),
        two_factor_enabled: f.truth("two_factor_enabled"),
        legal_accepted_at: f.time("legal_accepted_at"),
        last_sign_in_at: f.time("last_sign_in_at"),
        created_at: f.time("created_at"),
        updated_at: f.time("updated_at"),
        emails,
        primary_email_id: f.text("primary_email_address_id"),
        phones,
        primary_phone_id: f.text("primary_phone_number_id"),
        wallets,
        identities,
        public_metadata: f.object("public_metadata"),
        private_metadata: f.object("private_metadata"),
        unsafe_metadata: f.object("unsafe_metadata"),
    };
    (user, f.wrong)
}

/// Who the user is elsewhere, sorted. What is too long for an index is left out.
fn identities(f: &mut Fields<'_>) -> Vec<Identity> {
    let mut found: BTreeSet<Identity> = BTreeSet::new();
    // Clerk lists a SAML account among the enterprise accounts too, and may spell the provider otherwise there: within a
    // connection the subject alone is who it is, under the provider's first name.
    let mut enterprise: BTreeMap<(String, String), String> = BTreeMap::new();
    let mut unnamed: Vec<Identity> = Vec::new();
    for list in ["external_accounts", "enterprise_accounts", "saml_accounts"] {
        let mut spelled: BTreeMap<(String, String), String> = BTreeMap::new();
        for identity in f.list(list).filter_map(external_account) {
            if !validate::identity(&identity) {
                f.wrong.push(list);
            } else if identity.connection.is_empty() {
                match list {
                    "external_accounts" => _ = found.insert(identity),
                    _ => unnamed.push(identity),
                }
            } else {
                let Identity { provider, connection, subject } = identity;
                let first = spelled.entry((connection, subject)).or_insert_with(|| provider.clone());
                if provider < *first {
                    *first = provider;
                }
            }
        }
        for (key, provider) in spelled {
            enterprise.entry(key).or_insert(provider);
        }
    }
    // One listing may lack the connection that the other has.
    let subjects: BTreeSet<&String> = enterprise.keys().map(|(_, subject)| subject).collect();
    found.extend(unnamed.into_iter().filter(|identity| !subjects.contains(&identity.subject)));
    let enterprise = enterprise.into_iter();
    found.extend(enterprise.map(|((connection, subject), provider)| Identity { provider, connection, subject }));
    found.into_iter().collect()
}

/// Whether `verification.status` says verified.
fn verified(object: &Object) -> bool {
    object.get("verification").is_some_and(|verification| verification["status"] == "verified")
}

fn email(object: &Object) -> Option<Email> {
    let mut f = Fields::new(object);
    Some(Email { id: f.text("id"), address: f.text("email_address")?, verified: verified(object) })
}

fn phone(object: &Object) -> Option<Phone> {
    let mut f = Fields::new(object);
    Some(Phone { id: f.text("id"), number: f.text("phone_number")?, verified: verified(object) })
}

/// Who somebody is elsewhere. `provider` with `provider_user_id` (specification), `google_account` with `google_id`
/// and no provider (seen in webhooks of 2024), `provider: "google"` with `google_id` (newer). One whose verification
/// is under way or failed proves nothing and is left out.
fn external_account(object: &Object) -> Option<Identity> {
    let status = object.get("verification").map(|verification| &verification["status"]);
    if status.is_some_and(|status| !status.is_null() && status != "verified") {
        return None;
    }
    let mut f = Fields::new(object);
    let kind = f.text("object").and_then(|kind| kind.strip_suffix("_account").map(str::to_owned));
    let provider = f
        .text("provider")
        .or_else(|| kind.filter(|kind| !["external", "saml", "enterprise"].contains(&kind.as_str())))?;
    let provider = provider.strip_prefix("oauth_").unwrap_or(&provider).to_lowercase();
    let subject = f.text("provider_user_id").or_else(|| match object.get(&format!("{provider}_id")) {
        Some(Value::String(id)) if !id.is_empty() => Some(id.clone()),
        Some(Value::Number(id)) => Some(id.as_str().to_owned()),
        _ => None,
    })?;
    Some(Identity { provider, connection: connection(object).unwrap_or_default(), subject })
}

/// Clerk's id of the connection through which an enterprise or SAML account came. An external account has none.
fn connection(object: &Object) -> Option<String> {
    let inner = |name: &str| Fields::new(object.get(name)?.as_object()?).text("id");
    Fields::new(object)
        .text("enterprise_connection_id")
        .or_else(|| inner("enterprise_connection"))
        .or_else(|| inner("saml_connection"))
}
