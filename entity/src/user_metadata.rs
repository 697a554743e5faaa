//! Clerk's three metadata objects. `private_metadata` never leaves the database.

use sea_orm::entity::prelude::*;

use crate::{Id, JsonText};

/// Clerk's three metadata objects. `private_metadata` never leaves the database.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(schema_name = "clerk_sync", table_name = "user_metadata")]
#[expect(missing_docs, reason = "the columns are documented in ARCHITECTURE.md")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub user_id: Id,
    pub public_metadata: JsonText,
    pub private_metadata: JsonText,
    pub unsafe_metadata: JsonText,
    pub rev: i64,
}

/// Nothing: rows meet in statements, not in object graphs.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
