//! How far a shared sink has got, and who is moving it.

use sea_orm::entity::prelude::*;

/// How far a shared sink has got, and who is moving it.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(schema_name = "clerk_sync", table_name = "sink_cursors")]
#[expect(missing_docs, reason = "the columns are documented in ARCHITECTURE.md")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub sink: String,
    pub seq: i64,
    pub owner: Option<String>,
    pub lease_until: Option<DateTimeUtc>,
    pub attempts: i64,
    pub available_at: DateTimeUtc,
    pub last_error: Option<String>,
    pub updated_at: DateTimeUtc,
}

/// Nothing: rows meet in statements, not in object graphs.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
