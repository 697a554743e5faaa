//! **Facts first**: what we know of a subject. Each part only grows (max, or, or, min), so it is the same
//! whatever the order in which events came.

use crate::clock::Time;

use super::{Version, membership::Pair, status::Status};

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
        }
        rose
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
        self.deleted_at = earliest;
        new
    }

    /// Whether a newer version than this is known.
    pub fn outdates(&self, version: &Version) -> bool {
        self.newest.as_ref().is_some_and(|newest| newest > version)
    }
}
