//! Organisations and the memberships that a batch can touch: the pairs that events name, every membership of people
//! who may leave or change their name, and of each organisation whose owner may change the most senior members, as many
//! as the batch can take away and one more.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use entity::{Id, JsonText};
use sea_orm::{ConnectionTrait, DbErr, QueryResult};

use crate::{
    db::{Col, Rows, Stmt, Type},
    domain::{
        Change, Event, Organization, Policy, Version, World,
        event::Absence,
        membership::{Member, Membership, Pair},
        operators::Action,
        organization::Org,
        plan::Kind,
        policy::SoleAdmin,
    },
    json::{Object, Value},
};

/// Organisations and pairs that the events name.
#[derive(Debug, Default)]
pub(super) struct Touched {
    /// Organisation, and by how many events.
    counts: BTreeMap<String, usize>,
    organizations: BTreeSet<String>,
    pairs: BTreeSet<Pair>,
    users: BTreeSet<String>,
}

impl Touched {
    /// `known` says whose the memberships are that events name by their ids alone.
    pub(super) fn by(events: &[&Event], known: &HashMap<String, Pair>) -> Self {
        let mut touched = Self::default();
        for event in events {
            match &event.change {
                Change::Organization(snapshot) => {
                    let organization = snapshot.organization.clerk_id.clone();
                    // Whoever the snapshot names as its creator owns it, if a member.
                    touched.pairs.extend(
                        snapshot
                            .organization
                            .created_by
                            .clone()
                            .map(|user| Pair { organization: organization.clone(), user }),
                    );
                    touched.add(organization);
                }
                Change::OrganizationDeleted { clerk_id } => touched.add(clerk_id.clone()),
                Change::Absent(Absence { kind: Kind::Organization, key, .. }) => touched.add(key.clone()),
                Change::Absent(Absence { kind: Kind::Membership, key, .. }) => {
                    if let Some(pair) = Pair::parse(key) {
                        touched.add(pair.organization.clone());
                        touched.pairs.insert(pair);
                    }
                }
                Change::Operator(Action::Cancel { clerk_id }) => _ = touched.organizations.insert(clerk_id.clone()),
                Change::Membership(told) => {
                    let known = told.clerk_id.as_ref().and_then(|id| known.get(id)).cloned();
                    match told.pair().or(known) {
                        Some(pair) => {
                            touched.add(pair.organization.clone());
                            touched.pairs.insert(pair);
                        }
                        // Whether the one parent that it names is gone decides whether it waits.
                        None => {
                            touched.users.extend(told.user.clone());
                            touched.organizations.extend(told.organization.clone());
                        }
                    }
                }
                _ => {}
            }
        }
        touched
    }

    fn add(&mut self, organization: String) {
        *self.counts.entry(organization.clone()).or_default() += 1;
        self.organizations.insert(organization);
    }

    pub(super) fn organizations(&self) -> &BTreeSet<String> {
        &self.organizations
    }

    pub(super) fn pairs(&self) -> impl Iterator<Item = &Pair> {
        self.pairs.iter()
    }

    /// The users of the pairs, and those named without a known pair.
    pub(super) fn parents(&self) -> BTreeSet<String> {
        self.pairs.iter().map(|pair| &pair.user).chain(&self.users).cloned().collect()
    }
}

