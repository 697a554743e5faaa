//! What the database says of the names that topics are subscribed to under: which person or organisation is meant,
//! and since when somebody is a member of it. Read at every subscription, never from a cache.

use std::collections::BTreeMap;

use entity::Id;
use sea_orm::{ConnectionTrait, DbErr, FromQueryResult};

use crate::db::{Rows, Stmt};

use super::topics::{Name, Topic};

/// Whom and what names mean, as far as rows are there; by the name that was given.
#[derive(Debug, Default)]
pub(super) struct Names {
    people: BTreeMap<String, Person>,
    organizations: BTreeMap<String, Organization>,
}

/// That somebody is a member of a live organisation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Membership {
    /// The row of the change feed by which they joined.
    pub(super) since: i64,
    /// The newest row of the feed when this was read.
    pub(super) judged: i64,
}

#[derive(Debug, FromQueryResult)]
struct Person {
    k: String,
    id: Id,
    clerk_id: Option<String>,
}

#[derive(Debug, FromQueryResult)]
struct Organization {
    k: String,
    id: Id,
    clerk_id: String,
    status: String,
    since: Option<i64>,
    head: i64,
}

impl Names {
    /// Looks up whom these topics name, and the memberships of the person with this Clerk id. One statement for
    /// people and one for organisations, where there are any.
    ///
    /// # Errors
    /// What the database says.
    pub(super) async fn load(db: &impl ConnectionTrait, topics: &[Topic], member: &str) -> Result<Self, DbErr> {
        let people = topics.iter().filter_map(|topic| if let Topic::User(name) = topic { Some(name) } else { None });
        let orgs = topics.iter().filter_map(|topic| if let Topic::Org(name) = topic { Some(name) } else { None });
        let people = load_people(db, people).await?;
        let orgs = load_organizations(db, orgs, member).await?;
        Ok(Self {
            people: people.into_iter().map(|row| (row.k.clone(), row)).collect(),
            organizations: orgs.into_iter().map(|row| (row.k.clone(), row)).collect(),
        })
    }

    /// The topic under its canonical name, and the other name that means the same.
    pub(super) fn canonical(&self, topic: Topic) -> (Topic, Option<Topic>) {
        match &topic {
            Topic::User(name) => match self.people.get(&name.to_string()) {
                Some(row) => {
                    let other = row.clerk_id.clone().map(|id| Topic::User(Name::Clerk(id)));
                    (Topic::User(Name::Id(row.id.0)), other)
                }
                None => (topic, None),
            },
            Topic::Org(name) => match self.organizations.get(&name.to_string()) {
                Some(row) => {
                    let other = Topic::Org(Name::Clerk(row.clerk_id.clone()));
                    (Topic::Org(Name::Id(row.id.0)), Some(other))
                }
                None => (topic, None),
            },
            _ => (topic, None),
        }
    }

    /// The membership in the organisation that a topic names.
    pub(super) fn membership(&self, topic: &Topic) -> Option<Membership> {
        let Topic::Org(name) = topic else { return None };
        let row = self.organizations.get(&name.to_string()).filter(|row| row.status == "active")?;
        Some(Membership { since: row.since?, judged: row.head })
    }
}

/// The names that are our ids, and those that are Clerk's.
fn split<'a>(names: impl Iterator<Item = &'a Name>) -> (Rows, Rows) {
    let (ids, clerk_ids): (Vec<_>, Vec<_>) = names.partition(|name| matches!(name, Name::Id(_)));
    let keys = |names: Vec<&Name>| Rows::keys(names.into_iter().map(Name::to_string));
    (keys(ids), keys(clerk_ids))
}

async fn load_people(db: &impl ConnectionTrait, names: impl Iterator<Item = &Name>) -> Result<Vec<Person>, DbErr> {
    let (ids, clerk_ids) = split(names);
    if ids.is_empty() && clerk_ids.is_empty() {
        return Ok(Vec::new());
    }
    Stmt::new(db, "select r.k, u.id, u.clerk_id from ")
        .rows(ids)
        .sql(" join clerk_sync.users u on u.id = ")
        .dialect("cast(r.k as uuid)", "r.k")
        .sql(" union all select r.k, u.id, u.clerk_id from ")
        .rows(clerk_ids)
        .sql(" join clerk_sync.users u on u.clerk_id = r.k")
        .all_as(db)
        .await
}

/// Where it was not kept which row brought somebody in, it was none after the last that wrote their membership.
const ORGANIZATION: &str = "select r.k, o.id, o.clerk_id, o.status, coalesce(nullif(m.joined_seq, 0), m.rev) as since,
        (select coalesce(max(seq), 0) from clerk_sync.outbox) as head from ";
const MEMBERSHIP: &str = " left join clerk_sync.organization_memberships m on m.organization_id = o.id
        and m.user_id = (select u.id from clerk_sync.users u where u.clerk_id = ";

async fn load_organizations(
    db: &impl ConnectionTrait,
    names: impl Iterator<Item = &Name>,
    member: &str,
) -> Result<Vec<Organization>, DbErr> {
    let (ids, clerk_ids) = split(names);
    if ids.is_empty() && clerk_ids.is_empty() {
        return Ok(Vec::new());
    }
    Stmt::new(db, ORGANIZATION)
        .rows(ids)
        .sql(" join clerk_sync.organizations o on o.id = ")
        .dialect("cast(r.k as uuid)", "r.k")
        .sql(MEMBERSHIP)
        .val(member)
        .sql(") union all ")
        .sql(ORGANIZATION)
        .rows(clerk_ids)
        .sql(" join clerk_sync.organizations o on o.clerk_id = r.k")
        .sql(MEMBERSHIP)
        .val(member)
        .sql(")")
        .all_as(db)
        .await
}
