//! A whole snapshot of a person, in our words: what one event says. What it does not carry is empty.

use serde::Serialize;

use crate::{
    clock::Time,
    json::{Object, Value, json, serialize_object},
};

/// One snapshot. Fields in the order in which they came where order means something (addresses).
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[expect(missing_docs, reason = "the names are Clerk's own terms")]
pub struct User {
    pub clerk_id: String,
    pub external_id: Option<String>,
    pub username: Option<String>,
    pub first_name: Option<String>,
    pub last_name: Option<String>,
    pub image_url: Option<String>,
    pub has_image: bool,
    pub locale: Option<String>,
    pub banned: bool,
    pub deprovisioned: bool,
    pub password_enabled: bool,
    pub two_factor_enabled: bool,
    pub legal_accepted_at: Option<Time>,
    pub last_sign_in_at: Option<Time>,
    pub created_at: Option<Time>,
    pub updated_at: Option<Time>,
    pub emails: Vec<Email>,
    pub primary_email_id: Option<String>,
    pub phones: Vec<Phone>,
    pub primary_phone_id: Option<String>,
    pub wallets: Vec<String>,
    pub identities: Vec<Identity>,
    #[serde(serialize_with = "serialize_object")]
    pub public_metadata: Object,
    #[serde(serialize_with = "serialize_object")]
    pub private_metadata: Object,
    #[serde(serialize_with = "serialize_object")]
    pub unsafe_metadata: Object,
}

/// An e-mail address as the snapshot lists it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Email {
    pub id: Option<String>,
    pub address: String,
    pub verified: bool,
}

/// A telephone number (E.164) as the snapshot lists it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Phone {
    pub id: Option<String>,
    pub number: String,
    pub verified: bool,
}

/// Who a person is at another provider.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Identity {
    /// The provider without protocol prefix: `google`, `github`, …
    pub provider: String,
    /// Clerk's id of the enterprise connection; empty for OAuth. Two tenants' identity providers may use one name.
    /// An empty one is left out of the hash in a version, so that the versions of those without one stay what they were.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub connection: String,
    /// The provider's id of the person.
    pub subject: String,
}

impl Identity {
    /// As readers see it; the connection is empty for OAuth.
    pub fn to_json(&self) -> Value {
        json!({"provider": self.provider, "connection": self.connection, "provider_subject_id": self.subject})
    }
}
