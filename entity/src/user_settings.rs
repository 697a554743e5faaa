//! Settings: `mapped` follows Clerk, `settings` was written once and belongs to the application.

use sea_orm::entity::prelude::*;

use crate::{Id, JsonText};

/// Settings: `mapped` follows Clerk, `settings` was written once and belongs to the application.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(schema_name = "clerk_sync", table_name = "user_settings")]
#[expect(missing_docs, reason = "the columns are documented in ARCHITECTURE.md")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub user_id: Id,
    pub settings: JsonText,
    pub mapped: JsonText,
    pub rev: i64,
}

/// Nothing: rows meet in statements, not in object graphs.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
