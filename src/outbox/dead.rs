//! Dead letters: changes that a sink refused for good. They block nobody; an operator retries or discards them.

use sea_orm::{ColumnTrait, DbErr, EntityTrait, QueryFilter, QueryOrder, QuerySelect};
use uuid::Uuid;

use crate::{
    clock::{Clock, Time},
    db::{Cell, Col, Db, Rows, Stmt, Type},
};

use super::relay::Refused;

const COLS: [Col; 5] = [
    Col("id", Type::Id),
    Col("seq", Type::Int),
    Col("event", Type::Text),
    Col("subject", Type::Text),
    Col("reason", Type::Text),
];

/// Writes refused changes down; a change that is refused again keeps its row.
///
/// # Errors
/// What the database says.
pub async fn bury(db: &Db, sink: &str, refused: &[Refused], clock: &Clock) -> Result<(), DbErr> {
    let mut rows = Rows::new(&COLS);
    for change in refused {
        rows.push(vec![
            Cell::Id(clock.new_id()),
            Cell::Int(change.seq),
            change.event.as_str().into(),
            change.subject.as_str().into(),
            change.reason.as_str().into(),
        ]);
    }
    if rows.is_empty() {
        return Ok(());
    }
    Stmt::new(&db.lazy, "insert into clerk_sync.dead_letters (id, seq, event, subject, reason, sink, created_at) select id, seq, event, subject, reason, ")
        .val(sink)
        .sql(", ")
        .val(clock.now())
        .sql(" from ")
        .rows(rows)
        .sql(" where true on conflict (sink, seq) do update set reason = excluded.reason, state = 'open', finished_at = null")
        .exec(&db.lazy)
        .await
        .map(drop)
}

/// Dead letters, newest first; open ones only unless `all`.
///
/// # Errors
/// What the database says.
pub async fn list(db: &Db, all: bool, limit: u64) -> Result<Vec<entity::dead_letters::Model>, DbErr> {
    use entity::dead_letters::{Column, Entity};
    let mut find = Entity::find().order_by_desc(Column::CreatedAt).limit(limit);
    if !all {
        find = find.filter(Column::State.eq("open"));
    }
    find.all(&db.read).await
}

/// One dead letter.
///
/// # Errors
/// What the database says.
pub async fn find(db: &Db, id: Uuid) -> Result<Option<entity::dead_letters::Model>, DbErr> {
    Stmt::new(&db.read, "select * from clerk_sync.dead_letters where id = ").val(id).one_as(&db.read).await
}

/// Ends an open dead letter as `retried` or `discarded`. Answers whether it was open.
///
/// # Errors
/// What the database says.
pub async fn end(db: &Db, id: Uuid, state: &str, now: Time) -> Result<bool, DbErr> {
    let update =
        Stmt::new(&db.write, "update clerk_sync.dead_letters set state = ").val(state).sql(", finished_at = ").val(now);
    Ok(update.sql(" where state = 'open' and id = ").val(id).exec(&db.write).await? == 1)
}
