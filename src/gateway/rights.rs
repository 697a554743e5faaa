//! What a client may follow, from which row on, and which row of the change feed takes it away. The only place that
//! decides any of it: what is live, what is replayed and what is asked for again go by the same answers.
//!
//! A right is judged by the database as of one row; from there on the feed's rows tell, each before anything newer is
//! handed over. So no right outlives the row that ends it, and none is lost to a row that it has survived.

use std::borrow::Cow;

use crate::{
    access::person::{Person, is_welcome},
    clerk::token::Session,
    outbox::feed::Entry,
};

use super::{
    auth::Identity,
    names::Names,
    topics::{Name, Topic, reached},
};

/// A topic that a client may follow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Grant {
    /// Under its canonical name.
    pub(super) topic: Topic,
    /// Another name of the same.
    pub(super) also: Option<Topic>,
    /// Rows up to here are not for this client: they are older than its joining.
    pub(super) floor: i64,
    /// The row as of which this was judged: only a later one takes it away.
    pub(super) judged: i64,
}

impl Identity {
    /// The topic that it means by a word. `None`: there is no such topic.
    pub(super) fn topic(&self, word: &str) -> Option<Topic> {
        match self {
            Self::Person(person) if word == "user:me" => Some(own(person)),
            _ => Topic::parse(word),
        }
    }

    /// Whether it may follow this, for all that is known without asking the database.
    pub(super) fn may_ask(&self, topic: &Topic) -> bool {
        let Self::Person(person) = self else { return true };
        match topic {
            Topic::Users | Topic::Organizations | Topic::Admin => false,
            Topic::User(Name::Clerk(_)) => *topic == own(person),
            Topic::User(Name::Id(_)) | Topic::Org(_) => true,
        }
    }

    /// The topic as it may follow it, with what the database says of the names; `None`: it may not.
    pub(super) fn grant(&self, topic: Topic, names: &Names) -> Option<Grant> {
        let (floor, judged) = match (self, &topic) {
            (Self::Person(_), Topic::Org(_)) => {
                let membership = names.membership(&topic)?;
                (membership.since - 1, membership.judged)
            }
            _ => (0, 0),
        };
        let (topic, also) = names.canonical(topic);
        if let (Self::Person(person), Topic::User(_)) = (self, &topic) {
            let own = own(person);
            if topic != own && also.as_ref() != Some(&own) {
                return None;
            }
        }
        Some(Grant { topic, also, floor, judged })
    }
}

fn own(person: &Person) -> Topic {
    Topic::User(Name::Clerk(person.session.clerk_id.clone()))
}

/// What a row takes away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Loss<'a> {
    /// The words under which those whom it concerns are watched.
    pub(super) words: Vec<Cow<'a, str>>,
    pub(super) of: Lost<'a>,
}

/// Of what, and from whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lost<'a> {
    /// A person's place here: they are banned, deprovisioned, deleted or deletion-held.
    Person,
    /// The place here of one session.
    Session(&'a str),
    /// An organisation's topic, from one person, by Clerk's id.
    Membership(&'a str),
    /// An organisation's topic, from everybody.
    Organization,
}

impl Lost<'_> {
    /// Whether the connection ends, and not only a topic.
    pub(super) fn is_place(self) -> bool {
        matches!(self, Self::Person | Self::Session(_))
    }

    /// What a client is told of a topic that it loses.
    pub(super) fn reason(self) -> &'static str {
        match self {
            Self::Person | Self::Session(_) => "unauthenticated",
            Self::Membership(_) => "membership_ended",
            Self::Organization => "organization_deleted",
        }
    }

    /// Whether it is taken from this person, in this session, among those who are watched under the words.
    pub(super) fn concerns(self, clerk_id: &str, session_id: &str) -> bool {
        match self {
            Self::Person | Self::Organization => true,
            Self::Session(ended) => ended == session_id,
            Self::Membership(member) => member == clerk_id,
        }
    }
}

/// The word under which a person is watched.
pub(super) fn watched_as(clerk_id: &str) -> String {
    format!("user:{clerk_id}")
}

