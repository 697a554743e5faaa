//! Appends to the change feed, inside the transaction that holds the commit lock.

use sea_orm::{ConnectionTrait, DbErr};

use crate::{
    clock::{Clock, Time},
    db::{Cell, Col, Rows, Stmt, Type},
    domain::plan::Message,
};

const COLS: [Col; 11] = [
    Col("seq", Type::Int),
    Col("id", Type::Id),
    Col("event", Type::Text),
    Col("topic", Type::Text),
    Col("subject", Type::Text),
    Col("routing", Type::Json),
    Col("payload", Type::TextJson),
    Col("changed", Type::TextJson),
    Col("effects", Type::Text),
    Col("correlation_id", Type::Text),
    Col("occurred_at", Type::Time),
];

/// One statement, whatever the number of messages.
///
/// # Errors
/// What the database says.
pub async fn append<'a>(
    tx: &impl ConnectionTrait,
    messages: impl Iterator<Item = &'a Message>,
    clock: &Clock,
    now: Time,
) -> Result<(), DbErr> {
    let mut rows = Rows::new(&COLS);
    for message in messages {
        rows.push(vec![
            Cell::Int(message.seq),
            Cell::Id(clock.new_id()),
            message.event.into(),
            message.topic.into(),
            message.subject.as_str().into(),
            Cell::json(&message.routing),
            Cell::from(&message.payload),
            Cell::json(&message.changed),
            message.effects.into(),
            message.correlation_id.as_str().into(),
            message.occurred_at.into(),
        ]);
    }
    if rows.is_empty() {
        return Ok(());
    }
    Stmt::new(tx, "insert into clerk_sync.outbox (seq, id, event, topic, subject, routing, payload, changed, effects, correlation_id, occurred_at, created_at)
            select seq, id, event, topic, subject, routing, payload, changed, effects, correlation_id, occurred_at, ")
        .val(now)
        .sql(" from ")
        .rows(rows)
        .exec(tx)
        .await
        .map(drop)
}
