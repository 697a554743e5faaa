//! One change, numbered in commit order.

use sea_orm::entity::prelude::*;

use crate::{Id, JsonText};

/// One change, numbered in commit order.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(schema_name = "clerk_sync", table_name = "outbox")]
#[expect(missing_docs, reason = "the columns are documented in ARCHITECTURE.md")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub seq: i64,
    pub id: Id,
    pub event: String,
    pub topic: String,
    pub subject: String,
    #[sea_orm(column_type = "JsonBinary")]
    pub routing: Json,
    pub payload: JsonText,
    #[sea_orm(column_type = "JsonBinary")]
    pub changed: Json,
    pub effects: String,
    pub correlation_id: Option<String>,
    pub occurred_at: Option<DateTimeUtc>,
    pub created_at: DateTimeUtc,
}

/// Nothing: rows meet in statements, not in object graphs.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
