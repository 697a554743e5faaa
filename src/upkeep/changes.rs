//! `retention.outbox`: changes that are older leave the feed, from its beginning on, so that what is kept has no holes
//! and its first row tells from where on the feed can be read (`outbox::feed::bounds`).
//!
//! Kept, however old: what a sink has not got yet, an open dead letter's change and what follows it, and the newest
//! row, from which the next one is numbered: no seq is ever given twice.
//!
//! It does without the commit lock. The lock makes the order of numbers the order of visibility, and a removal gives no
//! number: writers look at the newest row alone, which stays. Of the limits each may only have risen since they were
//! read, but where a rebuild sets a cursor back (it looks whether anything was removed meanwhile) or a new sink begins
//! (it begins at what is kept). Readers see a chunk go as a whole: their statements, or snapshots, have it or have not.

use sea_orm::{DbErr, FromQueryResult};

use crate::{
    clock::Time,
    db::{Db, Stmt},
};

use super::retention::is_due;

const OLDEST: &str = "select created_at as at from clerk_sync.outbox order by seq limit 1";

/// What of the feed's beginning may go, and what may not.
#[derive(FromQueryResult)]
struct Limits {
    first: Option<i64>,
    /// The first of the oldest rows that is not old yet.
    young: Option<i64>,
    /// The last of the oldest rows.
    last: Option<i64>,
    head: Option<i64>,
    sink: Option<String>,
    delivered: Option<i64>,
    letter: Option<i64>,
}

/// Whatever keeps old changes in the feed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Holder {
    /// This sink has not got them yet.
    Sink(String),
    /// The change with this seq was refused for good, and nobody has decided what becomes of it.
    DeadLetter(i64),
}

/// Removes up to `limit` changes from before `before`; answers how many, and what keeps the next of them.
///
/// # Errors
/// What the database says; nothing was removed then.
pub(super) async fn chunk(db: &Db, before: Time, limit: i64) -> Result<(u64, Option<Holder>), DbErr> {
    if !is_due(db, OLDEST, before).await? {
        return Ok((0, None));
    }
    let limits: Option<Limits> =
        Stmt::new(&db.read, "with oldest as (select seq, created_at from clerk_sync.outbox order by seq limit ")
            .val(limit)
            .sql(") select (select min(seq) from oldest) as first, (select min(seq) from oldest where created_at >= ")
            .val(before)
            .sql(
                ") as young, (select max(seq) from oldest) as last, (select max(seq) from clerk_sync.outbox) as head,
            (select sink from clerk_sync.sink_cursors order by seq, sink limit 1) as sink,
            (select min(seq) from clerk_sync.sink_cursors) as delivered,
            (select min(seq) from clerk_sync.dead_letters where state = 'open') as letter",
            )
            .one_as(&db.read)
            .await?;
    let Some((upto, holder)) = limits.and_then(Limits::upto) else { return Ok((0, None)) };
    let Some(upto) = upto else { return Ok((0, holder)) };
    let removed = Stmt::new(&db.lazy, "delete from clerk_sync.outbox where seq <= ").val(upto).exec(&db.lazy).await?;
    Ok((removed, holder))
}

impl Limits {
    /// Everything up to this may go, if anything; and what keeps more of what is old. `None`: nothing is old.
    fn upto(self) -> Option<(Option<i64>, Option<Holder>)> {
        let first = self.first?;
        let old = self.young.map(|young| young - 1).or(self.last)?.min(self.head? - 1);
        if old < first {
            return None;
        }
        let (mut upto, mut holder) = (old, None);
        if let (Some(sink), Some(delivered)) = (self.sink, self.delivered)
            && delivered < upto
        {
            (upto, holder) = (delivered, Some(Holder::Sink(sink)));
        }
        if let Some(letter) = self.letter
            && letter <= upto
        {
            (upto, holder) = (letter - 1, Some(Holder::DeadLetter(letter)));
        }
        Some(((upto >= first).then_some(upto), holder))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of a feed from 1 on, looked at 100 rows at a time; 0: there is none.
    fn upto(young: i64, head: i64, delivered: Option<i64>, letter: i64) -> Option<(Option<i64>, Option<Holder>)> {
        let some = |seq: i64| (seq > 0).then_some(seq);
        let sink = delivered.map(|_| "s".to_owned());
        let (first, last) = (some(head.min(1)), some(head.min(100)));
        Limits { first, young: some(young), last, head: some(head), sink, delivered, letter: some(letter) }.upto()
    }

    #[test]
    fn nothing_goes_that_somebody_needs() {
        let sink = || Some(Holder::Sink("s".into()));
        assert_eq!(upto(0, 0, None, 0), None, "an empty feed");
        assert_eq!(upto(11, 200, None, 0), Some((Some(10), None)), "all that is old");
        assert_eq!(upto(1, 200, Some(0), 0), None, "nothing is old: nothing is kept");
        assert_eq!(upto(0, 200, None, 0), Some((Some(100), None)), "one chunk of it");
        assert_eq!(upto(0, 60, None, 0), Some((Some(59), None)), "not the newest");
        assert_eq!(upto(0, 1, None, 0), None);
        assert_eq!(upto(11, 200, Some(10), 0), Some((Some(10), None)), "up to the cursor");
        assert_eq!(upto(11, 200, Some(9), 0), Some((Some(9), sink())));
        assert_eq!(upto(11, 200, Some(0), 0), Some((None, sink())));
        assert_eq!(upto(11, 200, Some(200), 11), Some((Some(10), None)), "below the letter");
        assert_eq!(upto(11, 200, Some(200), 10), Some((Some(9), Some(Holder::DeadLetter(10)))));
        assert_eq!(upto(11, 200, Some(200), 1), Some((None, Some(Holder::DeadLetter(1)))));
        assert_eq!(upto(11, 200, Some(5), 7), Some((Some(5), sink())), "whichever is lower");
        assert_eq!(upto(11, 200, Some(7), 5), Some((Some(4), Some(Holder::DeadLetter(5)))));
    }
}
