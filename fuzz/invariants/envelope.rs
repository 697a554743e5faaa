//! Signed bodies: what is accepted says the same to the receiver, to the decoder, to the plan and to a reference.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use clerk_sync::{
    clerk::{
        decode::{Stored, decode},
        envelope::{Envelope, read},
        object,
        private::keeps_body,
    },
    domain::{Change, Event, Policy, State, World, plan, plan::Kind, status::Status},
};
use serde_json::value::RawValue;
use uuid::Uuid;

use super::reference::{self, Tree};

const SECRETS: [&str; 4] = ["backup_codes", "nonce", "password_digest", "totp_secret"];
const METADATA: [&str; 3] = ["public_metadata", "private_metadata", "unsafe_metadata"];

/// Checks one body.
pub fn check(body: &[u8]) {
    let envelope = read(body);
    let Ok(text) = std::str::from_utf8(body) else {
        assert_eq!(envelope.map_err(|error| error.0), Err("not UTF-8"));
        return;
    };
    assert_eq!(matches!(envelope, Err(error) if error.0 == "not JSON"), !reference::is_json(text), "the grammar");
    let tree = reference::parse(text);
    let envelope = match envelope {
        Ok(envelope) => envelope,
        Err(_) => {
            assert!(tree.is_none_or(|tree| !is_event(&tree)), "an event is refused");
            return;
        }
    };
    let event = decode(stored(&envelope), None);
    let again = decode(stored(&envelope), None);
    assert_eq!(format!("{event:?}"), format!("{again:?}"), "decoding is a function");
    check_decoded(&envelope, &event);
    if let Some(body) = &envelope.body {
        assert_eq!(read(body).as_ref(), Ok(&envelope), "the stored body says something else");
        check_as_object(&envelope, &event, std::str::from_utf8(body).expect("a text"));
    }
    if let Some(tree) = tree {
        assert!(is_event(&tree), "what is no event is accepted");
        check_read(&envelope, &tree);
        check_ban(&envelope, &event, &tree);
    }
}

fn stored(envelope: &Envelope) -> Stored {
    Stored {
        seq: 1,
        svix_id: "msg_1".into(),
        event_type: envelope.event_type.clone(),
        body: envelope.body.clone(),
        instance_id: envelope.instance_id.clone(),
        occurred_at: envelope.occurred_at,
        received_at: None,
        subject: envelope.subject.clone(),
        object_id: envelope.object_id.clone(),
    }
}

fn is_event(tree: &Tree) -> bool {
    tree.last("type").is_some_and(|kind| kind.as_text().is_some()) && tree.last("data").is_some_and(Tree::is_object)
}

/// What the receiver read, by the reference.
fn check_read(envelope: &Envelope, tree: &Tree) {
    let kind = tree.last("type").and_then(Tree::as_text).expect("a type");
    assert!(kind.starts_with(&envelope.event_type) && (kind == envelope.event_type || kind.len() > 255));
    assert_eq!(envelope.body.is_some(), keeps_body(kind));
    let kept = without_secrets(tree);
    if let Some(body) = &envelope.body {
        let body = reference::parse(std::str::from_utf8(body).expect("a text")).expect("JSON");
        assert_eq!(body, kept, "all but the secrets is kept");
    }
    let mut users = BTreeSet::new();
    kept.each_text(&mut |text| {
        let rest = text.strip_prefix("user_").unwrap_or_default();
        if !rest.is_empty() && text.len() <= 255 && rest.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
            users.insert(text.to_owned());
        }
    });
    assert_eq!(envelope.user_ids, Vec::from_iter(users), "the users that it names");
    assert_eq!(envelope.subject, subject(kind, tree), "the subject");
}

fn without_secrets(tree: &Tree) -> Tree {
    match tree {
        Tree::Object(members) => {
            let kept = members.iter().filter(|(name, value)| *value == Tree::Null || !SECRETS.contains(&&**name));
            let kept = kept.map(|(name, value)| {
                let value = if METADATA.contains(&&**name) { value.clone() } else { without_secrets(value) };
                (name.clone(), value)
            });
            Tree::Object(kept.collect())
        }
        Tree::Array(items) => Tree::Array(items.iter().map(without_secrets).collect()),
        other => other.clone(),
    }
}

fn subject(kind: &str, tree: &Tree) -> Option<String> {
    let data = tree.last("data")?;
    let id = |tree: Option<&Tree>| {
        tree.and_then(Tree::as_text).filter(|id| !id.is_empty() && id.len() <= 255).map(str::to_owned)
    };
    if kind.starts_with("organizationMembership.") {
        let inner = |name: &str, member: &str| id(data.last(name).and_then(|object| object.last(member)));
        let pair = inner("organization", "id").zip(inner("public_user_data", "user_id"));
        // Without its pair the membership's own id is the subject.
        let pair = pair.map(|(organization, user)| format!("{organization}/{user}"));
        return pair.or_else(|| id(data.last("id")));
    }
    let user = kind.starts_with("session.").then(|| id(data.last("user_id"))).flatten();
    user.or_else(|| id(data.last("id")))
}

