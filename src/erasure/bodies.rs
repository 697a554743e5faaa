//! Bodies of deliveries. One about the person, or that has come to its end, is emptied; in one that is somebody else's
//! and not finished, only what names the person is blanked, so that nobody else loses anything.

use sea_orm::{DbErr, FromQueryResult};

use crate::{
    db::{Cell, Col, Db, Rows, Stmt, Type},
    json::Value,
};

use super::{Departed, clerk_ids, windows};

#[derive(Debug, FromQueryResult)]
struct Row {
    seq: i64,
    state: String,
    subject: Option<String>,
    body: Vec<u8>,
}

pub(super) async fn visit(db: &Db, people: &[Departed], erase: bool) -> Result<u64, DbErr> {
    let mut touched = 0;
    let mut after = 0;
    while let Some(last) = windows::last(db, "inbox", after).await? {
        let rows = naming(db, people, after, last).await?;
        let changes: Vec<(i64, Option<Vec<u8>>)> =
            rows.into_iter().filter_map(|row| Some((row.seq, without(row, people)?))).collect();
        touched += changes.len() as u64;
        if erase && !changes.is_empty() {
            write(db, changes).await?;
        }
        after = last;
    }
    Ok(touched)
}

async fn naming(db: &Db, people: &[Departed], after: i64, last: i64) -> Result<Vec<Row>, DbErr> {
    Stmt::new(
        &db.read,
        "select i.seq, i.state, i.subject, i.body from clerk_sync.inbox i where i.body is not null and i.seq > ",
    )
    .val(after)
    .sql(" and i.seq <= ")
    .val(last)
    .sql(" and exists (select 1 from ")
    .rows(clerk_ids(people))
    .dialect(" where strpos(cast(i.user_ids as text), ", " where instr(i.user_ids, ")
    .sql("'\"' || r.k || '\"') > 0)")
    .all_as(&db.read)
    .await
}

/// The new body (`None`: empty), or nothing to change.
fn without(row: Row, people: &[Departed]) -> Option<Option<Vec<u8>>> {
    let about = |subject: &str| {
        people.iter().any(|person| {
            subject == person.clerk_id || subject.rsplit_once('/').is_some_and(|(_, user)| user == person.clerk_id)
        })
    };
    let finished = ["done", "skipped", "discarded"].contains(&row.state.as_str());
    if finished || row.subject.as_deref().is_some_and(about) {
        return Some(None);
    }
    let mut body = Value::parse(std::str::from_utf8(&row.body).ok()?).ok()?;
    blank(&mut body, people).then(|| Some(body.to_string().into_bytes()))
}

/// Objects that are about a person lose every other member; answers whether anything was there to lose.
fn blank(value: &mut Value, people: &[Departed]) -> bool {
    let names = |value: &Value| value.as_str().is_some_and(|id| people.iter().any(|person| person.clerk_id == id));
    match value {
        Value::Object(members) => {
            let about = ["id", "user_id"].iter().any(|name| members.get(*name).is_some_and(names));
            if about {
                let before = members.len();
                members.retain(|_, value| names(value));
                return members.len() != before;
            }
            members.values_mut().fold(false, |any, value| blank(value, people) | any)
        }
        Value::Array(items) => items.iter_mut().fold(false, |any, value| blank(value, people) | any),
        _ => false,
    }
}

async fn write(db: &Db, changes: Vec<(i64, Option<Vec<u8>>)>) -> Result<(), DbErr> {
    let mut rows = Rows::new(&[Col("seq", Type::Int), Col("body", Type::Bytes)]);
    changes.into_iter().for_each(|(seq, body)| rows.push(vec![Cell::Int(seq), body.into()]));
    Stmt::new(&db.write, "update clerk_sync.inbox set body = r.body from ")
        .rows(rows)
        .sql(" where inbox.seq = r.seq")
        .exec(&db.write)
        .await
        .map(drop)
}
