//! Whom a caller may see, and how much of them. The one place that decides it for single objects; what may not be seen
//! is not there (404).
//!
//! People who share a live organisation with the caller are to be seen as public profiles: that is a second answer
//! beside [`whole`], to be given here, and its rights to be read from the database like a person's own.

use sea_orm::ConnectionTrait;
use uuid::Uuid;

use crate::{
    access::{Caller, person::Person},
    db::Stmt,
};

use super::{problem::Problem, reads::Key};

/// The person whom this segment of a path names, if the caller may see all of them.
pub(super) fn whole(caller: &Caller, segment: &str) -> Option<Key> {
    match caller {
        Caller::Admin | Caller::Service { .. } => Key::parse(segment),
        Caller::Person(person) if segment == "me" => Some(Key::Clerk(person.session.clerk_id.clone())),
        Caller::Person(person) => Key::parse(segment).filter(|key| is_own(person, key)),
    }
}

/// Whether the caller may see this organisation and who is in it: its live members, as the database has them now.
///
/// # Errors
/// 404 to everybody else, as if it were not there.
pub(super) async fn organization(db: &impl ConnectionTrait, caller: &Caller, id: Uuid) -> Result<(), Problem> {
    let Caller::Person(person) = caller else { return Ok(()) };
    let Some(user) = person.id else { return Err(Problem::missing()) };
    let find = Stmt::new(db, "select 1 as one from organization_memberships where organization_id = ").val(id);
    let found = find.sql(" and user_id = ").val(user).all(db).await?;
    if found.is_empty() { Err(Problem::missing()) } else { Ok(()) }
}

fn is_own(person: &Person, key: &Key) -> bool {
    match key {
        Key::Id(id) => person.id == Some(*id),
        Key::Clerk(id) => person.session.clerk_id == *id,
    }
}
