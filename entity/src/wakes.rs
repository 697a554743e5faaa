//! A parent that has come or gone, more of whose waiting rows are still to be woken.

use sea_orm::entity::prelude::*;

/// A parent that has come or gone, more of whose waiting rows are still to be woken.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(schema_name = "clerk_sync", table_name = "wakes")]
#[expect(missing_docs, reason = "the columns are documented in ARCHITECTURE.md")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub parent: String,
    pub since: DateTimeUtc,
    pub woken_to: i64,
}

/// Nothing: rows meet in statements, not in object graphs.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
