//! What a failure makes of a row: another try after a growing delay, or `dead` once it has failed too often.

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

const COLS: [Col; 3] = [Col("seq", Type::Int), Col("at", Type::Time), Col("reason", Type::Text)];

/// A claimed row, when it is due again, and why.
pub type Due = (i64, Time, &'static str);

/// Puts claimed rows back, due at the given times. `failed` counts it as an attempt.
///
/// # Errors
/// What the database says; the leases run out then.
pub async fn put_back(connection: &impl ConnectionTrait, claim: &str, due: &[Due], failed: bool) -> Result<u64, DbErr> {
    let mut rows = Rows::new(&COLS);
    due.iter().for_each(|(seq, at, reason)| rows.push(vec![Cell::Int(*seq), Cell::Time(*at), (*reason).into()]));
    Stmt::new(
        connection,
        "update clerk_sync.inbox set state = 'pending', claim = null, available_at = r.at, reason = r.reason, attempts = attempts + ",
    )
    .val(i64::from(failed))
    .sql(" from ")
    .rows(rows)
    .sql(" where inbox.seq = r.seq and inbox.state = 'running' and inbox.claim = ")
    .val(claim)
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
