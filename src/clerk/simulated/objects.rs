//! Whole objects to begin with: everything that Clerk sends of a new person, organisation or membership, so that a test
//! sets only what it is about. Ids are left to the world.

use serde_json::{Value, json};

use crate::clock::Time;

/// What is the same of everybody who just came.
const PLAIN: &str = r#"{
    "object": "user", "username": null, "locale": null, "has_image": false,
    "image_url": "https://img.clerk.com/none", "profile_image_url": "https://img.clerk.com/none",
    "primary_phone_number_id": null, "primary_web3_wallet_id": null, "password_enabled": false,
    "two_factor_enabled": false, "totp_enabled": false, "backup_code_enabled": false, "phone_numbers": [],
    "web3_wallets": [], "passkeys": [], "external_accounts": [], "saml_accounts": [], "enterprise_accounts": [],
    "password_last_updated_at": null, "public_metadata": {}, "private_metadata": {}, "unsafe_metadata": {},
    "external_id": null, "last_sign_in_at": null, "banned": false, "locked": false, "lockout_expires_in_seconds": null,
    "verification_attempts_remaining": 100, "delete_self_enabled": true, "bypass_client_trust": false,
    "create_organization_enabled": true, "create_organizations_limit": null, "mfa_enabled_at": null,
    "mfa_disabled_at": null, "legal_accepted_at": null, "deprovisioned": false
}"#;

/// A person with one verified address, as Clerk makes one at sign-up with a code.
pub fn user(first_name: &str, last_name: &str, email: &str, at: Time) -> Value {
    let at = at.timestamp_millis();
    let address = format!("idn_{}", super::ids::spell(at, u128::from(super::ids::mix(hash(email)))));
    let own = json!({
        "first_name": first_name, "last_name": last_name, "primary_email_address_id": address,
        "email_addresses": [{
            "id": address, "object": "email_address", "email_address": email, "reserved": false,
            "verification": {"object": "verification_otp", "status": "verified", "strategy": "email_code",
                             "attempts": 1, "expire_at": at + 600_000},
            "linked_to": [], "matches_sso_connection": false, "created_at": at, "updated_at": at,
        }],
        "last_active_at": at - at.rem_euclid(86_400_000), "created_at": at, "updated_at": at,
    });
    let mut user: Value = serde_json::from_str(PLAIN).unwrap_or_default();
    if let (Value::Object(members), Value::Object(own)) = (&mut user, own) {
        members.extend(own);
    }
    user
}

/// An organisation that somebody just created.
pub fn organization(name: &str, slug: Option<&str>, created_by: &str, at: Time) -> Value {
    let at = at.timestamp_millis();
    json!({
        "object": "organization", "name": name, "slug": slug, "image_url": "https://img.clerk.com/none",
        "has_image": false, "max_allowed_memberships": 0, "admin_delete_enabled": true, "created_by": created_by,
        "public_metadata": {}, "private_metadata": {}, "created_at": at, "updated_at": at,
    })
}

/// A membership; the world shows the organisation and the person in it as they are.
pub fn membership(organization: &str, user: &str, role: &str, at: Time) -> Value {
    let at = at.timestamp_millis();
    json!({
        "object": "organization_membership", "role": role, "role_name": role.trim_start_matches("org:"),
        "permissions": [], "public_metadata": {}, "private_metadata": {},
        "organization": {"id": organization}, "public_user_data": {"user_id": user},
        "created_at": at, "updated_at": at,
    })
}

fn hash(text: &str) -> u64 {
    text.bytes().fold(0, |sum, byte| super::ids::mix(sum ^ u64::from(byte)))
}

/// What a membership shows of a person.
pub(super) fn public_user_data(user: &Value) -> Value {
    let first = |list: &str, member: &str| user[list][0][member].clone();
    let primary = user["email_addresses"]
        .as_array()
        .into_iter()
        .flatten()
        .find(|address| address["id"] == user["primary_email_address_id"])
        .map(|address| address["email_address"].clone());
    let identifier = [primary.unwrap_or_default(), first("phone_numbers", "phone_number"), user["username"].clone()]
        .into_iter()
        .chain([first("web3_wallets", "web3_wallet")])
        .find(|value| !value.is_null());
    json!({
        "user_id": user["id"], "first_name": user["first_name"], "last_name": user["last_name"],
        "image_url": user["image_url"], "profile_image_url": user["profile_image_url"], "has_image": user["has_image"],
        "identifier": identifier, "username": user["username"], "banned": user["banned"] == true,
        "deprovisioned": user["deprovisioned"] == true,
    })
}