/// Adds everything to the world, whose persons are loaded already.
pub(super) async fn load(
    tx: &impl ConnectionTrait,
    world: &mut World,
    mut touched: Touched,
    subjects: &BTreeSet<String>,
    events: &[&Event],
    policy: &Policy,
) -> Result<(), DbErr> {
    let known: BTreeSet<String> = subjects.iter().filter(|id| world.live(id).is_some()).cloned().collect();
    if !known.is_empty() {
        of_users(tx, &known).await?.into_iter().for_each(|row| world.put_member(row));
    }
    for user in events.iter().flat_map(|event| leaving(&event.change)) {
        world.memberships_of(user).into_iter().for_each(|pair| touched.add(pair.organization));
    }
    if touched.organizations.is_empty() {
        return Ok(());
    }
    organizations(tx, &touched.organizations).await?.into_iter().for_each(|row| world.put_organization(row));
    memberships(tx, &touched.pairs).await?.into_iter().for_each(|row| world.put_member(row));
    let known: BTreeSet<String> =
        touched.organizations.iter().filter(|id| world.live_organization(id).is_some()).cloned().collect();
    if known.is_empty() {
        return Ok(());
    }
    let enough = known.iter().filter_map(|id| touched.counts.get(id)).max().copied().unwrap_or_default() + 1;
    creators(tx, &known).await?.into_iter().for_each(|row| world.put_member(row));
    seniors(tx, &known, Some(policy), enough).await?.into_iter().for_each(|row| world.put_member(row));
    if policy.sole_admin != SoleAdmin::Orphan {
        seniors(tx, &known, None, enough).await?.into_iter().for_each(|row| world.put_member(row));
    }
    Ok(())
}

/// The persons whose memberships may end or move.
fn leaving(change: &Change) -> Option<&str> {
    match change {
        Change::UserDeleted { clerk_id } => Some(clerk_id),
        Change::Absent(Absence { kind: Kind::User, key, .. }) => Some(key),
        Change::Operator(Action::Relink { to, .. }) => Some(to),
        _ => None,
    }
}

/// Organisations by Clerk's ids, deleted ones too.
///
/// # Errors
/// What the database says.
pub async fn organizations(tx: &impl ConnectionTrait, ids: &BTreeSet<String>) -> Result<Vec<Org>, DbErr> {
    let found: Vec<entity::organizations::Model> = Stmt::new(tx, "select o.* from ")
        .rows(Rows::keys(ids))
        .sql(" join clerk_sync.organizations o on o.clerk_id = r.k")
        .all_as(tx)
        .await?;
    Ok(found.into_iter().map(organization).collect())
}

/// An organisation from its row.
pub fn organization(row: entity::organizations::Model) -> Org {
    Org {
        id: row.id.0,
        live: row.status == "active",
        shown: Organization {
            clerk_id: row.clerk_id,
            name: row.name,
            slug: row.slug,
            image_url: row.image_url,
            created_by: row.created_by,
            public_metadata: object(&row.public_metadata),
            private_metadata: object(&row.private_metadata),
            created_at: row.clerk_created_at,
            updated_at: row.clerk_updated_at,
        },
        owner_id: row.owner_id.map(|id| id.0),
        members_count: row.members_count,
        deleted_at: row.deleted_at,
        created_at: row.created_at,
        updated_at: row.updated_at,
        rev: row.rev,
        version: row.version.map(Version::stored),
    }
}

fn object(text: &JsonText) -> Object {
    Value::stored(&text.0).into_object()
}

const MEMBER: &str = "select m.*, o.clerk_id as organization_clerk_id, u.clerk_id as user_clerk_id from ";

/// The memberships of these people, by Clerk's ids.
async fn of_users(tx: &impl ConnectionTrait, users: &BTreeSet<String>) -> Result<Vec<Member>, DbErr> {
    let found = Stmt::new(tx, MEMBER)
        .rows(Rows::keys(users))
        .sql(
            " join clerk_sync.users u on u.clerk_id = r.k join clerk_sync.organization_memberships m on m.user_id = u.id
            join clerk_sync.organizations o on o.id = m.organization_id",
        )
        .all(tx)
        .await?;
    found.iter().map(member).collect()
}

const PAIR: [Col; 2] = [Col("organization", Type::Text), Col("person", Type::Text)];

