//! **Facts first**: what we know of a subject. Each part only grows (max, or, or, min), so it is the same
//! whatever the order in which events came.

use crate::clock::Time;

use super::Version;

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
