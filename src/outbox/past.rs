//! Reads a part of the change feed again, only what goes to certain topics, page by page.
//!
//! A page looks at a bounded number of rows, whether or not they are wanted, so that nobody who resumes over a long
//! time holds a connection for long.

use sea_orm::{ConnectionTrait, DbErr};

use crate::db::{Cell, Col, Rows, Stmt, Type};

use super::feed::{COLUMNS, Entry, bounds};

/// Rows looked at for one page.
const WINDOW: i64 = 2_000;

/// Rows answered in one page.
pub const PAGE: i64 = 200;

/// Bytes of payload answered in one page, roughly: a page is kept for as long as a slow reader takes to take it.
const BYTES: usize = 256 * 1024;

/// What a page looks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// A topic: a row's own, or one that it is routed to.
    pub topic: String,
    /// A Clerk id that stands in a row's subject, where the topic is named after one. May find too much: the reader
    /// looks again.
    pub subject: Option<String>,
}

/// A part of the past.
#[derive(Debug)]
pub struct Page {
    /// Candidates, in order.
    pub entries: Vec<Entry>,
    /// Every row up to here was looked at.
    pub at: i64,
    /// Rows that belong into this page were trimmed before it was read.
    pub trimmed: bool,
}

const COLS: [Col; 2] = [Col("topic", Type::Text), Col("subject", Type::Text)];

/// The wanted rows after `after` and up to `upto`, or the first of them. Never rows of the topic `internal`.
///
/// # Errors
/// What the database says.
pub async fn page(db: &impl ConnectionTrait, after: i64, upto: i64, wanted: &[Wanted]) -> Result<Page, DbErr> {
    let end = upto.min(after.saturating_add(WINDOW));
    let mut rows = Rows::new(&COLS);
    wanted.iter().for_each(|one| rows.push(vec![Cell::from(one.topic.as_str()), Cell::from(one.subject.clone())]));
    let mut entries: Vec<Entry> = Stmt::new(db, "select ")
        .sql(COLUMNS)
        .sql(" from clerk_sync.outbox o where topic <> 'internal' and seq > ")
        .val(after)
        .sql(" and seq <= ")
        .val(end)
        .sql(" and exists (select 1 from ")
        .rows(rows)
        .sql(" where r.topic = o.topic or ")
        .dialect(
            "o.routing @> to_jsonb(r.topic) or strpos(o.subject, r.subject) > 0",
            "instr(o.subject, r.subject) > 0 or exists (select 1 from json_each(o.routing) t where t.value = r.topic)",
        )
        .sql(") order by seq limit ")
        .val(PAGE)
        .all_as(db)
        .await?;
    // After the page: what is still there now was there then.
    let (oldest, newest) = bounds(db).await?;
    let full = entries.len() as i64 >= PAGE;
    let kept = within(BYTES, entries.iter().map(|entry| entry.payload.len()));
    let at = if kept < entries.len() || full { entries.get(kept - 1).map_or(end, |last| last.seq) } else { end };
    entries.truncate(kept);
    Ok(Page { entries, at, trimmed: oldest > after + 1 || newest < end })
}

/// How many of the weights fit into `budget`: at least one, if there is one.
fn within(budget: usize, weights: impl Iterator<Item = usize>) -> usize {
    let mut sum: usize = 0;
    let fits = weights.take_while(|weight| {
        let first = sum == 0;
        sum = sum.saturating_add((*weight).max(1));
        first || sum <= budget
    });
    fits.count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_holds_what_fits_and_at_least_one_row() {
        let fit = |weights: &[usize]| within(10, weights.iter().copied());
        assert_eq!((fit(&[]), fit(&[50, 1]), fit(&[4, 6, 1]), fit(&[0, 0, 20])), (0, 1, 2, 2));
    }
}
