//! **Holds**: deletions of people that wait for an operator, because they would leave an organisation without its only
//! administrator (policy `hold`), or because there are more of them than the breaker allows.

use std::ops::Bound;

use super::{Event, owners, plan::Fold, policy::SoleAdmin};

/// How the reason of a deletion that the breaker holds begins.
pub(super) const BREAKER: &str = "hold.breaker";

/// Why the deletion of a live person is to wait; `None`: it is not.
pub(super) fn reason(fold: &Fold<'_>, event: &Event, clerk_id: &str) -> Option<String> {
    if !fold.policy.holds {
        return None;
    }
    if fold.policy.sole_admin == SoleAdmin::Hold
        && let Some(organization) = owners::is_sole_admin(&fold.world, fold.policy, clerk_id)
    {
        return Some(format!("hold.sole_admin: the only administrator of {organization}, which has other members"));
    }
    let max = fold.policy.breaker_max;
    (max > 0 && deletions_near(fold, event) >= max).then(|| {
        let window = fold.policy.breaker_window.num_seconds();
        format!("{BREAKER}: more than {max} deletions within {window} s")
    })
}

/// The most deletions in any window into which this one falls, whatever the order in which they came.
fn deletions_near(fold: &Fold<'_>, event: &Event) -> u32 {
    let (at, window) = (event.occurred_at.unwrap_or(fold.now), fold.policy.breaker_window);
    let near = || fold.world.deletions.range((Bound::Excluded(at - window), Bound::Excluded(at + window)));
    let (mut inside, mut most) = (0, 0);
    let mut first = near().peekable();
    // Windows that end at each of them, and at this one.
    for (end, count) in near() {
        inside += count;
        while let Some((_, out)) = first.next_if(|(start, _)| **start <= (*end).max(at) - window) {
            inside -= out;
        }
        most = most.max(inside);
    }
    most
}
