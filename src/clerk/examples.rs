//! The example ids of Clerk's published events, by which a dashboard's "Send Example" is recognised.
//!
//! Clerk's dashboard (Webhooks, an endpoint, **Testing**) sends an event of its catalogue, signed like any other. Its
//! objects never existed in the instance, so none of it is applied. Recognition is by id alone: instance and times are
//! absent from some examples and plain numbers in others, and a user may edit neither.
//!
//! - A false positive would leave out a real object. It cannot happen: the part of an id behind its prefix is a random
//!   KSUID that names the second of its making, and these were made in Clerk's own instances.
//! - A false negative (an example that Clerk publishes later) makes a user who is not at Clerk. With a secret key the
//!   confirmation refuses them (`gone at Clerk`); without one a full comparison or an operator removes them.
//!
//! Sources: the event catalogue of Clerk's dashboard; clerk.com/docs, "Webhooks overview"; the examples of
//! `webhooks/2025-04-15.yml` in github.com/clerk/openapi-specs, in every version up to 2026-08-14.

use super::decode::Stored;

/// The random parts of the example ids. One part may stand behind several prefixes (`user_`, `org_`, `sess_`, …).
const EXAMPLES: [&str; 13] = [
    // The catalogue, and the documentation: users, an organisation, its memberships, a session, invitations.
    "29w83sxmDNGwOuEthce5gg56FcC",
    "29wACSk1DjeUCwsS6SbbgIgilMy",
    "29wBMCtzATuFJut8jO2VNTVekS4",
    "29w9IfBrPmcpi0IeBVaKtA7R94W",
    "29w9IptNja3mP8GDXpquBwN2qR9",
    "29wAbjiJs6aZuPq7AzmkW9dwmyl",
    "29wBYxnMCQU2KIs6V3ZPOJCPUXx",
    "29wBIniWYy0slasTNQlmHD9HeN1",
    "29wBrB4vFM8wqWv9mHSpw3P7QW0",
    // The specification: objects of every kind; a second permission; the users of memberships and invitations.
    "2g7np7Hrk0SN6kj5EDMLDaKNL0S",
    "2g7np7Hrk0SN6kj5EDMLDaKNL0T",
    "2h8op3Isl1QR7tKu5FGNfaLKEoU",
    "34D368EufHwugfYh4yyGNEheM0S",
];

/// Returns whether a delivery is about an example object: as its subject, as one parent of a membership, or as a session.
///
/// Objects of Clerk's API carry no subject, so they are never taken for examples.
pub(super) fn is_example(stored: &Stored) -> bool {
    let subjects = stored.subject.iter().flat_map(|subject| subject.split('/'));
    subjects.chain(stored.object_id.as_deref()).any(is_example_id)
}

fn is_example_id(id: &str) -> bool {
    id.split_once('_').is_some_and(|(_, random)| EXAMPLES.contains(&random))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_ids_are_examples() {
        assert!(is_example_id("user_29w83sxmDNGwOuEthce5gg56FcC") && is_example_id("sess_2g7np7Hrk0SN6kj5EDMLDaKNL0S"));
        for real in [
            "user_29w83sxmDNGwOuEthce5gg56FcD",
            "user_29w83sxmDNGwOuEthce5gg56FcC0",
            "user_29w83sxmdngwouethce5gg56fcc",
            "user_x_29w83sxmDNGwOuEthce5gg56FcC",
            "29w83sxmDNGwOuEthce5gg56FcC",
            "user_",
            "",
        ] {
            assert!(!is_example_id(real), "{real}");
        }
    }
}
