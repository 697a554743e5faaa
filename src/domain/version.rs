//! **Version**: the total order of one subject's snapshots.
//!
//! A user's is (object `updated_at`, envelope `timestamp`, hash of the normalised object). It is kept as a text
//! whose alphabetical order is that order, so that a column can hold it and no reader can compare it wrongly.

use std::fmt;

use serde::Serialize;
use sha2::{Digest, Sha256};

/// The version of one snapshot. Greater is newer.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(String);

impl Version {
    /// The version of a snapshot: `updated_at` and `timestamp` in milliseconds since 1970 (never negative),
    /// and the snapshot itself, which settles ties the same way on every replica.
    pub fn of(updated_at: u64, timestamp: u64, snapshot: &impl Serialize) -> Self {
        Self(format!("{updated_at:015}.{timestamp:015}.{}", hash(snapshot)))
    }

    /// The version of a membership: (Clerk's `created_at` of it, its id, whether it ended, then as of any snapshot). So an
    /// end stands above everything of its id, even with an older `updated_at`, and a rejoin above both.
    pub fn of_membership(
        (created_at, id): (u64, &str),
        ended: bool,
        updated_at: u64,
        timestamp: u64,
        snapshot: &impl Serialize,
    ) -> Self {
        let rest = Self::of(updated_at, timestamp, snapshot);
        Self(format!("{created_at:015}.{id}.{}.{rest}", u8::from(ended)))
    }

    /// Of a membership's version: whether it is that of a snapshot of the membership with this id.
    pub fn is_snapshot_of(&self, id: &str) -> bool {
        let rest = self.0.split_once('.').and_then(|(_, rest)| rest.strip_prefix(id));
        rest.is_some_and(|rest| rest.starts_with(".0."))
    }

    /// As the `version` columns hold it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// From a `version` column.
    pub fn stored(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// 64 bits of SHA-256 over the JSON of `snapshot`, which is canonical: its fields have one order, and JSON objects in it
/// are sorted maps, so the order in which Clerk wrote members does not matter.
fn hash(snapshot: &impl Serialize) -> String {
    let canonical = serde_json::to_vec(snapshot).unwrap_or_default();
    Sha256::digest(&canonical)[..8].iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_by_updated_at_then_timestamp_then_content() {
        let v = |updated, at, text: &str| Version::of(updated, at, &text);
        assert!(v(9, 9, "b") < v(10, 1, "a"));
        assert!(v(10, 9, "b") < v(10, 10, "a"));
        assert_ne!(v(10, 10, "a"), v(10, 10, "b"));
        assert_eq!(v(10, 10, "a"), v(10, 10, "a"));
    }

    #[test]
    fn of_a_membership_an_end_is_above_its_id_and_a_rejoin_above_both() {
        let v = |created, id, ended, updated| Version::of_membership((created, id), ended, updated, updated, &"");
        let (first, updated, end) = (v(10, "a", false, 10), v(10, "a", false, 90), v(10, "a", true, 5));
        let (again, same_moment) = (v(50, "b", false, 50), v(10, "b", false, 10));
        assert!(first < updated && updated < end && end < again);
        assert!(end < same_moment && same_moment < again);
    }

    #[test]
    fn the_order_of_members_does_not_matter() {
        let one: serde_json::Value = serde_json::from_str(r#"{"a":1,"b":{"c":2,"d":3}}"#).unwrap();
        let two: serde_json::Value = serde_json::from_str(r#"{"b":{"d":3,"c":2},"a":1}"#).unwrap();
        assert_eq!(Version::of(1, 1, &one), Version::of(1, 1, &two));
    }
}
