//! Whether our clock is right. Deliveries whose timestamp is too far from it are refused.

use std::time::Duration;

use crate::clock::Time;

use super::finding::Finding;

/// From when on it is worth mending.
const WARN: Duration = Duration::from_secs(30);

/// How far a clock that told `told` (precise to `unit`) between our `before` and `after` is ahead of ours.
pub(super) fn skew(before: Time, told: Time, after: Time, unit: chrono::Duration) -> chrono::Duration {
    if told + unit < before {
        told + unit - before
    } else if told > after {
        told - after
    } else {
        chrono::Duration::zero()
    }
}

/// `clerk` and `database`: how far theirs are ahead of ours, where they could be asked.
pub(super) fn judge(
    clerk: Option<chrono::Duration>,
    database: Option<chrono::Duration>,
    tolerance: Duration,
) -> Finding {
    const CLOCK: &str = "clock";
    let mend = "Let the machine's clock follow a time server (timedatectl set-ntp true), then restart clerk-sync";
    let size = |skew: chrono::Duration| skew.abs().to_std().unwrap_or_default();
    let told = |who: &str, skew: chrono::Duration| {
        let side = if skew > chrono::Duration::zero() { "behind" } else { "ahead of" };
        format!("ours is {} s {side} {who}", size(skew).as_secs())
    };
    if let Some(skew) = clerk
        && size(skew) >= WARN
    {
        let found = told("Clerk's", skew);
        // Before the limit itself: a delivery is some time under way, and may be tried again.
        return match size(skew) >= tolerance.mul_f64(0.8) {
            true => Finding::fail(CLOCK, format!("{found}: deliveries are refused as stale_timestamp"), mend),
            false => Finding::warn(CLOCK, found, mend),
        };
    }
    if let Some(skew) = database
        && size(skew) >= WARN
    {
        return Finding::warn(
            CLOCK,
            told("the database server's", skew),
            "One of the two is wrong: let both machines' clocks follow a time server (timedatectl set-ntp true)",
        );
    }
    match (clerk, database) {
        (Some(_), Some(_)) => Finding::ok(CLOCK, "as Clerk's and the database server's"),
        (Some(_), None) => Finding::ok(CLOCK, "as Clerk's"),
        (None, Some(_)) => Finding::ok(CLOCK, "as the database server's"),
        (None, None) => Finding::skip(CLOCK, "neither Clerk nor a database server was there to compare it with"),
    }
}

#[cfg(test)]
mod tests {
    use chrono::Duration as Span;

    use super::*;
    use crate::{clock::from_millis, doctor::Level};

    #[test]
    fn only_what_the_request_cannot_have_taken_is_skew() {
        let at = |ms| from_millis(ms).unwrap();
        let second = Span::seconds(1);
        assert_eq!(skew(at(10_500), at(10_000), at(10_900), second), Span::zero(), "told in whole seconds");
        assert_eq!(skew(at(10_500), at(14_000), at(15_000), second), Span::zero(), "it took its time");
        assert_eq!(skew(at(10_500), at(16_000), at(15_000), second), Span::seconds(1));
        assert_eq!(skew(at(10_500), at(5_000), at(11_000), second), Span::milliseconds(-4_500));
    }

    #[test]
    fn the_further_the_worse_and_clerk_s_counts() {
        let five = Duration::from_secs(300);
        let level = |clerk, database| judge(clerk, database, five).level;
        let of = |seconds| Some(Span::seconds(seconds));
        assert_eq!(level(None, None), Level::Skip);
        assert_eq!(level(of(29), of(-29)), Level::Ok);
        assert_eq!(level(of(-30), None), Level::Warn);
        assert_eq!(level(of(239), None), Level::Warn);
        assert_eq!(level(of(-240), of(0)), Level::Fail);
        assert_eq!(level(of(0), of(-4_000)), Level::Warn, "which of the two is wrong is not known");
        assert!(judge(of(240), None, five).found.starts_with("ours is 240 s behind Clerk's"));
        assert!(judge(None, of(-31), five).found.contains("31 s ahead of the database"));
    }
}
