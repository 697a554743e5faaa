//! What runs found, in Clerk's ids and names of fields.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::{
    clerk::object::Kind,
    domain::State,
    sync::objects::{Applied, Report},
};

/// Ids of one kind of difference that a report names; the count tells of the others.
const NAMED: usize = 10_000;

/// The word of a kind.
pub fn word(kind: Kind) -> &'static str {
    match kind {
        Kind::User => "users",
        Kind::Organization => "organizations",
        Kind::Membership | Kind::MembershipId => "memberships",
    }
}

/// How many of each kind came to what.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Tally(pub BTreeMap<String, BTreeMap<String, u64>>);

impl Tally {
    /// Adds what became of objects of one kind.
    pub fn add(&mut self, kind: Kind, report: &Report) {
        let of_kind = self.0.entry(word(kind).to_owned()).or_default();
        for applied in &report.applied {
            *of_kind.entry(applied.outcome.outcome.to_owned()).or_default() += 1;
        }
    }

    /// How many of a kind came to an outcome.
    pub fn count(&self, kind: Kind, outcome: &str) -> u64 {
        self.0.get(word(kind)).and_then(|of_kind| of_kind.get(outcome)).copied().unwrap_or_default()
    }

    /// How many objects were read.
    pub fn total(&self) -> u64 {
        self.0.values().flat_map(BTreeMap::values).sum()
    }
}

/// One difference.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Item {
    /// `users`, `organizations` or `memberships`.
    pub kind: &'static str,
    /// Clerk's id; of a membership `org_…/user_…`.
    pub id: String,
    /// The fields that differ.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<String>,
    /// Why it was not mended, where it was not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Differences of one sort.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Found {
    /// How many.
    pub count: u64,
    /// Which; the first ten thousand.
    pub items: Vec<Item>,
}

impl Found {
    /// Adds one.
    pub fn push(&mut self, item: Item) {
        self.count += 1;
        if self.items.len() < NAMED {
            self.items.push(item);
        }
    }
}

/// Of one kind, how many a run would have removed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Held {
    /// The word of the kind.
    pub kind: &'static str,
    /// How many rows Clerk does not know; where not all were asked for, as many as those who were tell.
    pub absent: u64,
    /// How many live rows there are.
    pub live: u64,
    /// How many may be removed.
    pub allowed: u64,
}

/// What a comparison with Clerk found.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Drift {
    /// Objects read from Clerk, by kind.
    pub scanned: BTreeMap<&'static str, u64>,
    /// At Clerk and not here.
    pub missing: Found,
    /// Older here than at Clerk.
    pub stale: Found,
    /// Here and no longer at Clerk.
    pub extra: Found,
    /// At Clerk, and something here stands in the way.
    pub conflicting: Found,
    /// Deleted here, and alive at Clerk.
    pub buried: Found,
    /// Tombstoned here, and in one of Clerk's lists: buried where Clerk knows them by their ids, too.
    #[serde(skip)]
    pub(super) tombstoned: BTreeSet<(Kind, String)>,
    /// Of which kinds the run would have removed too many; then it removed nothing.
    pub held: Vec<Held>,
    /// At Clerk, refused here by the rules of entry; no difference.
    pub refused: u64,
    /// Deliveries about these are stored and about to be applied; no difference.
    pub in_flight: u64,
    /// No longer at Clerk, and left for the next run by `reconcile.extras_max`.
    pub left: u64,
    /// Whether it was mended, or only looked at.
    pub dry_run: bool,
}

impl Drift {
    /// Differences in all.
    pub fn count(&self) -> u64 {
        self.lost() + self.buried.count
    }

    /// Differences that lost deliveries explain.
    pub fn lost(&self) -> u64 {
        self.missing.count + self.stale.count + self.extra.count + self.conflicting.count
    }

    /// Whether a difference is left that the run did not resolve.
    pub fn is_unresolved(&self) -> bool {
        let found = self.dry_run && self.count() > 0;
        found || self.conflicting.count > 0 || self.buried.count > 0 || self.left > 0 || !self.held.is_empty()
    }

    /// Each sort with its metric's label.
    pub fn sorts(&self) -> [(&'static str, &Found); 5] {
        [
            ("missing", &self.missing),
            ("stale", &self.stale),
            ("extra", &self.extra),
            ("conflicting", &self.conflicting),
            ("buried", &self.buried),
        ]
    }

    /// Adds what became of objects of one kind. `told`: which of them only an alert would tell twice.
    pub fn add(&mut self, kind: Kind, report: &Report) {
        for applied in &report.applied {
            let Some(subject) = &applied.subject else { continue };
            let fields = report.changes.get(subject).map(|fields| fields.keys().cloned().collect::<Vec<_>>());
            self.sort(kind, applied, subject, fields.unwrap_or_default());
        }
    }

    fn sort(&mut self, kind: Kind, applied: &Applied, subject: &str, fields: Vec<String>) {
        let outcome = &applied.outcome;
        let item = |fields: Vec<String>, reason: Option<String>| Item {
            kind: word(kind),
            id: subject.to_owned(),
            fields,
            reason,
        };
        let parked = !matches!(outcome.state, State::Done | State::Skipped);
        if parked && applied.known {
            return;
        }
        match (outcome.state, outcome.outcome) {
            (State::Skipped, "tombstoned") if self.tombstoned.len() < NAMED => {
                self.tombstoned.insert((kind, subject.to_owned()));
            }
            (State::Done, "unchanged") | (State::Skipped | State::Discarded, _) => {}
            _ if applied.in_flight => self.in_flight += 1,
            (State::Done, "created") => self.missing.push(item(Vec::new(), None)),
            (State::Done, "deleted") => self.extra.push(item(Vec::new(), None)),
            (State::Done, _) => self.stale.push(item(fields, None)),
            (State::Rejected, _) => self.refused += 1,
            (State::Waiting, _) => self.missing.push(item(Vec::new(), outcome.reason.clone())),
            (State::Held, _) => self.extra.push(item(Vec::new(), outcome.reason.clone())),
            _ => self.conflicting.push(item(Vec::new(), outcome.reason.clone())),
        }
    }
}
