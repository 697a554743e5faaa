//! Something an operator should know; alerts of one key are one row with a count.

use sea_orm::entity::prelude::*;

use crate::Id;

/// Something an operator should know; alerts of one key are one row with a count.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(schema_name = "clerk_sync", table_name = "alerts")]
#[expect(missing_docs, reason = "the columns are documented in ARCHITECTURE.md")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Id,
    pub key: String,
    pub kind: String,
    pub level: String,
    pub subject: Option<String>,
    pub text: String,
    pub count: i64,
    pub first_at: DateTimeUtc,
    pub last_at: DateTimeUtc,
    pub told_at: Option<DateTimeUtc>,
}

/// Nothing: rows meet in statements, not in object graphs.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
