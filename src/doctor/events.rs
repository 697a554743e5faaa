//! What Clerk delivers: when last, which of the types that we need, and which that nobody here reads.

use sea_orm::{DbErr, FromQueryResult};

use crate::{
    clerk::private::is_read_later,
    clock::{Clock, Time},
    db::{Db, Stmt},
    inbox::list::WINDOW,
};

use super::{
    finding::{Finding, count, plain},
    reading,
};

const PEOPLE: [&str; 3] = ["user.created", "user.updated", "user.deleted"];
const OTHERS: [&str; 9] = [
    "organization.created",
    "organization.updated",
    "organization.deleted",
    "organizationMembership.created",
    "organizationMembership.updated",
    "organizationMembership.deleted",
    "session.ended",
    "session.removed",
    "session.revoked",
];

/// From how many deliveries on it says something that a type is not among them.
const ENOUGH: i64 = 50;

/// How many types one finding names.
const NAMED: usize = 10;

#[derive(Debug, Clone, FromQueryResult)]
struct Seen {
    event_type: String,
    n: i64,
    ignored: i64,
    /// Sent by "Send Example": they prove that the endpoint works, and nothing about its subscription.
    examples: i64,
    last: Time,
}

pub(super) async fn check(db: &Db, clock: &Clock) -> Result<Vec<Finding>, DbErr> {
    let tx = reading(db).await?;
    let seen: Vec<Seen> = Stmt::new(
        &tx,
        "select event_type, count(*) as n,
            sum(case when state = 'skipped' and outcome = 'ignored' then 1 else 0 end) as ignored,
            sum(case when outcome = 'example' then 1 else 0 end) as examples, max(received_at) as last
            from (select event_type, state, outcome, received_at, origin from clerk_sync.inbox order by seq desc limit ",
    )
    .val(WINDOW)
    .sql(") newest where origin = 'webhook' group by event_type order by n desc, event_type limit 200")
    .all_as(&tx)
    .await?;
    tx.commit().await?;
    Ok(judge(&seen, clock.now()))
}

fn judge(seen: &[Seen], now: Time) -> Vec<Finding> {
    const TYPES: &str = "event-types";
    let Some(last) = seen.iter().map(|seen| seen.last).max() else {
        return vec![
            Finding::note(
                "deliveries",
                "none has come yet",
                "In Clerk's dashboard (Webhooks) open the endpoint https://YOUR_HOST/webhooks/clerk, and send an example (Testing): it shows up as `skipped: example`",
            ),
            Finding::skip(TYPES, "nothing has been delivered yet"),
        ];
    };
    let total: i64 = seen.iter().map(|seen| seen.n).sum();
    let ago = (now - last).to_std().unwrap_or_default();
    let ago = humantime::format_duration(std::time::Duration::from_secs(ago.as_secs()));
    let examples: i64 = seen.iter().map(|seen| seen.examples).sum();
    let of_them = match examples {
        0 => String::new(),
        n => {
            format!(", {} (skipped: example)", count(n, "of them an example of Clerk's", "of them examples of Clerk's"))
        }
    };
    let mut findings = vec![Finding::ok(
        "deliveries",
        format!("the last {ago} ago; {} looked through{of_them}", count(total, "delivery", "deliveries")),
    )];
    if examples == total {
        findings.push(Finding::skip(TYPES, "only examples have been delivered yet"));
        return findings;
    }
    let total = total - examples;
    let came = |name: &str| seen.iter().any(|seen| seen.event_type == name && seen.n > seen.examples);
    let missing = |types: &[&'static str]| types.iter().filter(|name| !came(name)).copied().collect::<Vec<_>>();
    let (people, others) = (missing(&PEOPLE), missing(&OTHERS));
    let subscribe =
        "Subscribe the endpoint to them in Clerk's dashboard (Webhooks), unless they have just not happened yet";
    if people.is_empty() && others.is_empty() {
        findings.push(Finding::ok(TYPES, "all that are needed have come"));
    } else if !people.is_empty() && total >= ENOUGH {
        findings.push(Finding::warn(TYPES, format!("never came: {}", people.join(", ")), subscribe));
    } else {
        let never = [people, others].concat().join(", ");
        findings.push(Finding::note(TYPES, format!("never came: {never}"), subscribe));
    }
    let ignored = seen.iter().filter(|seen| seen.ignored > 0);
    let (later, never): (Vec<&Seen>, Vec<&Seen>) = ignored.partition(|seen| is_read_later(&seen.event_type));
    if !never.is_empty() {
        findings.push(Finding::note(
            "ignored-types",
            format!("delivered, and read by nobody: {}", named(&never)),
            "Take them out of the endpoint's subscription in Clerk's dashboard (Webhooks), to save deliveries",
        ));
    }
    if !later.is_empty() {
        findings.push(Finding::note(
            "later-types",
            format!("stored, not applied yet: {}", named(&later)),
            "Keep them subscribed: the version that reads them applies what is stored (clerk-sync replay)",
        ));
    }
    findings
}

/// Lists types with the number of their ignored events, a bounded number of them.
fn named(types: &[&Seen]) -> String {
    let named = types.iter().take(NAMED).map(|seen| format!("{} ({})", plain(&seen.event_type), seen.ignored));
    let more = types.len().saturating_sub(NAMED);
    let rest = if more > 0 { format!(" and {}", count(more as i64, "more type", "more types")) } else { String::new() };
    format!("{}{rest}", named.collect::<Vec<_>>().join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{clock::from_millis, doctor::Level};

    fn seen(event_type: &str, n: i64, ignored: i64) -> Seen {
        Seen { event_type: event_type.to_owned(), n, ignored, examples: 0, last: from_millis(1_000).unwrap() }
    }

    #[test]
    fn a_type_that_is_needed_is_missed_the_more_the_more_came() {
        let judge = |seen: &[Seen]| judge(seen, from_millis(61_000).unwrap());
        let levels = |seen: &[Seen]| judge(seen).iter().map(|finding| finding.level).collect::<Vec<_>>();
        assert_eq!(levels(&[]), [Level::Note, Level::Skip]);
        let few = [seen("user.created", 20, 0), seen("user.updated", 29, 0)];
        assert_eq!(levels(&few), [Level::Ok, Level::Note]);
        assert!(judge(&few)[0].found.starts_with("the last 1m ago; 49 deliveries"));
        let many = [seen("user.created", 20, 0), seen("user.updated", 30, 0)];
        assert_eq!(levels(&many), [Level::Ok, Level::Warn]);
        assert_eq!(judge(&many)[1].found, "never came: user.deleted");
        let people = [seen("user.created", 50, 0), seen("user.updated", 50, 0), seen("user.deleted", 1, 0)];
        assert_eq!(levels(&people), [Level::Ok, Level::Note], "organisations may not be used at all");
        let all: Vec<Seen> = PEOPLE.into_iter().chain(OTHERS).map(|name| seen(name, 9, 0)).collect();
        assert_eq!(levels(&all), [Level::Ok, Level::Ok]);
    }

    #[test]
    fn types_that_nobody_reads_are_named_by_plain_letters() {
        let seen: Vec<Seen> = (0..12).map(|n| seen(&format!("email.{n}\x1b[2J"), 3, 2)).collect();
        let finding = judge(&seen, from_millis(0).unwrap()).pop().unwrap();
        assert_eq!((finding.check, finding.level), ("ignored-types", Level::Note));
        assert!(
            finding.found.contains("email.02J (2), ") && finding.found.ends_with("and 2 more types"),
            "{finding:?}"
        );
        assert!(!finding.found.contains('\x1b'));
    }

    #[test]
    fn examples_say_nothing_about_the_subscription() {
        let mut seen = vec![Seen { examples: 3, ..seen("user.created", 3, 0) }];
        let findings = judge(&seen, from_millis(61_000).unwrap());
        assert!(findings[0].found.ends_with("3 of them examples of Clerk's (skipped: example)"), "{findings:?}");
        assert_eq!(findings[1].level, Level::Skip);
        seen.push(super::tests::seen("user.updated", ENOUGH, 0));
        let findings = judge(&seen, from_millis(61_000).unwrap());
        assert_eq!(findings[1].found, "never came: user.created, user.deleted");
    }

    #[test]
    fn types_that_a_later_version_reads_stay_subscribed() {
        let seen = [seen("user.merged", 3, 3), seen("waitlistEntry.created", 1, 1), seen("plan.changed", 2, 2)];
        let findings = judge(&seen, from_millis(0).unwrap());
        let about = |check: &str| findings.iter().find(|finding| finding.check == check).unwrap();
        assert_eq!(about("ignored-types").found, "delivered, and read by nobody: plan.changed (2)");
        let later = about("later-types");
        assert_eq!(later.found, "stored, not applied yet: user.merged (3), waitlistEntry.created (1)");
        assert!(later.remedy.as_deref().is_some_and(|remedy| remedy.starts_with("Keep them subscribed")));
    }
}
