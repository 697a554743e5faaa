//! The audit trail: who changed what, when. Private metadata is masked before an entry is written, so whatever reads
//! the table may show it.

use entity::audit_log::Model;
use sea_orm::{ConnectionTrait, DbErr};

use crate::{
    clock::{Time, rfc3339},
    db::{Db, Stmt},
    json::{Value, json},
};

/// Up to `limit` entries below `before` (or from the latest on), the latest first, about everything or one subject; and
/// below which seq to go on, if there are more.
///
/// # Errors
/// What the database says.
pub async fn page(
    db: &Db,
    subject: Option<&str>,
    before: Option<i64>,
    limit: usize,
) -> Result<(Vec<Model>, Option<i64>), DbErr> {
    let mut select =
        Stmt::new(&db.read, "select * from clerk_sync.audit_log where seq < ").val(before.unwrap_or(i64::MAX));
    if let Some(subject) = subject {
        select = select.sql(" and subject = ").val(subject);
    }
    let wanted = i64::try_from(limit).unwrap_or(i64::MAX).saturating_add(1);
    let mut rows: Vec<Model> = select.sql(" order by seq desc limit ").val(wanted).all_as(&db.read).await?;
    let more = rows.len() > limit;
    rows.truncate(limit);
    let next = rows.last().filter(|_| more).map(|row| row.seq);
    Ok((rows, next))
}

/// An entry by the names of its columns.
pub fn object(row: &Model) -> Value {
    json!({
        "seq": row.seq, "actor": row.actor, "action": row.action, "subject": row.subject, "diff": Value::stored(&row.diff.0),
        "correlation_id": row.correlation_id, "at": rfc3339(row.at),
    })
}

/// Writes down what an operator did, in the transaction that does it.
///
/// # Errors
/// What the database says.
pub async fn operator(
    tx: &impl ConnectionTrait,
    action: &str,
    subject: &str,
    diff: serde_json::Value,
    correlation_id: Option<&str>,
    now: Time,
) -> Result<(), DbErr> {
    Stmt::new(
        tx,
        "insert into clerk_sync.audit_log (actor, action, subject, diff, correlation_id, at) values ('operator', ",
    )
    .val(action)
    .sql(", ")
    .val(subject)
    .sql(", ")
    .val(diff)
    .sql(", ")
    .val(correlation_id)
    .sql(", ")
    .val(now)
    .sql(")")
    .exec(tx)
    .await
    .map(drop)
}
