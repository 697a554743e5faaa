//! **Holds**: deletions of people that wait for an operator, because they would leave an organisation without its only
//! administrator (policy `hold`), or because there are more of them than the breaker allows.

use super::{Event, owners, plan::Fold, policy::SoleAdmin};

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
        format!("hold.breaker: more than {max} deletions within {window} s")
    })
}

/// The most deletions in a window that begins or ends with this one, whatever the order in which they came.
fn deletions_near(fold: &Fold<'_>, event: &Event) -> u32 {
    let at = event.occurred_at.unwrap_or(fold.now);
    let (before, after) = fold.world.deletions.get(&at).copied().unwrap_or_default();
    let window = fold.policy.breaker_window;
    let earlier = fold.buried.iter().filter(|other| **other <= at && **other > at - window).count();
    let later = fold.buried.iter().filter(|other| **other >= at && **other < at + window).count();
    let sum = |known: u32, new: usize| known.saturating_add(u32::try_from(new).unwrap_or(u32::MAX));
    sum(before, earlier).max(sum(after, later))
}
