//! What of a person is neither account nor metadata.

use sea_orm::entity::prelude::*;

use crate::{Id, JsonText};

/// What of a person is neither account nor metadata.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(schema_name = "clerk_sync", table_name = "user_profiles")]
#[expect(missing_docs, reason = "the columns are documented in ARCHITECTURE.md")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub user_id: Id,
    pub has_image: bool,
    pub phone_numbers: JsonText,
    pub web3_wallets: JsonText,
    pub legal_accepted_at: Option<DateTimeUtc>,
    pub rev: i64,
}

/// Nothing: rows meet in statements, not in object graphs.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
