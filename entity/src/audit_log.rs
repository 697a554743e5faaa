//! Who changed what, when.

use sea_orm::entity::prelude::*;

use crate::JsonText;

/// Who changed what, when.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(schema_name = "clerk_sync", table_name = "audit_log")]
#[expect(missing_docs, reason = "the columns are documented in ARCHITECTURE.md")]
pub struct Model {
    #[sea_orm(primary_key)]
    pub seq: i64,
    pub actor: String,
    pub action: String,
    pub subject: String,
    pub diff: JsonText,
    pub correlation_id: Option<String>,
    pub at: DateTimeUtc,
}

/// Nothing: rows meet in statements, not in object graphs.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
