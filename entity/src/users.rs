//! One row a person, live or deleted. `id` is the stable business id.

use sea_orm::entity::prelude::*;

use crate::Id;

/// One row a person, live or deleted. `id` is the stable business id.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(schema_name = "clerk_sync", table_name = "users")]
#[expect(missing_docs, reason = "the columns are documented in ARCHITECTURE.md")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Id,
    pub user_type: String,
    pub clerk_id: Option<String>,
    pub external_id: Option<String>,
    pub username: Option<String>,
    pub first_name: Option<String>,
    pub last_name: Option<String>,
    pub display_name: Option<String>,
    pub email: Option<String>,
    pub email_verified: bool,
    pub phone: Option<String>,
    pub image_url: Option<String>,
    pub locale: Option<String>,
    pub status: String,
    pub deletion_held_at: Option<DateTimeUtc>,
    pub password_enabled: bool,
    pub two_factor_enabled: bool,
    pub last_sign_in_at: Option<DateTimeUtc>,
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
