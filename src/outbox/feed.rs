//! Reading the change feed, and the frame in which readers get a change.

use sea_orm::{ConnectionTrait, DbErr, FromQueryResult};

use crate::{
    clock::{Time, rfc3339},
    db::Stmt,
    domain::view,
    json::{Object, Value, json},
};

use super::lazy::Lazy;

/// A row of the change feed as readers need it.
#[derive(Debug, Clone, FromQueryResult)]
#[expect(missing_docs, reason = "the names are the columns'")]
pub struct Entry {
    pub seq: i64,
    pub event: String,
    /// `users`, `admin`, or `internal`, which nobody outside sees.
    pub topic: String,
    pub subject: String,
    /// Further topics, e.g. `user:{id}`: a JSON list of texts.
    pub routing: Lazy,
    /// The whole object; each audience gets its part of it (see [`Entry::data`]).
    pub payload: Lazy,
    pub changed: Lazy,
    /// `all`, or `state`: only caches and search look at it.
    pub effects: String,
    pub correlation_id: Option<String>,
    pub occurred_at: Option<Time>,
    pub created_at: Time,
}

/// The columns of an [`Entry`].
pub(super) const COLUMNS: &str =
    "seq, event, topic, subject, cast(routing as text) as routing, cast(payload as text) as payload,
    cast(changed as text) as changed, effects, correlation_id, occurred_at, created_at";

/// Up to `limit` entries after `after`, in order.
///
/// # Errors
/// What the database says.
pub async fn read(db: &impl ConnectionTrait, after: i64, limit: u32) -> Result<Vec<Entry>, DbErr> {
    let select = Stmt::new(db, "select ").sql(COLUMNS).sql(" from clerk_sync.outbox where seq > ").val(after);
    select.sql(" order by seq limit ").val(i64::from(limit)).all_as(db).await
}

/// The same for whoever follows the feed: and the seq up to which rows after `after` were trimmed before they were read,
/// if any were.
///
/// # Errors
/// What the database says.
pub async fn follow(db: &impl ConnectionTrait, after: i64, limit: u32) -> Result<(Vec<Entry>, Option<i64>), DbErr> {
    let entries = read(db, after, limit).await?;
    let next = entries.first().map_or(after, |first| first.seq - 1);
    // A hole alone is no loss. What was trimmed after the page was read was read.
    let lost = next > after && bounds(db).await?.0 > after + 1;
    Ok((entries, lost.then_some(next)))
}

/// The row up to which the feed was read, and the epoch of its number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    /// Its number; 0 before the first.
    pub seq: i64,
    /// Its id; `None` before the first.
    pub id: Option<String>,
    /// The epoch in which it was read.
    pub epoch: String,
}

/// What follows a [`Position`].
#[derive(Debug)]
pub enum Page {
    /// Rows after it, the last one's id, and the seq up to which rows were trimmed unread, if any were.
    Rows(Vec<Entry>, Option<String>, Option<i64>),
    /// Its number is another row's now, or nobody's: commits were taken back, or the epoch was renewed.
    Renumbered,
}

/// Returns the newest row's place.
///
/// # Errors
/// What the database says.
pub async fn newest(db: &impl ConnectionTrait, epoch: &str) -> Result<Position, DbErr> {
    let select = "select seq, cast(id as text) as id from clerk_sync.outbox order by seq desc limit 1";
    let rows = Stmt::new(db, select).all(db).await?;
    let Some(row) = rows.first() else { return Ok(Position { seq: 0, id: None, epoch: epoch.to_owned() }) };
    Ok(Position { seq: row.try_get("", "seq")?, id: Some(row.try_get("", "id")?), epoch: epoch.to_owned() })
}