/// What is decoded is about the subject that the receiver named; only what lacks something is refused.
fn check_decoded(envelope: &Envelope, event: &Event) {
    if let Some(subject) = event.change.subject() {
        assert_eq!(envelope.subject.as_deref(), Some(subject), "receiver and decoder name different subjects");
    }
    if let Change::Refused { reason } = &event.change {
        let lacks = [
            "data has no id",
            "is a time",
            "data.organization has no id",
            "no user_id",
            "data has no role",
            "longer than 255 bytes",
            "names neither the membership's id nor its organisation and user",
        ];
        assert!(lacks.iter().any(|lack| reason.ends_with(lack)), "refused: {reason}");
        // The subject of these is not the id of the object.
        let others = ["organizationMembership.", "session."];
        let is_named = envelope.subject.is_some() && !others.iter().any(|kind| envelope.event_type.starts_with(kind));
        assert!(!(is_named && reason.ends_with("data has no id")), "it has an id");
        assert!(!(envelope.occurred_at.is_some() && reason.ends_with("is a time")), "it has a time");
    }
}

/// The same object from Clerk's API is decoded alike.
fn check_as_object(envelope: &Envelope, event: &Event, body: &str) {
    let kind = match envelope.event_type.as_str() {
        "user.created" | "user.updated" => Kind::User,
        "organization.created" | "organization.updated" => Kind::Organization,
        // An object is an update: of a first snapshot more is asked.
        "organizationMembership.updated" => Kind::Membership,
        _ => return,
    };
    // Of two members of one name the last one stands. A name that `serde_json` cannot read leaves nothing to compare.
    let Ok(members) = serde_json::from_str::<BTreeMap<String, Box<RawValue>>>(body) else { return };
    let object = decode(object::stored(kind, &members["data"]), None);
    let is_time = |reason: &str| reason.ends_with("is a time");
    match (&object.change, &event.change) {
        (Change::User(ours), Change::User(theirs)) => {
            assert_eq!((&ours.user, &ours.emptied), (&theirs.user, &theirs.emptied));
        }
        (Change::Organization(ours), Change::Organization(theirs)) => {
            assert_eq!((&ours.organization, &ours.emptied), (&theirs.organization, &theirs.emptied));
        }
        (Change::Membership(ours), Change::Membership(theirs)) => {
            assert_eq!((&ours.clerk_id, &ours.terms), (&theirs.clerk_id, &theirs.terms));
            assert_eq!((&ours.organization, &ours.user), (&theirs.organization, &theirs.user));
        }
        (Change::Refused { reason: ours }, Change::Refused { reason: theirs }) => {
            assert!(ours == theirs || is_time(ours), "{ours}; {theirs}");
        }
        (Change::Example, Change::Example) => {}
        // An object without a time is refused where a delivery has its own.
        (Change::Refused { reason }, _) => assert!(is_time(reason), "{reason}"),
        (ours, theirs) => panic!("an object {ours:?}, a delivery {theirs:?}"),
    }
}

/// A snapshot of a user takes effect, a ban in it above all, whatever else it holds.
fn check_ban(envelope: &Envelope, event: &Event, tree: &Tree) {
    if !matches!(envelope.event_type.as_str(), "user.created" | "user.updated") {
        return;
    }
    let data = tree.last("data").expect("an object");
    // Thirteen digits are a time in milliseconds, whichever they are.
    let at = tree.last("timestamp").and_then(Tree::as_number).filter(|at| !at.starts_with(['0', '-']));
    let is_time = at.is_some_and(|at| at.len() == 13 && at.bytes().all(|digit| digit.is_ascii_digit()));
    if matches!(event.change, Change::Example) {
        return;
    }
    let Change::User(_) = &event.change else {
        assert!(envelope.subject.is_none() || !is_time, "a snapshot is refused: {:?}", event.change);
        return;
    };
    let policy = Policy { require_email: false, require_name: false, ..Policy::default() };
    let mut last = 0_u128;
    let mut ids = || {
        last += 1;
        Uuid::from_u128(last)
    };
    let now = DateTime::<Utc>::from_timestamp(1_700_000_000, 0).expect("a moment");
    let planned = plan(World::new(0), [event], &policy, now, &mut ids);
    let [(_, outcome)] = &planned.outcomes[..] else { panic!("one event has one outcome") };
    assert_eq!((outcome.state, outcome.outcome), (State::Done, "created"), "{:?}", outcome.reason);
    let [changed] = &planned.accounts[..] else { panic!("one user is created") };
    // What is neither a boolean nor null counts as true.
    let is = |name: &str| !matches!(data.last(name), None | Some(Tree::Null | Tree::Bool(false)));
    let status = match (is("deprovisioned"), is("banned")) {
        (true, _) => Status::Deprovisioned,
        (false, true) => Status::Banned,
        _ => Status::Active,
    };
    assert_eq!(changed.after.status, status);
    assert_eq!(Some(&changed.after.clerk_id), envelope.subject.as_ref());
}
