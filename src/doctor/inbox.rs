//! What stands still, and for whom it waits.

use std::time::Duration;

use sea_orm::DbErr;

use crate::{
    clock::Clock,
    config,
    db::{Db, Stmt},
    inbox::admission::{Refused, Rule},
    telemetry::service::{CAP, Queues},
};

use super::{
    finding::{Finding, count, plain},
    reading,
};

/// How long an event may be due before it says that nobody applies it.
const OVERDUE: Duration = Duration::from_secs(60);

/// How many people the rules of entry refuse, and the line that lets them in.
pub(super) async fn entry(db: &Db, rules: &config::Entry) -> Result<Vec<Finding>, DbErr> {
    let tx = reading(db).await?;
    let refused = Refused::count(&tx).await?;
    tx.commit().await?;
    let finding = |rule: Rule| {
        let (n, on, switch) = (refused.by(rule), rule.is_on(rules), rule.switch());
        let people = count(n, "person is refused,", "people are refused,");
        let found = format!("{people} {} ({} = {on})", rule.refuses(), rule.key());
        let remedy = match on {
            true => format!("To let them in set {switch}, restart, and run `clerk-sync replay --state rejected`"),
            false => "The rule is off now: run `clerk-sync replay --state rejected`".to_owned(),
        };
        Finding::warn("entry", found, remedy)
    };
    let findings: Vec<Finding> = Rule::ALL.into_iter().filter(|rule| refused.by(*rule) > 0).map(finding).collect();
    Ok(match findings.is_empty() {
        true => vec![Finding::ok("entry", "nobody is refused by entry.require_name or entry.require_email")],
        false => findings,
    })
}

pub(super) async fn check(db: &Db, clock: &Clock) -> Result<Vec<Finding>, DbErr> {
    let queues = Queues::read(db, clock.now()).await?;
    let tx = reading(db).await?;
    let failing: Vec<(String, i64)> =
        Stmt::new(&tx, "select sink, attempts from clerk_sync.sink_cursors where attempts > 0 order by sink limit 20")
            .all(&tx)
            .await?
            .iter()
            .map(|row| Ok((row.try_get("", "sink")?, row.try_get("", "attempts")?)))
            .collect::<Result<_, DbErr>>()?;
    tx.commit().await?;
    Ok(judge(&queues, &failing))
}

fn judge(queues: &Queues, failing: &[(String, i64)]) -> Vec<Finding> {
    let rows = |queue: &str, state: &str| {
        queues.rows.iter().find(|(q, s, _)| *q == queue && *s == state).map_or(0, |(_, _, n)| *n)
    };
    let number = |n: i64| if n >= CAP { format!("{CAP} or more") } else { n.to_string() };
    let mut findings = Vec::new();
    if queues.oldest_seconds >= OVERDUE.as_secs_f64() {
        findings.push(Finding::warn(
            "pending",
            format!("{} to be applied, due for {:.0} s", number(rows("inbox", "pending")), queues.oldest_seconds),
            "Start `clerk-sync serve` with the role sync; if it runs, its log says what stops it",
        ));
    }
    for (queue, state, weigh, what, remedy) in [
        (
            "inbox",
            "dead",
            Finding::warn as Weigh,
            "failed for good",
            "`clerk-sync inbox list --state dead`, remove the cause, `clerk-sync inbox retry ID`",
        ),
        (
            "inbox",
            "held",
            Finding::warn,
            "deletions and updates that wait for you",
            "`clerk-sync deletions list`, then release or cancel",
        ),
        (
            "inbox",
            "conflict",
            Finding::note,
            "stopped by an address that somebody else has",
            "`clerk-sync conflicts list`",
        ),
        (
            "inbox",
            "waiting",
            Finding::note,
            "memberships without their organisation or person",
            "`clerk-sync inbox list --state waiting`; with an API key `clerk-sync reconcile` fetches them",
        ),
        (
            "dead_letters",
            "open",
            Finding::warn,
            "changes that a sink refused for good",
            "`clerk-sync dead-letters list`",
        ),
    ] {
        let n = rows(queue, state);
        if n > 0 {
            let check = if queue == "inbox" { state } else { "dead-letters" };
            findings.push(weigh(check, format!("{} {what}", number(n)), remedy));
        }
    }
    for (sink, attempts) in failing {
        findings.push(Finding::warn(
            "sinks",
            format!("{} takes nothing, after {}", plain(sink), count(*attempts, "attempt", "attempts")),
            "Its checks above may say why, and the log does: `a sink is not taking changes`",
        ));
    }
    if findings.is_empty() {
        findings.push(Finding::ok("inbox", "nothing waits for anybody"));
    }
    findings
}

type Weigh = fn(&'static str, String, &'static str) -> Finding;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Level;

    #[test]
    fn what_stands_still_is_named_with_its_command() {
        let queues = |rows: &[(&'static str, &'static str, i64)], oldest_seconds| Queues {
            rows: rows.to_vec(),
            oldest_seconds,
            head: 0,
            sinks: Vec::new(),
        };
        let busy = queues(&[("inbox", "pending", 9)], 59.0);
        assert_eq!(judge(&busy, &[]), [Finding::ok("inbox", "nothing waits for anybody")]);
        let overdue = judge(&queues(&[("inbox", "pending", CAP)], 61.0), &[]);
        assert_eq!(
            (overdue[0].level, overdue[0].found.as_str()),
            (Level::Warn, "100000 or more to be applied, due for 61 s")
        );
        let all = queues(
            &[
                ("inbox", "dead", 1),
                ("inbox", "held", 2),
                ("inbox", "conflict", 3),
                ("inbox", "waiting", 4),
                ("dead_letters", "open", 5),
            ],
            0.0,
        );
        let found = judge(&all, &[("cache:redis".into(), 3)]);
        let checks: Vec<_> = found.iter().map(|finding| finding.check).collect();
        assert_eq!(checks, ["dead", "held", "conflict", "waiting", "dead-letters", "sinks"]);
        assert!(found.iter().all(|finding| finding.level != Level::Fail && finding.remedy.is_some()));
    }
}
