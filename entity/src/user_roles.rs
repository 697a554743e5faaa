//! Roles of persons; `source` is `clerk` or `local`.

use sea_orm::entity::prelude::*;

use crate::Id;

/// Roles of persons; `source` is `clerk` or `local`.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(schema_name = "clerk_sync", table_name = "user_roles")]
#[expect(missing_docs, reason = "the columns are documented in ARCHITECTURE.md")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub user_id: Id,
    #[sea_orm(primary_key, auto_increment = false)]
    pub role_id: Id,
    #[sea_orm(primary_key, auto_increment = false)]
    pub source: String,
}

/// Nothing: rows meet in statements, not in object graphs.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
