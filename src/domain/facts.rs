//! **Facts first**: what we know of a subject. Each part only grows (max, or, or, min), so it is the same
//! whatever the order in which events came.
//!
//! One fact can be cleared: that a comparison found the subject **absent** at Clerk. It is no word of Clerk's about a
//! deletion, so a newer snapshot, or an object of Clerk's API, brings the subject back.

use crate::clock::Time;

use super::{Outcome, Version, membership::Pair, status::Status};

/// How an event of a subject ends that a comparison found absent, where it shows nothing newer.
pub(super) fn absent() -> Outcome {
    let why = "absent: a comparison found it gone at Clerk; a newer event, or Clerk's API, brings it back";
    Outcome::skipped("tombstoned").because(Some(why.to_owned()))
}

/// What is known of one subject, applied or not.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// The highest version of any well-formed event seen.
    pub newest: Option<Version>,
    /// Whether any well-formed event met the requirements of entry.
    pub entered: bool,
    /// Whether a deletion was applied. Final.
    pub deleted: bool,
    /// Whether every trace of the person was removed: nothing about them is kept any more.
    pub erased: bool,
    /// The earliest time that a deletion carried.
    pub deleted_at: Option<Time>,
    /// The version as of which a comparison found it absent at Clerk; none where something newer is known.
    pub absent: Option<Version>,
    /// Of a user: whether the highest version seen says banned, applied or not.
    pub banned: bool,
    /// Of a user: whether the highest version seen says deprovisioned, applied or not.
    pub deprovisioned: bool,
    /// Of a membership id: whose it is, once an event has named both.
    pub pair: Option<Pair>,
}

impl Facts {
    /// Takes note of a version; answers whether the newest one rose.
    pub fn raise(&mut self, version: &Version) -> bool {
        let rose = self.newest.as_ref().is_none_or(|newest| newest < version);
        if rose {
            self.newest = Some(version.clone());
            self.absent.take_if(|absent| *absent < *version);
        }
        rose
    }

    /// Takes note that a comparison found it absent at Clerk when `seen` was the newest version known; returns whether
    /// that is new. What is deleted, or of which something newer is known, is not absent.
    pub fn vanish(&mut self, seen: &Version) -> bool {
        let known = self.absent.as_ref().is_some_and(|absent| absent >= seen);
        if self.deleted || known || self.outdates(seen) {
            return false;
        }
        self.absent = Some(seen.clone());
        true
    }

    /// Takes note that Clerk's API shows it. What was absent begins anew with what is shown: its earlier versions are of
    /// what Clerk did not have when it was looked for.
    pub fn appear(&mut self) {
        if self.absent.take().is_some() {
            self.newest = None;
        }
    }

    /// Whether no row may show it: deleted, or absent at Clerk.
    pub fn is_gone(&self) -> bool {
        self.deleted || self.absent.is_some()
    }

    /// Takes note of a user's version and of the access that it leaves them; returns whether the newest version rose.
    pub fn raise_user(&mut self, version: &Version, banned: bool, deprovisioned: bool) -> bool {
        // Equal versions say the same; rows from before these facts were kept learn it when they are planned again.
        if self.newest.as_ref().is_none_or(|newest| newest <= version) {
            (self.banned, self.deprovisioned) = (banned, deprovisioned);
        }
        self.raise(version)
    }

    /// Takes note of whose a membership id is; returns whether that is new.
    pub fn name_pair(&mut self, pair: &Pair) -> bool {
        let new = self.pair.is_none();
        self.pair.get_or_insert_with(|| pair.clone());
        new
    }

    /// The status of a user who has a live row.
    pub fn status(&self) -> Status {
        Status::from_facts(self.banned, self.deprovisioned)
    }

    /// Takes note of entry; answers whether it is new.
    pub fn enter(&mut self) -> bool {
        !std::mem::replace(&mut self.entered, true)
    }

    /// Takes note of a deletion; answers whether anything is new.
    pub fn bury(&mut self, at: Option<Time>) -> bool {
        let earliest = match (self.deleted_at, at) {
            (Some(known), Some(at)) => Some(known.min(at)),
            (known, at) => known.or(at),
        };
        let new = !self.deleted || earliest != self.deleted_at;
        self.deleted = true;
        self.absent = None;
        self.deleted_at = earliest;
        new
    }

    /// Whether a newer version than this is known.
    pub fn outdates(&self, version: &Version) -> bool {
        self.newest.as_ref().is_some_and(|newest| newest > version)
    }
}
