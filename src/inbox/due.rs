//! Reading due rows. Rows are read, not claimed: the commit looks again, under the commit lock, which are still `pending`.
//!
//! A page is bounded by rows and by the bytes of their bodies (at least one row is read, however long its body), and
//! continues after the row that the page before ended with, so that rows whose commit is under way are not read again.

use sea_orm::{DbBackend, DbErr, FromQueryResult as _, QueryResult};

use crate::{
    clerk::decode::Stored,
    clock::Time,
    db::{Db, Stmt},
};

/// A due row.
#[derive(Debug, Clone)]
pub struct Due {
    /// The delivery as it was stored.
    pub stored: Stored,
    /// Failures of this event alone, so far.
    pub attempts: i64,
    /// Of a clash that is being refreshed, who blocks it.
    pub awaits: Option<String>,
    /// When it was received, for the end-to-end time.
    pub received_at: Time,
    /// Since when it is due.
    pub available_at: Time,
}

/// Which rows a page may hold.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// At most so many rows.
    pub rows: u32,
    /// At most so many bytes of bodies; a first row that is longer is read all the same.
    pub bytes: usize,
}

/// The place of a row in the order in which rows are read.
pub type Position = (Time, i64);

const COLUMNS: &str = "seq, svix_id, event_type, subject, object_id, body, instance_id, occurred_at, received_at, attempts, \
    awaits, available_at";

/// Reads the rows that are due at `now`, longest due first, from after `after` on.
///
/// # Errors
/// What the database says.
pub async fn read(db: &Db, after: Option<Position>, bounds: Bounds, now: Time) -> Result<Vec<Due>, DbErr> {
    let mut page = begin(db, "available_at, seq", now);
    if let Some((available_at, seq)) = after {
        page = page.sql(" and (available_at, seq) > (").val(available_at).sql(", ").val(seq).sql(")");
    }
    rows(db, page, "available_at, seq", bounds).await
}

/// Reads the rows that are due at `now` and whose seqs lie in a range, ends included, by seq.
///
/// # Errors
/// What the database says.
pub async fn read_range(db: &Db, (first, last): (i64, i64), bounds: Bounds, now: Time) -> Result<Vec<Due>, DbErr> {
    let page = begin(db, "seq", now).sql(" and seq between ").val(first).sql(" and ").val(last);
    rows(db, page, "seq", bounds).await
}

/// The beginning of the statement, with the bytes up to each row. They are summed over a page whose rows are counted
/// already, so that the cost does not grow with the backlog; the length of a body is read without the body.
fn begin(db: &Db, order: &str, now: Time) -> Stmt {
    let window = format!("over (order by {order} rows between unbounded preceding and current row)");
    let sums = format!("row_number() {window} as place, sum(size) {window} as bytes");
    let postgres = format!(
        "select {COLUMNS} from (select *, {sums} from (select {COLUMNS}, coalesce(octet_length(body), 0) as size from clerk_sync.inbox"
    );
    // SQLite would copy every body into the window.
    let sqlite = format!(
        "select {COLUMNS} from clerk_sync.inbox where seq in (select seq from (select seq, {sums} from
            (select seq, available_at, coalesce(length(body), 0) as size from clerk_sync.inbox"
    );
    let text = if db.backend() == DbBackend::Postgres { postgres } else { sqlite };
    Stmt::new(&db.read, "").sql(&text).sql(" where state = 'pending' and available_at <= ").val(now)
}

async fn rows(db: &Db, page: Stmt, order: &str, bounds: Bounds) -> Result<Vec<Due>, DbErr> {
    let rows = page
        .sql(&format!(" order by {order} limit "))
        .val(i64::from(bounds.rows))
        .sql(") due) page where place = 1 or bytes <= ")
        .val(i64::try_from(bounds.bytes).unwrap_or(i64::MAX))
        .dialect("", ")")
        .sql(&format!(" order by {order}"))
        .all(&db.read)
        .await?;
    rows.iter().map(due).collect()
}

fn due(row: &QueryResult) -> Result<Due, DbErr> {
    let stored = Stored::from_query_result(row, "")?;
    Ok(Due {
        stored,
        attempts: row.try_get("", "attempts")?,
        awaits: row.try_get("", "awaits")?,
        received_at: row.try_get("", "received_at")?,
        available_at: row.try_get("", "available_at")?,
    })
}
