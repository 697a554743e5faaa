//! Status: the first that holds of deleted, deprovisioned, banned, active. A lock is temporary and not mirrored.

/// What the `status` column says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are the column's words")]
pub enum Status {
    Active,
    Banned,
    Deprovisioned,
    Deleted,
}

impl Status {
    /// The status of a user with a live row: a function of the facts of their highest version.
    pub fn from_facts(banned: bool, deprovisioned: bool) -> Self {
        match (deprovisioned, banned) {
            (true, _) => Self::Deprovisioned,
            (false, true) => Self::Banned,
            (false, false) => Self::Active,
        }
    }

    /// The column's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Banned => "banned",
            Self::Deprovisioned => "deprovisioned",
            Self::Deleted => "deleted",
        }
    }

    /// From the column's word.
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Active, Self::Banned, Self::Deprovisioned, Self::Deleted]
            .into_iter()
            .find(|status| status.as_str() == word)
    }
}
