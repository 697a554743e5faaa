//! Retry with backoff: what a failure makes of a pending row.

use std::time::Duration;

use sea_orm::{ConnectionTrait, DbErr};

use crate::{
    clock::Time,
    db::{Cell, Col, Rows, Stmt, Type},
};

/// Delay before try number `attempt` (from 1): doubles from `first`, at most `max`, less up to a quarter at random
/// so that rows which failed together do not come back together.
pub fn backoff(attempt: u32, first: Duration, max: Duration, random: f64) -> Duration {
    let doubled = first.saturating_mul(1_u32.checked_shl(attempt.saturating_sub(1).min(20)).unwrap_or(u32::MAX));
    doubled.min(max).mul_f64(1.0 - 0.25 * random.clamp(0.0, 1.0))
}

/// Whether putting a row off counts as a failure of its event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attempt {
    /// It failed, alone.
    Counted,
    /// It was not tried.
    NotCounted,
}

const COLS: [Col; 3] = [Col("seq", Type::Int), Col("at", Type::Time), Col("reason", Type::Text)];

/// A row, when it is due again, and why.
pub type Deferred = (i64, Time, &'static str);

/// Sets when pending rows are due again. Rows that have ended meanwhile are left as they are.
///
/// # Errors
/// What the database says; the rows stay due then.
pub async fn defer(connection: &impl ConnectionTrait, deferred: &[Deferred], attempt: Attempt) -> Result<u64, DbErr> {
    let mut rows = Rows::new(&COLS);
    deferred.iter().for_each(|(seq, at, reason)| rows.push(vec![Cell::Int(*seq), Cell::Time(*at), (*reason).into()]));
    Stmt::new(connection, "update clerk_sync.inbox set available_at = r.at, reason = r.reason, attempts = attempts + ")
        .val(i64::from(attempt == Attempt::Counted))
        .sql(" from ")
        .rows(rows)
        .sql(" where inbox.seq = r.seq and inbox.state = 'pending'")
        .exec(connection)
        .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grows_to_its_bound_and_never_past_it() {
        let (first, max) = (Duration::from_secs(1), Duration::from_secs(300));
        assert_eq!(backoff(1, first, max, 0.0), first);
        assert_eq!(backoff(4, first, max, 0.0), Duration::from_secs(8));
        assert_eq!(backoff(60, first, max, 0.0), max);
        assert_eq!(backoff(1, first, max, 1.0), Duration::from_millis(750));
    }
}
