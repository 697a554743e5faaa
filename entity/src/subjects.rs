//! Facts that only grow: newest version, entry, deletion, access, whose a membership id is; and one that can be cleared: absence.

use sea_orm::entity::prelude::*;

/// Facts that only grow: newest version, entry, deletion, access, whose a membership id is; and one that can be cleared: absence.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(schema_name = "clerk_sync", table_name = "subjects")]
#[expect(missing_docs, reason = "the columns are documented in ARCHITECTURE.md")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub kind: String,
    #[sea_orm(primary_key, auto_increment = false)]
    pub key: String,
    pub version: Option<String>,
    pub entered: bool,
    pub deleted: bool,
    pub deleted_at: Option<DateTimeUtc>,
    pub buried_at: Option<DateTimeUtc>,
    pub erased_at: Option<DateTimeUtc>,
    pub banned: bool,
    pub deprovisioned: bool,
    pub pair: Option<String>,
    pub absent_version: Option<String>,
    pub absent_at: Option<DateTimeUtc>,
}

/// Nothing: rows meet in statements, not in object graphs.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
