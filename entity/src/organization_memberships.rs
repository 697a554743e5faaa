//! A live membership. What was is in the audit trail.

use sea_orm::entity::prelude::*;

use crate::Id;

/// A live membership.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(schema_name = "clerk_sync", table_name = "organization_memberships")]
#[expect(missing_docs, reason = "the columns are documented in ARCHITECTURE.md")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Id,
    pub clerk_id: String,
    pub organization_id: Id,
    pub user_id: Id,
    pub role: String,
    pub permissions: Json,
    pub clerk_created_at: Option<DateTimeUtc>,
    pub clerk_updated_at: Option<DateTimeUtc>,
    pub created_at: DateTimeUtc,
    pub updated_at: DateTimeUtc,
    pub rev: i64,
    pub joined_seq: i64,
    pub version: Option<String>,
}

/// Nothing: rows meet in statements, not in object graphs.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