/// Up to `limit` entries after a position, after a look at whether the feed is still the one in which it was reached. The
/// position's own row is read again: retention never removes the newest row, so that row is there with the same id, or
/// everything up to it was trimmed, or commits were taken back (a failover to a standby that lacked them, a restored backup).
///
/// # Errors
/// What the database says.
pub async fn follow_from(db: &impl ConnectionTrait, position: &Position, limit: u32) -> Result<Page, DbErr> {
    let Position { seq, id, epoch } = position;
    let own = i64::from(id.is_some());
    let rows = Stmt::new(db, "select ")
        .sql(COLUMNS)
        .sql(", cast(id as text) as id, (select value from clerk_sync.meta where key = 'epoch') as epoch")
        .sql(" from clerk_sync.outbox where seq > ")
        .val(*seq - own)
        .sql(" order by seq limit ")
        .val(i64::from(limit) + own)
        .all(db)
        .await?;
    let mut entries = rows.iter().map(|row| Entry::from_query_result(row, "")).collect::<Result<Vec<_>, _>>()?;
    let mut last = id.clone();
    if let Some(row) = rows.last() {
        last = Some(row.try_get("", "id")?);
        if row.try_get::<Option<String>>("", "epoch")?.as_ref() != Some(epoch) {
            return Ok(Page::Renumbered);
        }
    }
    let Some(id) = id else { return Ok(Page::Rows(entries, last, None)) };
    match (entries.first().map(|first| first.seq), rows.first()) {
        (Some(first), Some(row)) if first == *seq => {
            if row.try_get::<String>("", "id")? != *id {
                return Ok(Page::Renumbered);
            }
            entries.remove(0);
        }
        _ => {
            let (low, high) = bounds(db).await?;
            if low <= *seq || high < *seq {
                return Ok(Page::Renumbered);
            }
        }
    }
    let next = entries.first().map_or(*seq, |first| first.seq - 1);
    // A hole alone is no loss. What was trimmed after the page was read was read.
    let lost = next > *seq && bounds(db).await?.0 > *seq + 1;
    Ok(Page::Rows(entries, last, lost.then_some(next)))
}

/// The same of these topics only (a name may stand twice). Others are passed over in the database, so that a caller
/// who may see few of them is not sent through pages of nothing.
///
/// # Errors
/// What the database says.
pub async fn read_topics(
    db: &impl ConnectionTrait,
    after: i64,
    topics: [&str; 3],
    limit: u32,
) -> Result<Vec<Entry>, DbErr> {
    let [first, second, third] = topics;
    let select = Stmt::new(db, "select ").sql(COLUMNS).sql(" from clerk_sync.outbox where seq > ").val(after);
    let select = select.sql(" and topic in (").val(first).sql(", ").val(second).sql(", ").val(third);
    select.sql(") order by seq limit ").val(i64::from(limit)).all_as(db).await
}

/// Rows looked at for one page of messages.
const WINDOW: i64 = 10_000;

/// A part of the feed of which only one event matters.
#[derive(Debug)]
pub struct Messages {
    /// The rows of the event with effects `all`, in order.
    pub entries: Vec<Entry>,
    /// Every row up to here was looked at.
    pub upto: i64,
    /// Whether there is nothing above `upto`.
    pub at_head: bool,
}

/// The rows of one event after `after`, `limit` at most. All others are passed over in the database, a bounded number at
/// a time.
///
/// # Errors
/// What the database says.
pub async fn messages(db: &impl ConnectionTrait, after: i64, event: &str, limit: u32) -> Result<Messages, DbErr> {
    // First: whatever stands below the head then is there to be read afterwards (P5).
    let (_, head) = bounds(db).await?;
    let end = head.min(after.saturating_add(WINDOW)).max(after);
    let select = Stmt::new(db, "select ").sql(COLUMNS).sql(" from clerk_sync.outbox where seq > ").val(after);
    let select = select.sql(" and seq <= ").val(end).sql(" and event = ").val(event);
    let select = select.sql(" and effects = 'all' order by seq limit ").val(i64::from(limit));
    let entries: Vec<Entry> = select.all_as(db).await?;
    let full = entries.len() >= limit as usize;
    let upto = entries.last().filter(|_| full).map_or(end, |last| last.seq);
    Ok(Messages { entries, upto, at_head: upto >= head })
}

