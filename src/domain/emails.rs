//! Addresses: which one is primary, and **e-mail clashes**. Only verified addresses clash.

use std::collections::BTreeMap;

use hmac::{Hmac, Mac};
use sha2::Sha256;

use super::{User, World};

pub use super::normal_form::normalise;

/// An address as a person's rows hold it, keyed by its normal form.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are the columns'")]
pub struct Address {
    pub email_address: String,
    pub verified: bool,
    pub primary: bool,
}

/// A snapshot's addresses by normal form. Primary is the one that `primary_email_id` names, else the first verified,
/// else the first. Two spellings of one address are one, verified if either is.
pub fn addresses(user: &User) -> BTreeMap<String, Address> {
    let named = user.emails.iter().find(|email| user.primary_email_id.is_some() && email.id == user.primary_email_id);
    let primary = named.or_else(|| user.emails.iter().find(|email| email.verified)).or(user.emails.first());
    let primary = primary.map(|email| normalise(&email.address));
    let mut addresses: BTreeMap<String, Address> = BTreeMap::new();
    for email in &user.emails {
        let normal = normalise(&email.address);
        let is_primary = primary.as_ref() == Some(&normal);
        let address = addresses.entry(normal).or_insert_with(|| Address {
            email_address: email.address.trim().to_owned(),
            verified: false,
            primary: is_primary,
        });
        address.verified |= email.verified;
    }
    addresses
}

/// The verified addresses of a snapshot that block it, in sorted order, each with the person who blocks it: another
/// live person, not deletion-held, in whose row it stands verified and whose row shows their newest known version.
pub fn blocked(world: &World, user: &User) -> Vec<(String, String)> {
    let verified = addresses(user).into_iter().filter(|(_, address)| address.verified);
    let blocker = |address: &str| {
        world
            .holders_of_address(address)
            .find(|holder| *holder != user.clerk_id && world.blocks(holder))
            .map(str::to_owned)
    };
    verified.filter_map(|(address, _)| blocker(&address).map(|holder| (address, holder))).collect()
}

/// The keyed hash under which a deleted person's address is remembered for a while.
pub fn digest(key: &[u8], normalised: &str) -> String {
    // An HMAC takes a key of any length; the empty fallback cannot happen.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { return String::new() };
    mac.update(normalised.as_bytes());
    mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
}
