//! Which events were being applied, in case the process dies.

use sea_orm::entity::prelude::*;

/// Which events were being applied, in case the process dies.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "applier_progress")]
#[expect(missing_docs, reason = "the columns are documented in ARCHITECTURE.md")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub slot: i64,
    pub owner: String,
    pub first_seq: i64,
    pub last_seq: i64,
    pub tries: i64,
}

/// Nothing: rows meet in statements, not in object graphs.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
