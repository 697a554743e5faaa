//! What waits for operators: conflicts of addresses and held deletions.

use sea_orm::{DbErr, FromQueryResult};
use serde_json::{Value, json};
use uuid::Uuid;

use super::write;
use crate::{
    clock::{Time, rfc3339},
    db::{Db, Stmt},
};

/// Conflicts, newest first (ids are ordered by time), those before `before`. `state` is `open` or `resolved`.
///
/// # Errors
/// What the database says.
pub async fn conflicts(
    db: &Db,
    state: Option<&'static str>,
    before: Uuid,
    limit: i64,
) -> Result<Vec<entity::conflicts::Model>, DbErr> {
    let mut select = Stmt::new(&db.read, "select * from clerk_sync.conflicts where id < ").val(before);
    if let Some(state) = state {
        // A word of ours, and part of the text: the partial index of the open ones is found by it.
        select = select.sql(" and state = '").sql(state).sql("'");
    }
    select.sql(" order by id desc limit ").val(limit).all_as(&db.read).await
}

/// One conflict.
///
/// # Errors
/// What the database says.
pub async fn conflict(db: &Db, id: Uuid) -> Result<Option<entity::conflicts::Model>, DbErr> {
    Stmt::new(&db.read, "select * from clerk_sync.conflicts where id = ").val(id).one_as(&db.read).await
}

/// A conflict as readers see it.
pub fn conflict_json(row: &entity::conflicts::Model) -> Value {
    json!({
        "id": row.id, "clerk_id": row.clerk_id, "address": row.address, "other_clerk_id": row.other_clerk_id,
        "svix_id": row.svix_id, "state": row.state, "opened_at": rfc3339(row.opened_at),
        "resolved_at": row.resolved_at.map(rfc3339),
    })
}

/// A deletion, of a user or an organisation, that waits for an operator.
#[derive(Debug, Clone, FromQueryResult)]
#[expect(missing_docs, reason = "the names are the columns'")]
pub struct HeldDeletion {
    pub seq: i64,
    pub clerk_id: String,
    pub event_type: String,
    pub svix_id: String,
    pub reason: Option<String>,
    pub occurred_at: Option<Time>,
    pub received_at: Time,
    pub deletion_held_at: Option<Time>,
}

impl HeldDeletion {
    /// As readers see it.
    pub fn to_json(&self) -> Value {
        json!({
            "clerk_id": self.clerk_id, "event_type": self.event_type, "svix_id": self.svix_id, "reason": self.reason,
            "occurred_at": self.occurred_at.map(rfc3339), "received_at": rfc3339(self.received_at),
            "deletion_held_at": self.deletion_held_at.map(rfc3339),
        })
    }
}

/// Held deletions, newest first, those before the inbox seq `before`.
///
/// # Errors
/// What the database says.
pub async fn held_deletions(db: &Db, before: i64, limit: i64) -> Result<Vec<HeldDeletion>, DbErr> {
    Stmt::new(
        &db.read,
        "select i.seq, i.subject as clerk_id, i.event_type, i.svix_id, i.reason, i.occurred_at, i.received_at, u.deletion_held_at
            from clerk_sync.inbox i left join clerk_sync.users u on u.clerk_id = i.subject
            where i.state = 'held' and i.event_type in ",
    )
    .sql(write::inbox::HELD_DELETIONS)
    .sql(" and i.subject is not null and i.seq < ")
    .val(before)
    .sql(" order by i.seq desc limit ")
    .val(limit)
    .all_as(&db.read)
    .await
}
