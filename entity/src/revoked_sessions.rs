//! A session that Clerk ended; kept for a day, asked at every authentication.

use sea_orm::entity::prelude::*;

/// A session that Clerk ended; kept for a day, asked at every authentication.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(schema_name = "clerk_sync", table_name = "revoked_sessions")]
#[expect(missing_docs, reason = "the columns are documented in ARCHITECTURE.md")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub session_id: String,
    pub clerk_id: Option<String>,
    pub revoked_at: DateTimeUtc,
    pub expires_at: DateTimeUtc,
}

/// Nothing: rows meet in statements, not in object graphs.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
