//! Payloads of the change feed. Ids stay: caches and indexes still find by them what they have to forget.

use entity::JsonText;
use sea_orm::{DbErr, FromQueryResult};

use crate::{
    db::{Cell, Col, Db, Rows, Stmt, Type},
    json::{Object, Value},
};

use super::{Departed, clerk_ids, windows};

/// Members that hold nothing personal.
const KEPT: [&str; 16] = [
    "id",
    "clerk_id",
    "other_clerk_id",
    "organization_id",
    "organization_clerk_id",
    "user_id",
    "user_clerk_id",
    "session_id",
    "svix_id",
    "event_type",
    "decision",
    "kind",
    "level",
    "status",
    "deleted_at",
    "rev",
];

#[derive(Debug, FromQueryResult)]
struct Row {
    seq: i64,
    payload: JsonText,
}

/// Whether an object holds more than ids and what goes with them.
pub(super) fn is_personal(object: &Object) -> bool {
    object.keys().any(|name| !KEPT.contains(&name.as_str()))
}

pub(super) async fn visit(db: &Db, people: &[Departed], erase: bool) -> Result<u64, DbErr> {
    let (mut touched, mut after) = (0, 0);
    while let Some(last) = windows::last(db, "outbox", after).await? {
        let mut changes = Rows::new(&[Col("seq", Type::Int), Col("payload", Type::TextJson)]);
        for Row { seq, payload } in naming(db, people, after, last).await? {
            let Value::Object(mut members) = Value::stored(&payload.0) else { continue };
            if is_personal(&members) {
                members.retain(|name, _| KEPT.contains(&name.as_str()));
                changes.push(vec![Cell::Int(seq), Cell::from(&members)]);
            }
        }
        touched += changes.len() as u64;
        if erase && !changes.is_empty() {
            Stmt::new(&db.write, "update clerk_sync.outbox set payload = r.payload from ")
                .rows(changes)
                .sql(" where outbox.seq = r.seq")
                .exec(&db.write)
                .await?;
        }
        after = last;
    }
    Ok(touched)
}

/// Rows about the people themselves and their memberships, and what operators were told of them. An organisation's own
/// row may name its creator's id and keeps it.
async fn naming(db: &Db, people: &[Departed], after: i64, last: i64) -> Result<Vec<Row>, DbErr> {
    Stmt::new(&db.read, "select o.seq, o.payload from clerk_sync.outbox o where o.seq > ")
        .val(after)
        .sql(" and o.seq <= ")
        .val(last)
        .sql(" and exists (select 1 from ")
        .rows(clerk_ids(people))
        .sql(" where o.subject = r.k or o.subject like '%/' || r.k or (o.topic in ('admin', 'internal') and ")
        .dialect("strpos(cast(o.payload as text), r.k) > 0))", "instr(o.payload, r.k) > 0))")
        .all_as(&db.read)
        .await
}
