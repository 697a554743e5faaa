//! What an operator decided about an address that two persons claim.

use sea_orm::entity::prelude::*;

use crate::Id;

/// What an operator decided about an address that two persons claim.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(schema_name = "clerk_sync", table_name = "conflict_decisions")]
#[expect(missing_docs, reason = "the columns are documented in ARCHITECTURE.md")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Id,
    pub newcomer: String,
    pub older: String,
    pub address: String,
    pub decision: String,
    pub older_version: Option<String>,
    pub actor: String,
    pub decided_at: DateTimeUtc,
}

/// Nothing: rows meet in statements, not in object graphs.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
