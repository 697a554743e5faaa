//! The durable receipt of one delivery, with what became of it.

use sea_orm::entity::prelude::*;

/// The condition of the index `inbox_states`, in its own words: by them SQLite knows that the index answers a question.
pub const PARKED: &str = "state in ('rejected', 'conflict', 'waiting', 'held', 'dead', 'discarded')";

/// The condition of the index `inbox_settled`: nothing more becomes of these by itself.
pub const SETTLED: &str = "state in ('done', 'skipped', 'discarded')";

/// The condition of the index `inbox_bodies`: bodies that no version needs any more. Types that a later version reads
/// are left out by the index itself, so that retention never passes over them again.
pub const SPENT: &str = "body is not null and state in ('done', 'skipped') and event_type not like 'user.merged%' \
    and event_type not like 'role.%' and event_type not like 'permission.%' and event_type not like 'organizationDomain.%' \
    and event_type not like 'subscription.%' and event_type not like 'subscriptionItem.%' \
    and event_type not like 'paymentAttempt.%'";

/// The durable receipt of one delivery, with what became of it.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(schema_name = "clerk_sync", table_name = "inbox")]
#[expect(missing_docs, reason = "the columns are documented in ARCHITECTURE.md")]
pub struct Model {
    #[sea_orm(primary_key)]
    pub seq: i64,
    pub svix_id: String,
    pub event_type: String,
    pub subject: Option<String>,
    pub object_id: Option<String>,
    #[sea_orm(column_type = "JsonBinary")]
    pub user_ids: Json,
    pub body: Option<Vec<u8>>,
    pub instance_id: Option<String>,
    pub occurred_at: Option<DateTimeUtc>,
    pub received_at: DateTimeUtc,
    pub state: String,
    pub outcome: Option<String>,
    pub reason: Option<String>,
    pub attempts: i64,
    pub available_at: DateTimeUtc,
    pub awaits: Option<String>,
    pub awaits_too: Option<String>,
    pub traceparent: Option<String>,
    pub origin: String,
    pub duration_us: Option<i64>,
    pub finished_at: Option<DateTimeUtc>,
}

/// Nothing: rows meet in statements, not in object graphs.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
