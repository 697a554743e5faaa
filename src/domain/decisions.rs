//! **Decisions** of operators about an address that two persons claim. Read by the plan, so that replays and later
//! events respect them.

use std::{
    borrow::Cow,
    collections::{BTreeSet, HashMap},
};

use uuid::Uuid;

use super::{User, Version, World, emails::normalise};

/// What an operator can decide for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The newcomer goes without the address as long as the older person is live, not deletion-held and shows it
    /// verified.
    KeepExisting,
    /// The address leaves the older person at and below the version noted; only a higher one that lists it asks again.
    TakeOver,
}

impl Verdict {
    /// The column's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::KeepExisting => "keep_existing",
            Self::TakeOver => "take_over",
        }
    }

    /// From the column's word.
    pub fn parse(word: &str) -> Option<Self> {
        [Self::KeepExisting, Self::TakeOver].into_iter().find(|verdict| verdict.as_str() == word)
    }
}

/// A row of `conflict_decisions`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are the columns'")]
pub struct Decision {
    pub id: Uuid,
    pub newcomer: String,
    pub older: String,
    /// In normal form.
    pub address: String,
    pub verdict: Verdict,
    /// The older person's newest known version when it was decided.
    pub older_version: Option<Version>,
}

/// The decisions that bind the persons of a batch.
#[derive(Debug, Clone, Default)]
pub struct Decisions(HashMap<String, Vec<Decision>>);

impl Decisions {
    /// Adds one; of two about the same persons and address the later one stands.
    pub fn add(&mut self, decision: Decision) {
        let about = |other: &Decision| {
            (&other.newcomer, &other.older, &other.address) == (&decision.newcomer, &decision.older, &decision.address)
        };
        self.0.values_mut().for_each(|known| known.retain(|other| !about(other)));
        let bound = match decision.verdict {
            Verdict::KeepExisting => &decision.newcomer,
            Verdict::TakeOver => &decision.older,
        };
        self.0.entry(bound.clone()).or_default().push(decision);
    }
}

/// The addresses, in normal form, that a snapshot of this person at this version goes without.
fn withheld<'a>(world: &'a World, clerk_id: &str, version: &Version) -> BTreeSet<&'a str> {
    let decisions = world.decisions.0.get(clerk_id).into_iter().flatten();
    let binds = |decision: &&Decision| match decision.verdict {
        Verdict::KeepExisting => world.live(&decision.older).is_some_and(|row| {
            row.deletion_held_at.is_none() && row.addresses.get(&decision.address).is_some_and(|held| held.verified)
        }),
        Verdict::TakeOver => decision.older_version.as_ref().is_some_and(|noted| version <= noted),
    };
    decisions.filter(binds).map(|decision| decision.address.as_str()).collect()
}

/// The snapshot as it is applied: without the addresses that decisions withhold.
pub fn effective<'a>(world: &World, user: &'a User, version: &Version) -> Cow<'a, User> {
    let withheld = withheld(world, &user.clerk_id, version);
    if withheld.is_empty() {
        return Cow::Borrowed(user);
    }
    let mut user = user.clone();
    user.emails.retain(|email| !withheld.contains(normalise(&email.address).as_str()));
    Cow::Owned(user)
}
