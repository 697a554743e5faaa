//! One row an organisation, live or deleted. A deleted one's row keeps ids, status and time of deletion.

use sea_orm::entity::prelude::*;

use crate::{Id, JsonText};

/// One row an organisation, live or deleted.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(schema_name = "clerk_sync", table_name = "organizations")]
#[expect(missing_docs, reason = "the columns are documented in ARCHITECTURE.md")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Id,
    pub clerk_id: String,
    pub name: Option<String>,
    pub slug: Option<String>,
    pub image_url: Option<String>,
    pub created_by: Option<String>,
    pub owner_id: Option<Id>,
    pub members_count: i64,
    pub public_metadata: JsonText,
    pub private_metadata: JsonText,
    pub status: String,
    pub clerk_created_at: Option<DateTimeUtc>,
    pub clerk_updated_at: Option<DateTimeUtc>,
    pub created_at: DateTimeUtc,
    pub updated_at: DateTimeUtc,
    pub deleted_at: Option<DateTimeUtc>,
    pub rev: i64,
    pub version: Option<String>,
}

/// Nothing: rows meet in statements, not in object graphs.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
