//! The names under which clients subscribe, and which of them a row of the change feed reaches.
//!
//! Invariant: live and replayed rows are matched by the same function, [`reached`], over what the row itself says.
//! So a person whom we do not know yet can be subscribed to by Clerk id, and nothing must happen when they appear.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
};

use entity::Id;
use sea_orm::{ConnectionTrait, DbErr, FromQueryResult};
use uuid::Uuid;

use crate::{
    db::{Rows, Stmt},
    outbox::{feed::Entry, past::Wanted},
};

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
        let name = |kind: &str, name: &Name| match name {
            Name::Id(id) => format!("{kind}:{id}"),
            Name::Clerk(id) => format!("{kind}:{id}"),
        };
        match self {
            Self::Users => "users".into(),
            Self::Organizations => "organizations".into(),
            Self::Admin => "admin".into(),
            Self::User(user) => name("user", user),
            Self::Org(org) => name("org", org),
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

/// The words of every topic that a row reaches, each once: its own, those it is routed to, and, where it is routed
/// to a person or an organisation, the same by Clerk's id, which its subject names. Nothing of the topic `internal`.
pub(super) fn reached(entry: &Entry) -> Vec<Cow<'_, str>> {
    if entry.topic == "internal" {
        return Vec::new();
    }
    let routed = || entry.routing.as_array().into_iter().flatten().filter_map(serde_json::Value::as_str);
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

/// Both names of persons, as far as their rows are there.
#[derive(Debug, Default)]
pub(super) struct People(BTreeMap<String, (Uuid, Option<String>)>);

#[derive(FromQueryResult)]
struct Row {
    k: String,
    id: Id,
    clerk_id: Option<String>,
}

impl People {
    /// Looks up the persons whom these topics name, in one statement.
    ///
    /// # Errors
    /// What the database says.
    pub(super) async fn load(db: &impl ConnectionTrait, topics: &[Topic]) -> Result<Self, DbErr> {
        let named = |want: fn(&Name) -> Option<String>| {
            topics.iter().filter_map(move |topic| if let Topic::User(name) = topic { want(name) } else { None })
        };
        let ids = Rows::keys(named(|name| if let Name::Id(id) = name { Some(id.to_string()) } else { None }));
        let clerk_ids = Rows::keys(named(|name| if let Name::Clerk(id) = name { Some(id.clone()) } else { None }));
        if ids.is_empty() && clerk_ids.is_empty() {
            return Ok(Self::default());
        }
        let rows: Vec<Row> = Stmt::new(db, "select r.k, u.id, u.clerk_id from ")
            .rows(ids)
            .sql(" join users u on u.id = ")
            .dialect("cast(r.k as uuid)", "r.k")
            .sql(" union all select r.k, u.id, u.clerk_id from ")
            .rows(clerk_ids)
            .sql(" join users u on u.clerk_id = r.k")
            .all_as(db)
            .await?;
        Ok(Self(rows.into_iter().map(|row| (row.k, (row.id.0, row.clerk_id))).collect()))
    }

    /// The topic under its canonical name, and the other name that means the same person.
    pub(super) fn canonical(&self, topic: Topic) -> (Topic, Option<Topic>) {
        let found = match &topic {
            Topic::User(Name::Id(id)) => self.0.get(&id.to_string()),
            Topic::User(Name::Clerk(id)) => self.0.get(id),
            _ => None,
        };
        match found {
            Some((id, clerk_id)) => {
                let other = clerk_id.clone().map(|clerk_id| Topic::User(Name::Clerk(clerk_id)));
                (Topic::User(Name::Id(*id)), other)
            }
            None => (topic, None),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::clock;

    fn entry(topic: &str, subject: &str, routing: serde_json::Value) -> Entry {
        Entry {
            seq: 1,
            event: "user.updated".into(),
            topic: topic.into(),
            subject: subject.into(),
            routing,
            payload: json!({}),
            changed: json!([]),
            effects: "all".into(),
            correlation_id: None,
            occurred_at: None,
            created_at: clock::from_millis(0).unwrap(),
        }
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
