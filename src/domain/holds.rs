//! **Holds**: deletions that wait for an operator, because a user's would leave an organisation without its only
//! administrator (policy `hold`), or because there are more of them than the breaker allows: of users and of
//! organisations, each counted apart. What an operator decided not to delete stays so ([`cancelled`]).

use std::ops::Bound;

use crate::clock::{Time, shifted};

use super::{
    Event, Outcome, owners,
    plan::{Alert, Fold, Kind},
    policy::SoleAdmin,
};

/// How the reason of a deletion that the breaker holds begins.
pub(super) const BREAKER: &str = "hold.breaker";

/// The reason of a deletion that an operator cancelled.
pub const CANCELLED: &str = "cancelled by an operator";

/// Why the deletion of a live user is to wait for an operator; `None`: it is not.
pub(super) fn reason(fold: &Fold<'_>, event: &Event, clerk_id: &str) -> Option<String> {
    sole_admin(fold, clerk_id).or_else(|| breaker(fold, event, Kind::User))
}

/// The same where Clerk has not said that the user is deleted: a comparison has limits of its own instead of the breaker.
pub(super) fn sole_admin(fold: &Fold<'_>, clerk_id: &str) -> Option<String> {
    if !fold.policy.holds || fold.policy.sole_admin != SoleAdmin::Hold {
        return None;
    }
    let organization = owners::is_sole_admin(&fold.world, fold.policy, clerk_id)?;
    Some(format!("hold.sole_admin: the only administrator of {organization}, which has other members"))
}

/// Why one more deletion of this kind is to wait, where there are too many at its time.
pub(super) fn breaker(fold: &Fold<'_>, event: &Event, kind: Kind) -> Option<String> {
    let max = fold.policy.breaker_max;
    (fold.policy.holds && max > 0 && deletions_near(fold, event, kind) >= max).then(|| {
        let window = fold.policy.breaker_window.num_seconds();
        let what = if kind == Kind::Organization { "deletions of organisations" } else { "deletions" };
        format!("{BREAKER}: more than {max} {what} within {window} s")
    })
}

/// Raises the alert about a held deletion. A storm is one alert with a count, not one a subject.
pub(super) fn alert(fold: &mut Fold<'_>, id: &str, reason: &str) {
    let (subject, text) = match reason.starts_with(BREAKER) {
        true => (
            "deletions",
            "more deletions than the breaker allows: further ones are held. `clerk-sync deletions list|release|cancel`"
                .to_owned(),
        ),
        false => (id, format!("the deletion of {id} is held ({reason}): release or cancel it")),
    };
    fold.plan.alerts.push(Alert { kind: "deletion.held", level: "warning", subject: subject.to_owned(), text });
}

/// How a deletion ends that an operator has cancelled, whichever delivery or replay says it again. A deletion that is later
/// by its own time (`at`) is another one.
pub(super) fn cancelled(fold: &Fold<'_>, at: Option<Time>, kind: Kind, id: &str) -> Option<Outcome> {
    let until = fold.world.cancelled.get(&(kind, id.to_owned()))?;
    let covered = at.is_none_or(|at| at <= *until);
    covered.then(|| Outcome::discarded(CANCELLED))
}

/// Takes note of a deletion that was applied.
pub(super) fn count(fold: &mut Fold<'_>, event: &Event, kind: Kind) {
    let at: Time = event.occurred_at.unwrap_or(fold.now);
    *fold.world.deletions.entry(kind).or_default().entry(at).or_default() += 1;
}

/// The most deletions in any window into which this one falls, whatever the order in which they came.
fn deletions_near(fold: &Fold<'_>, event: &Event, kind: Kind) -> u32 {
    let Some(deletions) = fold.world.deletions.get(&kind) else { return 0 };
    let (at, window) = (event.occurred_at.unwrap_or(fold.now), fold.policy.breaker_window);
    let near = || deletions.range((Bound::Excluded(shifted(at, -window)), Bound::Excluded(shifted(at, window))));
    let (mut inside, mut most) = (0, 0);
    let mut first = near().peekable();
    // Windows that end at each of them, and at this one.
    for (end, count) in near() {
        inside += count;
        while let Some((_, out)) = first.next_if(|(start, _)| **start <= shifted((*end).max(at), -window)) {
            inside -= out;
        }
        most = most.max(inside);
    }
    most
}
