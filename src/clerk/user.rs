//! Clerk's User object, in the three shapes that its external accounts really come in.

use serde_json::{Map, Value};

use crate::domain::user::{Email, Identity, Phone, User};

use super::fields::Fields;

/// Reads a User; names the members that were of the wrong kind.
pub(super) fn read(clerk_id: String, data: &Map<String, Value>) -> (User, Vec<&'static str>) {
    let mut f = Fields::new(data);
    let emails = f.list("email_addresses").filter_map(email).collect();
    let phones = f.list("phone_numbers").filter_map(phone).collect();
    let wallets = f.list("web3_wallets").filter_map(|wallet| Fields::new(wallet).text("web3_wallet")).collect();
    let mut identities: Vec<Identity> = f.list("external_accounts").filter_map(external_account).collect();
    identities.extend(f.list("enterprise_accounts").filter_map(external_account));
    identities.extend(f.list("saml_accounts").filter_map(external_account));
    identities.sort();
    identities.dedup();
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

/// Whether `verification.status` says verified.
fn verified(object: &Map<String, Value>) -> bool {
    object.get("verification").is_some_and(|verification| verification["status"] == "verified")
}

fn email(object: &Map<String, Value>) -> Option<Email> {
    let mut f = Fields::new(object);
    Some(Email { id: f.text("id"), address: f.text("email_address")?, verified: verified(object) })
}

fn phone(object: &Map<String, Value>) -> Option<Phone> {
    let mut f = Fields::new(object);
    Some(Phone { id: f.text("id"), number: f.text("phone_number")?, verified: verified(object) })
}

/// Who somebody is elsewhere. `provider` with `provider_user_id` (specification), `google_account` with `google_id`
/// and no provider (seen in webhooks of 2024), `provider: "google"` with `google_id` (newer). One whose verification
/// is under way or failed proves nothing and is left out.
fn external_account(object: &Map<String, Value>) -> Option<Identity> {
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
        Some(Value::Number(id)) => Some(id.to_string()),
        _ => None,
    })?;
    Some(Identity { provider, subject })
}
