//! Organisations and memberships. A deleted organisation's memberships go with one statement, however many.

use sea_orm::{ConnectionTrait, DbErr};

use crate::{
    db::{Cell, Col, Rows, Stmt, Type},
    domain::{
        Plan,
        membership::Member,
        organization::Org,
        plan::{ChangedMember, ChangedOrganization},
    },
};

const ID: [Col; 1] = [Col("id", Type::Id)];
const ORGANIZATION: [Col; 18] = [
    Col("id", Type::Id),
    Col("clerk_id", Type::Text),
    Col("name", Type::Text),
    Col("slug", Type::Text),
    Col("image_url", Type::Text),
    Col("created_by", Type::Text),
    Col("owner_id", Type::Id),
    Col("members_count", Type::Int),
    Col("public_metadata", Type::TextJson),
    Col("private_metadata", Type::TextJson),
    Col("status", Type::Text),
    Col("clerk_created_at", Type::Time),
    Col("clerk_updated_at", Type::Time),
    Col("created_at", Type::Time),
    Col("updated_at", Type::Time),
    Col("deleted_at", Type::Time),
    Col("rev", Type::Int),
    Col("version", Type::Text),
];
const MEMBER: [Col; 13] = [
    Col("id", Type::Id),
    Col("clerk_id", Type::Text),
    Col("organization_id", Type::Id),
    Col("user_id", Type::Id),
    Col("role", Type::Text),
    Col("permissions", Type::Json),
    Col("clerk_created_at", Type::Time),
    Col("clerk_updated_at", Type::Time),
    Col("created_at", Type::Time),
    Col("updated_at", Type::Time),
    Col("rev", Type::Int),
    Col("joined_seq", Type::Int),
    Col("version", Type::Text),
];

fn organization(row: &Org) -> Vec<Cell> {
    let shown = &row.shown;
    vec![
        Cell::Id(row.id),
        shown.clerk_id.as_str().into(),
        shown.name.as_deref().into(),
        shown.slug.as_deref().into(),
        shown.image_url.as_deref().into(),
        shown.created_by.as_deref().into(),
        row.owner_id.into(),
        Cell::Int(row.members_count),
        Cell::from(&shown.public_metadata),
        Cell::from(&shown.private_metadata),
        row.status().into(),
        shown.created_at.into(),
        shown.updated_at.into(),
        Cell::Time(row.created_at),
        Cell::Time(row.updated_at),
        row.deleted_at.into(),
        Cell::Int(row.rev),
        row.version.as_ref().map(|version| version.as_str()).into(),
    ]
}

fn member(row: &Member) -> Vec<Cell> {
    let shown = &row.shown;
    vec![
        Cell::Id(row.id),
        shown.clerk_id.as_str().into(),
        Cell::Id(row.organization_id),
        Cell::Id(row.user_id),
        shown.role.as_str().into(),
        Cell::json(&shown.permissions),
        Cell::Time(shown.created_at),
        shown.updated_at.into(),
        Cell::Time(row.created_at),
        Cell::Time(row.updated_at),
        Cell::Int(row.rev),
        Cell::Int(row.joined_seq),
        row.version.as_ref().map(|version| version.as_str()).into(),
    ]
}

pub(super) async fn write(tx: &impl ConnectionTrait, plan: &Plan) -> Result<(), DbErr> {
    let mut organizations = Rows::new(&ORGANIZATION);
    plan.organizations.iter().for_each(|ChangedOrganization { after, .. }| organizations.push(organization(after)));
    upsert(tx, "organizations", &ORGANIZATION, organizations).await?;
    let mut purged = Rows::new(&ID);
    plan.purged.iter().for_each(|id| purged.push(vec![Cell::Id(*id)]));
    if !purged.is_empty() {
        let purge = "delete from clerk_sync.organization_memberships where organization_id in (select id from ";
        Stmt::new(tx, purge).rows(purged).sql(")").exec(tx).await?;
    }
    let (mut gone, mut members) = (Rows::new(&ID), Rows::new(&MEMBER));
    for change in &plan.memberships {
        match change {
            ChangedMember { after: Some(row), .. } => members.push(member(row)),
            ChangedMember { before: Some(row), after: None } => gone.push(vec![Cell::Id(row.id)]),
            ChangedMember { before: None, after: None } => {}
        }
    }
    if !gone.is_empty() {
        let delete = "delete from clerk_sync.organization_memberships where id in (select id from ";
        Stmt::new(tx, delete).rows(gone).sql(")").exec(tx).await?;
    }
    upsert(tx, "organization_memberships", &MEMBER, members).await
}

/// Inserts rows or, where their `id` is there, replaces them.
async fn upsert(tx: &impl ConnectionTrait, table: &str, cols: &[Col], rows: Rows) -> Result<(), DbErr> {
    if rows.is_empty() {
        return Ok(());
    }
    let names = cols.iter().map(|Col(name, _)| *name).collect::<Vec<_>>().join(", ");
    let set = cols.iter().skip(1).map(|Col(name, _)| format!("{name} = excluded.{name}")).collect::<Vec<_>>();
    Stmt::new(tx, "insert into clerk_sync.")
        .sql(&format!("{table} ({names}) select {names} from "))
        .rows(rows)
        .sql(" where true on conflict (id) do update set ")
        .sql(&set.join(", "))
        .exec(tx)
        .await
        .map(drop)
}
