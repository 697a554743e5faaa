//! The names under which clients subscribe, and which of them a row of the change feed reaches.
//!
//! Invariant: live and replayed rows are matched by the same function, [`reached`], over what the row itself says.
//! So a person whom we do not know yet can be subscribed to by Clerk id, and nothing must happen when they appear.

use std::{borrow::Cow, collections::BTreeSet, fmt};

use uuid::Uuid;

use crate::outbox::{feed::Entry, past::Wanted};

/// A topic that exists.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Topic {
    /// Every person's changes, a few fields of each.
    Users,
    /// Every organisation's changes.
    Organizations,
    /// What operators must know.
    Admin,
    /// One person.
    User(Name),
    /// One organisation.
    Org(Name),
}

/// How somebody is named.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Name {
    /// Our id.
    Id(Uuid),
    /// Clerk's id, of a row that was not there when it was asked for.
    Clerk(String),
}

impl Name {
    fn parse(text: &str) -> Option<Self> {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
        if text == "me" || text.is_empty() || text.len() > 255 || !text.chars().all(plain) {
            return None;
        }
        Some(Uuid::parse_str(text).map_or_else(|_| Self::Clerk(text.to_owned()), Self::Id))
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => id.fmt(f),
            Self::Clerk(id) => f.write_str(id),
        }
    }
}

impl Topic {
    /// From a client's word. `None`: there is no such topic.
    pub(super) fn parse(word: &str) -> Option<Self> {
        match word {
            "users" => Some(Self::Users),
            "organizations" => Some(Self::Organizations),
            "admin" => Some(Self::Admin),
            _ => match word.split_once(':')? {
                ("user", name) => Name::parse(name).map(Self::User),
                ("org", name) => Name::parse(name).map(Self::Org),
                _ => None,
            },
        }
    }

    /// The canonical word.
    pub(super) fn word(&self) -> String {
        match self {
            Self::Users => "users".into(),
            Self::Organizations => "organizations".into(),
            Self::Admin => "admin".into(),
            Self::User(user) => format!("user:{user}"),
            Self::Org(org) => format!("org:{org}"),
        }
    }

    /// What a replay of it looks for.
    pub(super) fn wanted(&self) -> Wanted {
        let subject = match self {
            Self::User(Name::Clerk(id)) | Self::Org(Name::Clerk(id)) => Some(id.clone()),
            _ => None,
        };
        Wanted { topic: self.word(), subject }
    }
}

/// The canonical word of the topic that a client's word names; `None` where there is no such topic.
pub fn canonical_word(word: &str) -> Option<String> {
    Topic::parse(word).map(|topic| topic.word())
}

/// The words of every topic that a row reaches, each once: its own, those it is routed to, and, where it is routed
/// to a person or an organisation, the same by Clerk's id, which its subject names. Nothing of the topic `internal`.
pub fn reached(entry: &Entry) -> Vec<Cow<'_, str>> {
    if entry.topic == "internal" {
        return Vec::new();
    }
    let routed = || entry.routing.as_array().into_iter().flatten().filter_map(|topic| topic.as_str());
    let mut words: Vec<Cow<'_, str>> = vec![entry.topic.as_str().into()];
    words.extend(routed().map(Cow::from));
    // A membership's subject is `organisation/user`.
    let (org, user) = entry.subject.split_once('/').unwrap_or((&entry.subject, &entry.subject));
    for (kind, id) in [("user", user), ("org", org)] {
        if routed().any(|word| word.split_once(':').is_some_and(|(routed, _)| routed == kind)) {
            words.push(format!("{kind}:{id}").into());
        }
    }
    let mut seen = BTreeSet::new();
    words.retain(|word| seen.insert(word.clone()));
    words
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn entry(topic: &str, subject: &str, routing: serde_json::Value) -> Entry {
        Entry::of(1, "user.updated", topic, subject, routing, json!({}))
    }

    #[test]
    fn words_are_canonical() {
        let id = Uuid::from_u128(7);
        for word in ["users", "organizations", "admin", "user:user_1", "org:org_1"] {
            assert_eq!(Topic::parse(word).unwrap().word(), word);
        }
        assert_eq!(Topic::parse(&format!("user:{}", id.simple())).unwrap().word(), format!("user:{id}"));
        for word in ["", "user", "user:", "user:me", "user:a b", "user:a:b", "org:a/b", "Users", "internal", "x:1"] {
            assert_eq!(Topic::parse(word), None, "{word}");
        }
    }

    #[test]
    fn a_row_reaches_its_topics_by_either_name() {
        let row = entry("users", "user_1", json!(["user:7", "user:7"]));
        assert_eq!(reached(&row), ["users", "user:7", "user:user_1"]);
        let row = entry("organizations", "org_1/user_1", json!(["org:8", "user:7"]));
        assert_eq!(reached(&row), ["organizations", "org:8", "user:7", "user:user_1", "org:org_1"]);
    }

    #[test]
    fn operators_messages_stay_with_operators_and_internal_ones_go_nowhere() {
        assert_eq!(reached(&entry("admin", "user_1", json!([]))), ["admin"]);
        assert!(reached(&entry("internal", "user_1", json!(["user:7"]))).is_empty());
    }
}
