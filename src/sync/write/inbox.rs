//! The inbox rows' own end, and the wake-up of parked ones, in the same transaction as everything else (P2).

use sea_orm::{ConnectionTrait, DbErr};

use crate::{
    clock::Time,
    db::{Cell, Col, Rows, Stmt, Type},
    domain::{Outcome, entry::REASON_PREFIX, plan::Wake},
};

const OUTCOME: [Col; 5] = [
    Col("seq", Type::Int),
    Col("state", Type::Text),
    Col("outcome", Type::Text),
    Col("reason", Type::Text),
    Col("awaits", Type::Text),
];

/// Of these rows, those that are still claimed by `claim` (whatever ends `running` ends the claim); locked until the transaction ends, so that
/// the rescuer cannot take one from under it.
pub(in crate::sync) async fn still_mine(
    tx: &impl ConnectionTrait,
    claim: &str,
    seqs: &[i64],
) -> Result<Vec<i64>, DbErr> {
    let mut rows = Rows::new(&[Col("seq", Type::Int)]);
    seqs.iter().for_each(|seq| rows.push(vec![Cell::Int(*seq)]));
    let found = Stmt::new(tx, "select inbox.seq from inbox join ")
        .rows(rows)
        .sql(" on r.seq = inbox.seq where inbox.claim = ")
        .val(claim)
        .dialect(" for update of inbox", "")
        .all(tx)
        .await?;
    found.iter().map(|row| row.try_get("", "seq")).collect()
}

/// Writes each event's end; answers how many rows it found.
pub(in crate::sync) async fn finish(
    tx: &impl ConnectionTrait,
    claim: &str,
    outcomes: &[(i64, Outcome)],
    now: Time,
    duration_us: i64,
) -> Result<u64, DbErr> {
    let mut rows = Rows::new(&OUTCOME);
    for (seq, outcome) in outcomes {
        rows.push(vec![
            Cell::Int(*seq),
            outcome.state.as_str().into(),
            outcome.outcome.into(),
            outcome.reason.as_deref().into(),
            outcome.awaits.as_deref().into(),
        ]);
    }
    Stmt::new(tx, "update inbox set state = r.state, outcome = r.outcome, reason = r.reason, awaits = r.awaits, awaits_too = null,
            claim = null, finished_at = ")
        .val(now)
        .sql(", duration_us = ")
        .val(duration_us)
        .sql(" from ")
        .rows(rows)
        .sql(" where inbox.seq = r.seq and inbox.claim = ")
        .val(claim)
        .exec(tx)
        .await
}

/// Sets parked rows back to `pending`: after the batch's own outcomes are written, so that its own rows are included.
pub(in crate::sync) async fn wake(tx: &impl ConnectionTrait, wake: &Wake, now: Time) -> Result<u64, DbErr> {
    if wake.clashes.is_empty() && wake.entries.is_empty() {
        return Ok(0);
    }
    Stmt::new(tx, "update inbox set state = 'pending', outcome = null, awaits = null, finished_at = null, available_at = ")
        .val(now)
        .sql(" where seq in (select i.seq from ")
        .rows(Rows::keys(&wake.clashes))
        .sql(" join inbox i on i.awaits = r.k and i.state = 'conflict' union all select i.seq from ")
        .rows(Rows::keys(&wake.clashes))
        .sql(" join inbox i on i.subject = r.k and i.state in ('rejected', 'conflict', 'waiting', 'held') and i.state = 'conflict'
            union all select i.seq from ")
        .rows(Rows::keys(&wake.entries))
        .sql(" join inbox i on i.subject = r.k and i.state in ('rejected', 'conflict', 'waiting', 'held') and i.state = 'rejected'
            and i.reason like ")
        .val(format!("{REASON_PREFIX}%"))
        .sql(")")
        .exec(tx)
        .await
}
