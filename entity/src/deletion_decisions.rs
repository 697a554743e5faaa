//! An operator's decision that a user or an organisation is not deleted; read by the plan.

use sea_orm::entity::prelude::*;

/// An operator's decision that a user or an organisation is not deleted; read by the plan.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "deletion_decisions")]
#[expect(missing_docs, reason = "the columns are documented in ARCHITECTURE.md")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub kind: String,
    #[sea_orm(primary_key, auto_increment = false)]
    pub subject: String,
    /// Deletions up to this time of their own are covered.
    pub covers_until: DateTimeUtc,
    pub actor: String,
    pub decided_at: DateTimeUtc,
}

/// Nothing: rows meet in statements, not in object graphs.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
