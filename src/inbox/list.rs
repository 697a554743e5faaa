//! Looking at receipts: newest first, by state, type and subject, at a bounded cost. Rows come without their bodies;
//! one row's body can be had masked.

use entity::inbox::PARKED;
use sea_orm::{DbErr, FromQueryResult};

use crate::{
    clerk::private::{BODY_EMPTIED, keeps_body, mask},
    clock::{Time, rfc3339},
    db::{Db, Stmt},
    domain::State,
    json::{Object, Value, json},
};

/// How many receipts are looked through for a page where no index knows the filter.
pub const WINDOW: i64 = 50_000;

const COLUMNS: &str = "seq, svix_id, event_type, subject, user_ids, instance_id, occurred_at, received_at, state, outcome, \
    reason, attempts, available_at, awaits, awaits_too, traceparent, origin, duration_us, finished_at";

/// A receipt without its body.
#[derive(Debug, Clone, FromQueryResult)]
#[expect(missing_docs, reason = "the names are the columns'")]
pub struct Receipt {
    pub seq: i64,
    pub svix_id: String,
    pub event_type: String,
    pub subject: Option<String>,
    pub user_ids: serde_json::Value,
    pub instance_id: Option<String>,
    pub occurred_at: Option<Time>,
    pub received_at: Time,
    pub state: String,
    pub outcome: Option<String>,
    pub reason: Option<String>,
    pub attempts: i64,
    pub available_at: Time,
    pub awaits: Option<String>,
    pub awaits_too: Option<String>,
    pub traceparent: Option<String>,
    pub origin: String,
    pub duration_us: Option<i64>,
    pub finished_at: Option<Time>,
}

/// Which receipts; all of them by default.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// In this state.
    pub state: Option<State>,
    /// Of this type.
    pub event_type: Option<String>,
    /// About this subject.
    pub subject: Option<String>,
}

impl Filter {
    /// Whether an index leads to the rows, or the page is soon full without one.
    fn is_cheap(&self) -> bool {
        let common = matches!(self.state, Some(State::Done | State::Skipped));
        self.subject.is_some() || (self.event_type.is_none() && !common)
    }
}

/// Up to `limit` receipts below `before` (or from the newest on), newest first; and below which seq to go on, if there
/// may be more. A page may be short, or empty, and yet not the last: at most `window` receipts are looked through
/// for one.
///
/// # Errors
/// What the database says.
pub async fn page(
    db: &Db,
    filter: &Filter,
    before: Option<i64>,
    limit: usize,
    window: i64,
) -> Result<(Vec<Receipt>, Option<i64>), DbErr> {
    let before = match before {
        Some(before) => before,
        None => newest_below(db, i64::MAX).await?.unwrap_or(0).saturating_add(1),
    };
    let floor = if filter.is_cheap() { 0 } else { before.saturating_sub(window).max(0) };
    let mut select = Stmt::new(&db.read, "select ").sql(COLUMNS).sql(" from clerk_sync.inbox where seq < ").val(before);
    select = select.sql(" and seq >= ").val(floor);
    if let Some(state) = filter.state {
        // A word of ours, and part of the text: the partial indexes are found by it.
        let word = state.as_str();
        select = match state {
            // Found first, by their own index, and then put in order: by the order alone they would be looked for
            // through everything that is done.
            State::Pending => {
                select.sql(&format!(" and seq in (select seq from clerk_sync.inbox where state = '{word}')"))
            }
            State::Done | State::Skipped => select.sql(&format!(" and state = '{word}'")),
            _ => select.sql(&format!(" and state = '{word}' and {PARKED}")),
        };
    }
    if let Some(event_type) = &filter.event_type {
        select = select.sql(" and event_type = ").val(event_type.as_str());
    }
    if let Some(subject) = &filter.subject {
        select = select.sql(" and subject = ").val(subject.as_str());
    }
    let wanted = i64::try_from(limit).unwrap_or(i64::MAX).saturating_add(1);
    let mut rows: Vec<Receipt> = select.sql(" order by seq desc limit ").val(wanted).all_as(&db.read).await?;
    let more = rows.len() > limit;
    rows.truncate(limit);
    let next = match rows.last() {
        Some(last) if more => Some(last.seq),
        // On from the next that there is: what was removed in between is not looked through.
        _ if floor > 1 => newest_below(db, floor).await?.map(|seq| seq + 1),
        _ => None,
    };
    Ok((rows, next))
}

async fn newest_below(db: &Db, seq: i64) -> Result<Option<i64>, DbErr> {
    let rows = Stmt::new(&db.read, "select max(seq) as newest from clerk_sync.inbox where seq < ")
        .val(seq)
        .all(&db.read)
        .await?;
    rows.first().map_or(Ok(None), |row| row.try_get("", "newest"))
}

/// One receipt.
///
/// # Errors
/// What the database says.
pub async fn find(db: &Db, svix_id: &str) -> Result<Option<Receipt>, DbErr> {
    let select =
        Stmt::new(&db.read, "select ").sql(COLUMNS).sql(" from clerk_sync.inbox where svix_id = ").val(svix_id);
    select.one_as(&db.read).await
}

/// One receipt with its body for people to look at: private metadata masked, null where none is stored or can be read;
/// `body_note` says so where it was emptied.
///
/// # Errors
/// What the database says.
pub async fn show(db: &Db, svix_id: &str) -> Result<Option<Object>, DbErr> {
    let Some(receipt) = find(db, svix_id).await? else { return Ok(None) };
    let rows =
        Stmt::new(&db.read, "select body from clerk_sync.inbox where svix_id = ").val(svix_id).all(&db.read).await?;
    let stored: Option<Vec<u8>> = rows.first().map_or(Ok(None), |row| row.try_get("", "body"))?;
    let mut row = receipt.to_json();
    if stored.is_none() && keeps_body(&receipt.event_type) {
        row.insert("body_note".into(), BODY_EMPTIED.into());
    }
    let mut body = stored.map(|body| Value::stored(&String::from_utf8_lossy(&body))).unwrap_or_default();
    mask(&mut body);
    row.insert("body".into(), body);
    Ok(Some(row))
}

impl Receipt {
    /// The columns by their names.
    pub fn to_json(&self) -> Object {
        let time = |time: Option<Time>| time.map(rfc3339);
        let row = json!({
            "seq": self.seq, "svix_id": self.svix_id, "event_type": self.event_type, "subject": self.subject,
            "user_ids": Value::from(self.user_ids.clone()), "instance_id": self.instance_id, "occurred_at": time(self.occurred_at),
            "received_at": rfc3339(self.received_at), "state": self.state, "outcome": self.outcome,
            "reason": self.reason, "attempts": self.attempts, "available_at": rfc3339(self.available_at),
            "awaits": self.awaits, "awaits_too": self.awaits_too,
            "traceparent": self.traceparent, "origin": self.origin, "duration_us": self.duration_us,
            "finished_at": time(self.finished_at),
        });
        row.into_object()
    }
}