/// Live memberships by their pairs.
///
/// # Errors
/// What the database says.
pub async fn memberships(tx: &impl ConnectionTrait, pairs: &BTreeSet<Pair>) -> Result<Vec<Member>, DbErr> {
    if pairs.is_empty() {
        return Ok(Vec::new());
    }
    let mut rows = Rows::new(&PAIR);
    pairs.iter().for_each(|pair| rows.push(vec![pair.organization.as_str().into(), pair.user.as_str().into()]));
    let found = Stmt::new(tx, MEMBER)
        .rows(rows)
        .sql(
            " join clerk_sync.organizations o on o.clerk_id = r.organization join clerk_sync.users u on u.clerk_id = r.person
            join clerk_sync.organization_memberships m on m.organization_id = o.id and m.user_id = u.id",
        )
        .all(tx)
        .await?;
    found.iter().map(member).collect()
}

/// The memberships of those who made these organisations.
async fn creators(tx: &impl ConnectionTrait, organizations: &BTreeSet<String>) -> Result<Vec<Member>, DbErr> {
    let found = Stmt::new(tx, MEMBER)
        .rows(Rows::keys(organizations))
        .sql(
            " join clerk_sync.organizations o on o.clerk_id = r.k join clerk_sync.users u on u.clerk_id = o.created_by
            join clerk_sync.organization_memberships m on m.organization_id = o.id and m.user_id = u.id",
        )
        .all(tx)
        .await?;
    found.iter().map(member).collect()
}

/// Of each organisation the most senior members, or of each role of administrators the most senior ones.
async fn seniors(
    tx: &impl ConnectionTrait,
    organizations: &BTreeSet<String>,
    admins: Option<&Policy>,
    enough: usize,
) -> Result<Vec<Member>, DbErr> {
    let enough = i64::try_from(enough).unwrap_or(i64::MAX);
    let mut find = Stmt::new(tx, MEMBER).rows(Rows::keys(organizations)).sql(" cross join ");
    find = match admins {
        Some(policy) => find.sql("(select r.k as role from ").rows(Rows::keys(&policy.admin_roles)).sql(") a"),
        None => find.sql("(select 1 as one) a"),
    };
    let of = match admins {
        Some(_) => "x.organization_id = o.id and x.role = a.role",
        None => "x.organization_id = o.id",
    };
    // The same on both: for each organisation (and role) the first few of an index, and no more.
    let found = find
        .dialect(
            " cross join clerk_sync.organizations o cross join lateral (select x.* from clerk_sync.organization_memberships x where ",
            " cross join clerk_sync.organizations o cross join clerk_sync.organization_memberships m on m.id in
                (select x.id from clerk_sync.organization_memberships x where ",
        )
        .sql(of)
        // Byte by byte, as the rule compares them, whatever the database's collation.
        .sql(" order by x.clerk_created_at, x.clerk_id")
        .dialect(" collate \"C\" limit ", " limit ")
        .val(enough)
        .dialect(") m", ")")
        .sql(" join clerk_sync.users u on u.id = m.user_id where o.clerk_id = r.k")
        .all(tx)
        .await?;
    found.iter().map(member).collect()
}

fn member(row: &QueryResult) -> Result<Member, DbErr> {
    let id = |name: &str| row.try_get::<Id>("", name).map(|id| id.0);
    let permissions: JsonText = row.try_get("", "permissions")?;
    let permissions = Value::stored(&permissions.0);
    let permissions = permissions.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned);
    let created_at: Option<crate::clock::Time> = row.try_get("", "clerk_created_at")?;
    Ok(Member {
        id: id("id")?,
        shown: Membership {
            clerk_id: row.try_get("", "clerk_id")?,
            pair: Pair {
                organization: row.try_get("", "organization_clerk_id")?,
                user: row.try_get("", "user_clerk_id")?,
            },
            role: row.try_get("", "role")?,
            permissions: permissions.collect(),
            created_at: created_at.unwrap_or_default(),
            updated_at: row.try_get("", "clerk_updated_at")?,
        },
        organization_id: id("organization_id")?,
        user_id: id("user_id")?,
        created_at: row.try_get("", "created_at")?,
        updated_at: row.try_get("", "updated_at")?,
        rev: row.try_get("", "rev")?,
        joined_seq: row.try_get("", "joined_seq")?,
        version: row.try_get::<Option<String>>("", "version")?.map(Version::stored),
    })
}
