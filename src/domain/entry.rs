//! **Entry** gates a person, not each event: a person enters once any of their well-formed events meets the
//! requirements, a stale or clashing one too.

use super::{Policy, User};

/// The switch that refuses people without an e-mail address.
pub const REQUIRE_EMAIL: &str = "entry.require_email";

/// The switch that refuses people without a name.
pub const REQUIRE_NAME: &str = "entry.require_name";

/// Every reason of entry starts with this, which is how a refused row is found again when its person enters.
pub const REASON_PREFIX: &str = "entry.";

/// What is said of an event about somebody whom Clerk does not know, or a membership of such: as with entry, the row is
/// looked at again when they come after all.
pub const GONE: &str = "gone at Clerk";

const NO_EMAIL: &str = "entry.require_email: no e-mail address (set entry.require_email = false to let such people in)";
const NO_NAME: &str = "entry.require_name: neither first nor last name, as with Clerk's e-mail-code sign-up \
     (set entry.require_name = false to let such people in)";

/// Returns why `user` does not meet the requirements: every rule that refuses them, each with its switch. `None` when
/// they are met.
pub fn refusal(user: &User, policy: &Policy) -> Option<String> {
    let no_email = policy.require_email && user.emails.is_empty();
    let no_name = policy.require_name && user.first_name.is_none() && user.last_name.is_none();
    match (no_email, no_name) {
        (true, true) => Some(format!("{NO_EMAIL}; {NO_NAME}")),
        (true, false) => Some(NO_EMAIL.to_owned()),
        (false, true) => Some(NO_NAME.to_owned()),
        (false, false) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rule_that_refuses_is_named() {
        let policy = |require_email, require_name| Policy { require_email, require_name, ..Policy::default() };
        let named = |policy: &Policy, user: &User| {
            let reason = refusal(user, policy).unwrap_or_default();
            assert!(reason.is_empty() || reason.starts_with(REASON_PREFIX), "{reason}");
            (reason.contains("entry.require_email: "), reason.contains("entry.require_name: "))
        };
        let nobody = User::default();
        for (require_email, require_name) in [(false, false), (false, true), (true, false), (true, true)] {
            assert_eq!(named(&policy(require_email, require_name), &nobody), (require_email, require_name));
        }
        let named_user = User { last_name: Some("Lovelace".into()), ..User::default() };
        assert_eq!(named(&policy(true, true), &named_user), (true, false));
    }
}
