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

/// Why `user` does not meet the requirements, naming the switch; `None` when they are met.
pub fn refusal(user: &User, policy: &Policy) -> Option<&'static str> {
    if policy.require_email && user.emails.is_empty() {
        return Some("entry.require_email: no e-mail address (set entry.require_email = false to let such people in)");
    }
    let named = user.first_name.is_some() || user.last_name.is_some();
    if policy.require_name && !named {
        return Some(
            "entry.require_name: neither first nor last name, as with Clerk's e-mail-code sign-up \
             (set entry.require_name = false to let such people in)",
        );
    }
    None
}