/// One row, if it is still there.
///
/// # Errors
/// What the database says.
pub async fn at(db: &impl ConnectionTrait, seq: i64) -> Result<Option<Entry>, DbErr> {
    Stmt::new(db, "select ").sql(COLUMNS).sql(" from clerk_sync.outbox where seq = ").val(seq).one_as(db).await
}

/// The seqs between which the feed can be read: (oldest kept, newest). Both 0 for an empty feed.
///
/// # Errors
/// What the database says.
pub async fn bounds(db: &impl ConnectionTrait) -> Result<(i64, i64), DbErr> {
    // Each on its own: SQLite finds one end by the key, but reads the whole table for both at once.
    let select = "select coalesce((select min(seq) from clerk_sync.outbox), 0) as low, coalesce((select max(seq) from clerk_sync.outbox), 0) as high";
    let rows = Stmt::new(db, select).all(db).await?;
    rows.first().map_or(Ok((0, 0)), |row| Ok((row.try_get("", "low")?, row.try_get("", "high")?)))
}

impl Entry {
    /// Whether it goes to `topic`: its own, or one it is routed to.
    pub fn reaches(&self, topic: &str) -> bool {
        self.topic == topic || self.routing.as_array().is_some_and(|topics| topics.iter().any(|routed| routed == topic))
    }

    /// What the audience of `topic` gets of the object: all of it on `user:…`; on `org:…` all of the organisation, and
    /// of people their public profile; `fields` on `users`; all of an operators' message on `admin`. Private metadata
    /// nobody.
    pub fn data(&self, topic: &str, fields: &[String]) -> Value {
        let empty = Object::new();
        let whole = self.payload.as_object().unwrap_or(&empty);
        if topic == "users" {
            return Value::Object(view::only(whole, fields));
        }
        if topic.starts_with("org:") && !self.event.starts_with("organization.") {
            return Value::Object(public_profile(whole));
        }
        let mut whole = whole.clone();
        whole.remove("private_metadata");
        Value::Object(whole)
    }

    /// The frame for `topic`, without `type`.
    pub fn frame(&self, topic: &str, fields: &[String]) -> Object {
        let at = rfc3339(self.occurred_at.unwrap_or(self.created_at));
        let frame = json!({
            "seq": self.seq, "topic": topic, "event": self.event, "subject": self.subject, "changed": *self.changed,
            "data": self.data(topic, fields), "at": at, "correlation_id": self.correlation_id,
        });
        frame.into_object()
    }
}

#[cfg(test)]
impl Entry {
    /// A row for tests of who gets what.
    pub(crate) fn of(
        seq: i64,
        event: &str,
        topic: &str,
        subject: &str,
        routing: serde_json::Value,
        payload: serde_json::Value,
    ) -> Self {
        Self {
            seq,
            event: event.into(),
            topic: topic.into(),
            subject: subject.into(),
            routing: routing.into(),
            payload: payload.into(),
            changed: serde_json::json!([]).into(),
            effects: "all".into(),
            correlation_id: None,
            occurred_at: None,
            created_at: crate::clock::from_millis(0).unwrap(),
        }
    }
}

/// What members of an organisation see of each other: a member's own role beside the person, who may stand in `user`.
fn public_profile(object: &Object) -> Object {
    let person = object.get("user").and_then(Value::as_object).unwrap_or(object);
    let members = ["id", "clerk_id", "display_name", "image_url"].map(|name| (name, person.get(name)));
    let shown = members.into_iter().chain([("role", object.get("role"))]);
    shown.filter_map(|(name, value)| Some((name.to_owned(), value?.clone()))).collect()
}
