//! What of the change feed a caller may see. Services see what happens to people and organisations; people what concerns
//! their own person, as their websocket would bring it: the rows that reach `user:…`, whole.

use crate::{
    access::{Caller, person::Person},
    clerk::token::Session,
    gateway,
    json::Object,
    outbox::{feed::Entry, past::Wanted},
};

/// A caller's part of the feed.
#[derive(Debug, Clone)]
pub(super) enum Sight {
    /// Whole topics (a name may stand twice).
    Topics([&'static str; 3]),
    /// One person's.
    Own(Box<Own>),
}

/// Whose it is.
#[derive(Debug, Clone)]
pub(super) struct Own {
    topic: String,
    wanted: Wanted,
    session: Session,
    /// The row as of which they were last judged welcome.
    judged: i64,
}

/// A change as the caller gets it.
#[derive(Debug)]
pub(super) struct Change {
    pub(super) seq: i64,
    pub(super) frame: Object,
}

/// `internal` is for nobody.
pub(super) fn topics(caller: &Caller) -> [&'static str; 3] {
    let third = if caller.is_admin() { "admin" } else { "organizations" };
    ["users", "organizations", third]
}

impl Sight {
    pub(super) fn of(caller: &Caller) -> Self {
        match caller {
            Caller::Person(person) => Self::own(person),
            service => Self::Topics(topics(service)),
        }
    }

    /// Of a person who was judged welcome. Whose row is not here yet is known by Clerk's id.
    pub(super) fn own(person: &Person) -> Self {
        let clerk_id = &person.session.clerk_id;
        let (topic, subject) = match person.id {
            Some(id) => (format!("user:{id}"), None),
            None => (format!("user:{clerk_id}"), Some(clerk_id.clone())),
        };
        let wanted = Wanted { topic: topic.clone(), subject };
        Self::Own(Box::new(Own { topic, wanted, session: person.session.clone(), judged: person.seen }))
    }

    /// They were judged welcome again, as of this row.
    pub(super) fn judged(&mut self, seq: i64) {
        if let Self::Own(own) = self {
            own.judged = own.judged.max(seq);
        }
    }

    /// What to look for in the past. It may find too much.
    pub(super) fn wanted(&self) -> Vec<Wanted> {
        match self {
            Self::Topics(topics) => {
                topics.iter().map(|topic| Wanted { topic: (*topic).to_owned(), subject: None }).collect()
            }
            Self::Own(own) => vec![own.wanted.clone()],
        }
    }

    /// Whether this row takes the caller's place here. One that stands in their judgement already takes nothing.
    pub(super) fn is_barred_by(&self, entry: &Entry) -> bool {
        match self {
            Self::Topics(_) => false,
            Self::Own(own) => entry.seq > own.judged && gateway::takes_place(entry, &own.session),
        }
    }

    /// The row as the caller gets it, if it is theirs.
    pub(super) fn change(&self, entry: &Entry, fields: &[String]) -> Option<Change> {
        let topic = match self {
            Self::Topics(topics) => topics.iter().copied().find(|topic| *topic == entry.topic),
            Self::Own(own) => own.is_reached_by(entry).then_some(own.topic.as_str()),
        };
        topic.map(|topic| Change { seq: entry.seq, frame: entry.frame(topic, fields) })
    }
}

impl Own {
    fn is_reached_by(&self, entry: &Entry) -> bool {
        // Most rows are others', which is seen without writing down every topic of theirs.
        let perhaps = match &self.wanted.subject {
            Some(clerk_id) => entry.subject.contains(clerk_id.as_str()),
            None => entry.reaches(&self.topic),
        };
        perhaps && gateway::reached(entry).iter().any(|word| **word == *self.topic)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use uuid::Uuid;

    use super::*;
    use crate::clock;

    fn sight(id: Option<Uuid>, seen: i64) -> Sight {
        let session = Session {
            clerk_id: "user_1".into(),
            session_id: "sess_1".into(),
            actor: None,
            expires_at: clock::from_millis(0).unwrap(),
        };
        Sight::own(&Person { session, id, seen })
    }

    fn entry(event: &str, topic: &str, subject: &str, routing: serde_json::Value, payload: serde_json::Value) -> Entry {
        Entry::of(8, event, topic, subject, routing, payload)
    }

    #[test]
    fn a_person_gets_what_reaches_them_whole_and_by_one_name() {
        let id = Uuid::from_u128(7);
        let row = |topic: &str, subject: &str, user: &str| {
            let payload = json!({"email": "a@example.com", "private_metadata": {}});
            entry("user.updated", topic, subject, json!([format!("user:{user}")]), payload)
        };
        for (known, topic) in [(Some(id), format!("user:{id}")), (None, "user:user_1".to_owned())] {
            let sight = sight(known, 0);
            for subject in ["user_1", "org_1/user_1"] {
                let change = sight.change(&row("users", subject, &id.to_string()), &[]).unwrap();
                assert_eq!((change.seq, change.frame["topic"].as_str()), (8, Some(topic.as_str())), "{subject}");
                assert_eq!(change.frame["data"], json!({"email": "a@example.com"}));
            }
            let other = Uuid::from_u128(8).to_string();
            for (topic, subject, user) in [
                ("users", "user_2", other.as_str()),
                ("users", "user_12", other.as_str()),
                ("organizations", "org_1/user_12", other.as_str()),
                ("organizations", "user_1/user_2", other.as_str()),
                ("internal", "user_1", &id.to_string()),
            ] {
                assert!(sight.change(&row(topic, subject, user), &[]).is_none(), "{topic} {subject}");
            }
            let told_to_operators = entry("event.rejected", "admin", "user_1", json!([]), json!({}));
            assert!(sight.change(&told_to_operators, &[]).is_none());
        }
    }

    #[test]
    fn a_row_takes_a_place_unless_it_is_in_the_judgement() {
        let banned = entry("user.updated", "users", "user_1", json!([]), json!({"status": "banned"}));
        let ended =
            |session: &str| entry("session.revoked", "internal", "user_1", json!([]), json!({"session_id": session}));
        let mut sight = sight(None, 7);
        assert!(sight.is_barred_by(&banned) && sight.is_barred_by(&ended("sess_1")));
        assert!(!sight.is_barred_by(&ended("sess_2")));
        for (event, subject) in [("user.updated", "user_2"), ("membership.deleted", "org_1/user_1")] {
            assert!(!sight.is_barred_by(&entry(event, "users", subject, json!([]), json!({"status": "banned"}))));
        }
        sight.judged(8);
        sight.judged(3);
        assert!(!sight.is_barred_by(&banned) && !sight.is_barred_by(&ended("sess_1")));
        assert!(!Sight::of(&Caller::Admin).is_barred_by(&banned));
    }
}
