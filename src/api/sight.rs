//! Whom a caller may see, and how much of them. The one place that decides it for single objects; what may not be seen
//! is not there (404).
//!
//! People who share a live organisation with the caller are to be seen as public profiles: that is a second answer
//! beside [`whole`], to be given here, and its rights to be read from the database like a person's own.

use crate::access::{Caller, person::Person};

use super::reads::Key;

/// The person whom this segment of a path names, if the caller may see all of them.
pub(super) fn whole(caller: &Caller, segment: &str) -> Option<Key> {
    match caller {
        Caller::Admin | Caller::Service { .. } => Key::parse(segment),
        Caller::Person(person) if segment == "me" => Some(Key::Clerk(person.session.clerk_id.clone())),
        Caller::Person(person) => Key::parse(segment).filter(|key| is_own(person, key)),
    }
}

fn is_own(person: &Person, key: &Key) -> bool {
    match key {
        Key::Id(id) => person.id == Some(*id),
        Key::Clerk(id) => person.session.clerk_id == *id,
    }
}