/// Whether a row takes this session's place here: its person is banned, deprovisioned, deleted or deletion-held, or the
/// session was ended.
pub fn takes_place(entry: &Entry, session: &Session) -> bool {
    // Whoever loses their place is the row's subject; of most rows nothing else is looked at.
    entry.subject == session.clerk_id
        && loss(entry)
            .is_some_and(|loss| loss.of.is_place() && loss.of.concerns(&session.clerk_id, &session.session_id))
}

/// What a row takes away, if anything.
pub(super) fn loss(entry: &Entry) -> Option<Loss<'_>> {
    let of_person = |of| Some(Loss { words: vec![watched_as(&entry.subject).into()], of });
    let of_org = |of| {
        let words = reached(entry).into_iter().filter(|word| word.starts_with("org:")).collect();
        Some(Loss { words, of })
    };
    let text = |name: &str| entry.payload.get(name).and_then(|value| value.as_str());
    match entry.event.as_str() {
        "session.revoked" => of_person(Lost::Session(text("session_id")?)),
        "membership.deleted" => of_org(Lost::Membership(entry.subject.split_once('/')?.1)),
        "organization.deleted" => of_org(Lost::Organization),
        // Operators are told of it; so is whom it is about.
        "user.deleted" => of_person(Lost::Person),
        // Of a user without a row.
        "access.revoked" => of_person(Lost::Person),
        "event.held" if entry.subject.starts_with("user_") => of_person(Lost::Person),
        "user.created" | "user.updated" => {
            let held = entry.payload.get("deletion_held_at").is_some_and(|at| !at.is_null());
            (!is_welcome(text("status").unwrap_or("active"), held)).then(|| of_person(Lost::Person)).flatten()
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn entry(event: &str, subject: &str, routing: Value, payload: Value) -> Entry {
        Entry::of(1, event, "users", subject, routing, payload)
    }

    #[test]
    fn a_place_is_lost_by_what_the_row_says_of_the_person() {
        let lost = |event: &str, payload: Value| {
            let row = entry(event, "user_1", json!(["user:7"]), payload);
            loss(&row).map(|loss| (loss.words.join(" "), loss.of.is_place()))
        };
        let place = Some(("user:user_1".to_owned(), true));
        for payload in [
            json!({"status": "banned"}),
            json!({"status": "deprovisioned"}),
            json!({"status": "deleted"}),
            json!({"status": "active", "deletion_held_at": "2026-11-21T09:00:00.000Z"}),
        ] {
            assert_eq!(lost("user.updated", payload.clone()), place, "{payload}");
            assert_eq!(lost("user.created", payload.clone()), place, "{payload}");
        }
        assert_eq!(lost("user.deleted", json!({})), place);
        assert_eq!(lost("event.held", json!({})), place);
        assert_eq!(lost("access.revoked", json!({"status": "banned"})), place);
        assert_eq!(lost("session.revoked", json!({"session_id": "sess_1"})), place);
        for payload in [json!({}), json!({"status": "active"}), json!({"status": "active", "deletion_held_at": null})] {
            assert_eq!(lost("user.updated", payload.clone()), None, "{payload}");
        }
        for event in ["conflict.opened", "event.rejected", "session.revoked", "membership.updated"] {
            assert_eq!(lost(event, json!({"status": "banned"})), None, "{event}");
        }
        assert_eq!(loss(&entry("event.held", "org_1", json!([]), json!({}))), None);
    }

    #[test]
    fn a_topic_is_lost_by_the_member_or_by_everybody() {
        let row = entry("membership.deleted", "org_1/user_1", json!(["org:8", "user:7"]), json!({}));
        let found = loss(&row).unwrap();
        assert_eq!((found.words.join(" ").as_str(), found.of.is_place()), ("org:8 org:org_1", false));
        assert!(found.of.concerns("user_1", "sess_1") && !found.of.concerns("user_2", "sess_1"));
        let row = entry("organization.deleted", "org_1", json!(["org:8"]), json!({}));
        let found = loss(&row).unwrap();
        assert_eq!((found.words.join(" ").as_str(), found.of), ("org:8 org:org_1", Lost::Organization));
        assert!(found.of.concerns("user_2", "sess_2"));
        assert!(Lost::Session("sess_1").concerns("user_1", "sess_1"));
        assert!(!Lost::Session("sess_1").concerns("user_1", "sess_2"));
    }
}
