//! Users that the rules of admission refuse, reported to operators: `entry.require_name` refuses every sign-up
//! with Clerk's e-mail code, so the first refusal of a process is logged with the switch, and `doctor` and `dev` count.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering::Relaxed},
};

use entity::inbox::PARKED;
use sea_orm::{ConnectionTrait, DbErr};

use crate::{
    config,
    db::{Db, Quiet, Stmt},
    domain::{Outcome, State, entry},
};

use super::list::WINDOW;

/// A rule of entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// `entry.require_name`.
    Name,
    /// `entry.require_email`.
    Email,
}

/// How many people each rule refuses, among the newest parked receipts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refused {
    /// People without a first and a last name.
    pub nameless: i64,
    /// People without an e-mail address.
    pub mailless: i64,
}

/// Logs once a process, and rule, that people are refused. Cheap to clone; clones share what was logged.
#[derive(Debug, Clone, Default)]
pub struct AdmissionLog(Arc<[AtomicBool; 2]>);

impl Rule {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Name, Self::Email];

    /// Returns the config key.
    pub fn key(self) -> &'static str {
        match self {
            Self::Name => entry::REQUIRE_NAME,
            Self::Email => entry::REQUIRE_EMAIL,
        }
    }

    /// Returns the line of an environment that turns the rule off.
    pub fn switch(self) -> &'static str {
        match self {
            Self::Name => "CLERK_SYNC__ENTRY__REQUIRE_NAME=false",
            Self::Email => "CLERK_SYNC__ENTRY__REQUIRE_EMAIL=false",
        }
    }

    /// Returns a description of the users that it refuses.
    pub fn refuses(self) -> &'static str {
        match self {
            Self::Name => "having neither a first nor a last name",
            Self::Email => "having no e-mail address",
        }
    }

    /// Whether the rule is on.
    pub fn is_on(self, rules: &config::Entry) -> bool {
        match self {
            Self::Name => rules.require_name,
            Self::Email => rules.require_email,
        }
    }

    /// Returns the rules that ended an event: its reason names each.
    fn of(outcome: &Outcome) -> impl Iterator<Item = Self> {
        let reason = outcome.reason.as_deref().filter(|_| outcome.state == State::Rejected).unwrap_or_default();
        Self::ALL.into_iter().filter(move |rule| reason.contains(&format!("{}: ", rule.key())))
    }
}

impl Refused {
    /// Counts people, not deliveries; one statement over the newest parked receipts.
    ///
    /// # Errors
    /// What the database says.
    pub async fn count(db: &impl ConnectionTrait) -> Result<Self, DbErr> {
        let rows = Stmt::new(
            db,
            "select count(distinct case when reason like '%entry.require_name: %' then subject end) as nameless,
                count(distinct case when reason like '%entry.require_email: %' then subject end) as mailless
                from (select subject, reason from clerk_sync.inbox where state = 'rejected' and ",
        )
        .sql(PARKED)
        .sql(" order by seq desc limit ")
        .val(WINDOW)
        .sql(") refused")
        .all(db)
        .await?;
        let number = |column: &str| rows.first().map_or(Ok(0), |row| row.try_get::<i64>("", column));
        Ok(Self { nameless: number("nameless")?, mailless: number("mailless")? })
    }

    /// Returns how many people a rule refuses.
    pub fn by(self, rule: Rule) -> i64 {
        match rule {
            Rule::Name => self.nameless,
            Rule::Email => self.mailless,
        }
    }
}

impl AdmissionLog {
    /// Logs the first refusal of each rule among outcomes that were committed.
    pub fn note<'a>(&self, outcomes: impl Iterator<Item = &'a Outcome>) {
        for rule in outcomes.flat_map(Rule::of) {
            if self.is_first(rule) {
                tracing::warn!(
                    remedy = rule.switch(),
                    "{} refuses a person, {}; to let them in set {}, restart, and run `clerk-sync replay --state \
                     rejected`. Logged once; `clerk-sync doctor` counts",
                    rule.key(),
                    rule.refuses(),
                    rule.switch(),
                );
            }
        }
    }

    /// Logs how many people were refused before this process began, if any were.
    pub async fn report_stored(&self, db: &Db, rules: &config::Entry) {
        let refused = match Refused::count(&db.read).await {
            Ok(refused) => refused,
            Err(error) => {
                tracing::warn!(error = %Quiet(&error), "people whom the rules of entry refuse could not be counted");
                return;
            }
        };
        for rule in Rule::ALL.into_iter().filter(|rule| refused.by(*rule) > 0) {
            let people = refused.by(rule);
            match rule.is_on(rules) {
                true if self.is_first(rule) => tracing::warn!(
                    people,
                    remedy = rule.switch(),
                    "{} has refused people, {}; to let them in set {}, restart, and run `clerk-sync replay --state \
                     rejected`",
                    rule.key(),
                    rule.refuses(),
                    rule.switch(),
                ),
                true => {}
                false => tracing::warn!(
                    people,
                    remedy = "clerk-sync replay --state rejected",
                    "{} refused people and is off now: `clerk-sync replay --state rejected` lets them in",
                    rule.key(),
                ),
            }
        }
    }

    fn is_first(&self, rule: Rule) -> bool {
        let [name, email] = &*self.0;
        !match rule {
            Rule::Name => name,
            Rule::Email => email,
        }
        .swap(true, Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_refusal_of_each_rule_is_noted_once() {
        let log = AdmissionLog::default();
        let (first, again) = (log.is_first(Rule::Name), log.clone().is_first(Rule::Name));
        assert_eq!((first, again, log.is_first(Rule::Email)), (true, false, true));
    }

    #[test]
    fn only_a_rejection_by_a_rule_of_entry_is_one() {
        for (outcome, rule) in [
            (Outcome::rejected("entry.require_name: neither"), vec![Rule::Name]),
            (Outcome::rejected("entry.require_email: none"), vec![Rule::Email]),
            (Outcome::rejected("entry.require_email: none; entry.require_name: neither"), Rule::ALL.to_vec()),
            (Outcome::rejected("gone at Clerk"), vec![]),
            (Outcome::dead("entry.require_name: neither"), vec![]),
            (Outcome::done("created"), vec![]),
        ] {
            assert_eq!(Rule::of(&outcome).collect::<Vec<_>>(), rule, "{outcome:?}");
        }
    }
}
