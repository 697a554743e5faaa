//! Whom a caller may see, and how much of them. The one place that decides it for single objects; what may not be seen
//! is not there (404).
//!
//! Invariant: rights are read from the database, as they are now; never from a cache.

use entity::Id;
use sea_orm::{ConnectionTrait, FromQueryResult};
use serde_json::{Value, json};
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

/// A live organisation that somebody and the caller are both members of.
#[derive(Debug, FromQueryResult)]
struct Shared {
    id: Id,
    clerk_id: Option<String>,
    display_name: Option<String>,
    image_url: Option<String>,
    organization_id: Id,
    organization_clerk_id: String,
    role: String,
}

/// One row each organisation, in the order of our ids; the person is the same in all of them.
const SHARED: &str = "select u.id, u.clerk_id, u.display_name, u.image_url, m.role, o.id as organization_id,
        o.clerk_id as organization_clerk_id from clerk_sync.users u
    join clerk_sync.organization_memberships m on m.user_id = u.id
    join clerk_sync.organizations o on o.id = m.organization_id and o.status = 'active'
    join clerk_sync.organization_memberships own on own.organization_id = m.organization_id and own.user_id = ";

/// The public profile of the person whom this segment names, for somebody who shares a live organisation with them: who
/// they are, and where they meet the caller. `role` is theirs where that is in one organisation only.
///
/// # Errors
/// 404 to everybody else, as if nobody were there; or what the database says.
pub(super) async fn profile(db: &impl ConnectionTrait, caller: &Caller, segment: &str) -> Result<Value, Problem> {
    let Caller::Person(Person { id: Some(own), .. }) = caller else { return Err(Problem::missing()) };
    let key = Key::parse(segment).ok_or_else(Problem::missing)?;
    let find = Stmt::new(db, SHARED).val(*own).sql(" where u.status <> 'deleted' and ");
    let find = match &key {
        Key::Id(id) => find.sql("u.id = ").val(*id),
        Key::Clerk(id) => find.sql("u.clerk_id = ").val(id.as_str()),
    };
    let shared: Vec<Shared> = find.sql(" order by o.id").all_as(db).await?;
    let person = shared.first().ok_or_else(Problem::missing)?;
    let place =
        |row: &Shared| json!({"id": row.organization_id, "clerk_id": row.organization_clerk_id, "role": row.role});
    let role = if shared.len() == 1 { Some(&person.role) } else { None };
    Ok(json!({
        "id": person.id, "clerk_id": person.clerk_id, "display_name": person.display_name,
        "image_url": person.image_url, "role": role,
        "organizations": shared.iter().map(place).collect::<Vec<_>>(),
    }))
}

/// Whether the caller may see this organisation and who is in it: its live members, as the database has them now.
///
/// # Errors
/// 404 to everybody else, as if it were not there.
pub(super) async fn organization(db: &impl ConnectionTrait, caller: &Caller, id: Uuid) -> Result<(), Problem> {
    let Caller::Person(person) = caller else { return Ok(()) };
    let Some(user) = person.id else { return Err(Problem::missing()) };
    let find =
        Stmt::new(db, "select 1 as one from clerk_sync.organization_memberships where organization_id = ").val(id);
    let found = find.sql(" and user_id = ").val(user).all(db).await?;
    if found.is_empty() { Err(Problem::missing()) } else { Ok(()) }
}

fn is_own(person: &Person, key: &Key) -> bool {
    match key {
        Key::Id(id) => person.id == Some(*id),
        Key::Clerk(id) => person.session.clerk_id == *id,
    }
}
