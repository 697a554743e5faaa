//! Repair of receipts from before the lexical envelope: rows whose bodies could not be read were stored without subject,
//! users and times, and with secret members in them. Each is read again, once, and becomes due.

use sea_orm::{DbErr, FromQueryResult};

use entity::inbox::PARKED;

use crate::{
    clerk::envelope,
    clock::Time,
    db::{Cell, Col, Db, Rows, Stmt, Type},
    meta,
};

/// The reason with which such rows ended.
const REASON: &str = "malformed: a number beyond all numbers";

/// The key in `meta` that says that it was done.
const DONE: &str = "inbox.rescanned";

/// Rows read again by one statement. Bodies have up to 1 MiB each.
const CHUNK: i64 = 50;

#[derive(FromQueryResult)]
struct Row {
    seq: i64,
    body: Vec<u8>,
}

const COLS: [Col; 7] = [
    Col("seq", Type::Int),
    Col("subject", Type::Text),
    Col("object_id", Type::Text),
    Col("user_ids", Type::Json),
    Col("body", Type::Bytes),
    Col("instance_id", Type::Text),
    Col("occurred_at", Type::Time),
];

/// Reads such rows again and makes them due, unless it was done before. Returns how many there were.
///
/// # Errors
/// What the database says.
pub async fn rescan(db: &Db, now: Time) -> Result<u64, DbErr> {
    if meta::get(db, DONE).await?.is_some() {
        return Ok(0);
    }
    let (mut repaired, mut after) = (0, 0);
    loop {
        let rows = unread(db, after).await?;
        let Some(last) = rows.last().map(|row| row.seq) else { break };
        repaired += repair(db, rows, now).await?;
        after = last;
    }
    meta::put(db, DONE, "1").await?;
    Ok(repaired)
}

async fn unread(db: &Db, after: i64) -> Result<Vec<Row>, DbErr> {
    Stmt::new(&db.read, "select seq, body from clerk_sync.inbox where state = 'rejected' and ")
        .sql(PARKED)
        .sql(" and body is not null and reason = ")
        .val(REASON)
        .sql(" and seq > ")
        .val(after)
        .sql(" order by seq limit ")
        .val(CHUNK)
        .all_as(&db.read)
        .await
}

async fn repair(db: &Db, rows: Vec<Row>, now: Time) -> Result<u64, DbErr> {
    let mut repaired = Rows::new(&COLS);
    for Row { seq, body } in rows {
        let Ok(envelope) = envelope::read(&body) else { continue };
        repaired.push(vec![
            Cell::Int(seq),
            envelope.subject.into(),
            envelope.object_id.into(),
            Cell::json(&envelope.user_ids),
            envelope.body.into(),
            envelope.instance_id.into(),
            envelope.occurred_at.into(),
        ]);
    }
    if repaired.is_empty() {
        return Ok(0);
    }
    Stmt::new(
        &db.write,
        "update clerk_sync.inbox set subject = r.subject, object_id = r.object_id, user_ids = r.user_ids, body = r.body,
            instance_id = r.instance_id, occurred_at = r.occurred_at, state = 'pending', outcome = null, reason = null,
            attempts = 0, finished_at = null, available_at = ",
    )
    .val(now)
    .sql(" from ")
    .rows(repaired)
    .sql(" where inbox.seq = r.seq and inbox.state = 'rejected'")
    .exec(&db.write)
    .await
}
