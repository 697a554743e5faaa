//! The inbox rows' own end, and the wake-up of parked ones, in the same transaction as everything else (P2).

use std::collections::{BTreeSet, HashSet};

use sea_orm::{ConnectionTrait, DbErr};

use crate::{
    clock::Time,
    db::{Cell, Col, Db, Rows, Stmt, Type},
    domain::{
        Outcome, State,
        entry::{GONE, REASON_PREFIX},
        holds::CANCELLED,
        plan::Wake,
    },
};

const OUTCOME: [Col; 6] = [
    Col("seq", Type::Int),
    Col("state", Type::Text),
    Col("outcome", Type::Text),
    Col("reason", Type::Text),
    Col("awaits", Type::Text),
    Col("awaits_too", Type::Text),
];

/// Types of events that say or infer a deletion which can be held: a list for `in`.
pub(in crate::sync) const HELD_DELETIONS: &str = "('user.deleted', 'organization.deleted', 'comparison.user_absent')";

/// Of these rows, those that are still in the state in which they were read. They are not locked, which would write every
/// one of them once more: should one change meanwhile, [`finish`] finds one less, and nothing is committed.
pub(in crate::sync) async fn still_in(tx: &impl ConnectionTrait, from: State, seqs: &[i64]) -> Result<Vec<i64>, DbErr> {
    let mut rows = Rows::new(&[Col("seq", Type::Int)]);
    seqs.iter().for_each(|seq| rows.push(vec![Cell::Int(*seq)]));
    let found = Stmt::new(tx, "select inbox.seq from clerk_sync.inbox join ")
        .rows(rows)
        .sql(" on r.seq = inbox.seq where inbox.state = ")
        .val(from.as_str())
        .all(tx)
        .await?;
    found.iter().map(|row| row.try_get("", "seq")).collect()
}

/// Of these subjects, those about which something is still to be applied.
pub(in crate::sync) async fn in_flight(
    tx: &impl ConnectionTrait,
    subjects: &BTreeSet<String>,
) -> Result<HashSet<String>, DbErr> {
    let found = Stmt::new(tx, "select distinct i.subject from ")
        .rows(Rows::keys(subjects))
        .sql(" join clerk_sync.inbox i on i.subject = r.k and i.state = 'pending'")
        .all(tx)
        .await?;
    found.iter().map(|row| row.try_get("", "subject")).collect()
}

/// Writes the end of each event that is still in the state `from`; returns the number of rows found. Waiting ones are looked at again at `deadline`; clashes that
/// are being refreshed have not ended and are due at once.
pub(in crate::sync) async fn finish(
    tx: &impl ConnectionTrait,
    from: State,
    outcomes: &[(i64, Outcome)],
    now: Time,
    deadline: Time,
    duration_us: i64,
) -> Result<u64, DbErr> {
    let mut rows = Rows::new(&OUTCOME);
    for (seq, outcome) in outcomes {
        rows.push(vec![
            Cell::Int(*seq),
            outcome.state.as_str().into(),
            Some(outcome.outcome).filter(|_| outcome.state != State::Pending).into(),
            outcome.reason.as_deref().into(),
            outcome.awaits.as_deref().into(),
            outcome.awaits_too.as_deref().into(),
        ]);
    }
    Stmt::new(tx, "update clerk_sync.inbox set state = r.state, outcome = r.outcome, reason = r.reason, awaits = r.awaits, awaits_too = r.awaits_too,
            available_at = case when r.state = 'waiting' then ")
        .val(deadline)
        .sql(" when r.state = 'pending' then ")
        .val(now)
        .sql(" else available_at end, finished_at = case when r.state <> 'pending' then ")
        .val(now)
        .sql(" end, duration_us = ")
        .val(duration_us)
        .sql(" from ")
        .rows(rows)
        .sql(" where inbox.seq = r.seq and inbox.state = ")
        .val(from.as_str())
        .exec(tx)
        .await
}

/// Empties bodies that are not to be kept.
pub(in crate::sync) async fn forget(tx: &impl ConnectionTrait, seqs: &[i64]) -> Result<(), DbErr> {
    if seqs.is_empty() {
        return Ok(());
    }
    let mut rows = Rows::new(&[Col("seq", Type::Int)]);
    seqs.iter().for_each(|seq| rows.push(vec![Cell::Int(*seq)]));
    let update = Stmt::new(tx, "update clerk_sync.inbox set body = null where seq in (select seq from ").rows(rows);
    update.sql(")").exec(tx).await.map(drop)
}

/// How many waiting memberships one transaction wakes. An organisation that arrives may be awaited by many thousands.
const CHUNK: i64 = 5_000;

/// Sets parked rows back to `pending`: after the batch's own outcomes are written, so that its own rows are included.
/// Answers how many.
pub(in crate::sync) async fn wake(tx: &impl ConnectionTrait, wake: &Wake, now: Time) -> Result<u64, DbErr> {
    if !wake.cancelled.is_empty() {
        Stmt::new(tx, "update clerk_sync.inbox set state = 'discarded', outcome = 'discarded', reason = ")
            .val(CANCELLED)
            .sql(", finished_at = ")
            .val(now)
            .sql(" where event_type in ")
            .sql(HELD_DELETIONS)
            .sql(" and state = 'held' and subject in (select k from ")
            .rows(Rows::keys(&wake.cancelled))
            .sql(")")
            .exec(tx)
            .await?;
    }
    let mut rows = 0;
    if !(wake.clashes.is_empty() && wake.entries.is_empty() && wake.held.is_empty()) {
        rows += Stmt::new(tx, PENDING)
            .val(now)
            .sql(" where seq in (select i.seq from ")
            .rows(Rows::keys(&wake.clashes))
            .sql(" join clerk_sync.inbox i on i.awaits = r.k and i.state = 'conflict' union all select i.seq from ")
            .rows(Rows::keys(&wake.clashes))
            .sql(PARKED)
            .sql(" and i.state = 'conflict' union all select i.seq from ")
            .rows(Rows::keys(&wake.held))
            .sql(PARKED)
            .sql(" and i.state = 'held' union all select i.seq from ")
            .rows(Rows::keys(&wake.entries))
            .sql(PARKED)
            .sql(" and i.state = 'rejected' and (i.reason like ")
            .val(format!("{REASON_PREFIX}%"))
            .sql(" or i.reason = ")
            .val(GONE)
            .sql("))")
            .exec(tx)
            .await?;
    }
    if wake.parents.is_empty() {
        return Ok(rows);
    }
    let waiting = wake_waiting(tx, Rows::keys(&wake.parents), now).await?;
    if waiting >= CHUNK.unsigned_abs() {
        // More may wait than were woken: written down, and woken by and by. A parent that goes is news to all of them.
        Stmt::new(tx, "insert into clerk_sync.wakes (parent, since) select k, ")
            .val(now)
            .sql(" from ")
            .rows(Rows::keys(&wake.parents))
            .sql(" where true on conflict (parent) do update set woken_to = 0")
            .exec(tx)
            .await?;
    }
    Ok(rows + waiting)
}

const PENDING: &str = "update clerk_sync.inbox set state = 'pending', outcome = null, awaits = null, awaits_too = null,
    finished_at = null, available_at = ";
/// Written so that the partial index over parked rows answers it.
const PARKED: &str =
    " join clerk_sync.inbox i on i.subject = r.k and i.state in ('rejected', 'conflict', 'waiting', 'held')";

async fn wake_waiting(tx: &impl ConnectionTrait, parents: Rows, now: Time) -> Result<u64, DbErr> {
    Stmt::new(tx, PENDING)
        .val(now)
        .sql(" where seq in (select seq from (select i.seq from ")
        .rows(parents.clone())
        .sql(" join clerk_sync.inbox i on i.awaits = r.k and i.state in ('waiting', 'rejected') union select i.seq from ")
        .rows(parents)
        .sql(" join clerk_sync.inbox i on i.awaits_too = r.k and i.state in ('waiting', 'rejected') limit ")
        .val(CHUNK)
        .sql(") w)")
        .exec(tx)
        .await
}

/// Wakes some of those who wait for parents that more waited for than one transaction wakes. Answers how many.
///
/// In the order of their numbers, each once: one that goes on waiting, for its other parent, must not be woken without end.
///
/// # Errors
/// What the database says.
pub(in crate::sync) async fn wake_more(db: &Db, now: Time) -> Result<u64, DbErr> {
    if Stmt::new(&db.read, "select 1 from clerk_sync.wakes limit 1").all(&db.read).await?.is_empty() {
        return Ok(0);
    }
    // Under the commit lock: no batch parks or wakes the same rows meanwhile.
    let tx = db.begin_commit().await?;
    let found: Option<entity::wakes::Model> =
        Stmt::new(&tx, "select * from clerk_sync.wakes order by since, parent limit 1").one_as(&tx).await?;
    let Some(found) = found else { return Ok(0) };
    let (parent, after) = (found.parent.as_str(), found.woken_to);
    let woken = Stmt::new(&tx, PENDING)
        .val(now)
        .sql(" where seq in (select seq from (select seq from clerk_sync.inbox where state in ('waiting', 'rejected') and awaits = ")
        .val(parent)
        .sql(" and seq > ")
        .val(after)
        .sql(" union select seq from clerk_sync.inbox where state in ('waiting', 'rejected') and awaits_too = ")
        .val(parent)
        .sql(" and seq > ")
        .val(after)
        .sql(" order by seq limit ")
        .val(CHUNK)
        .sql(") w) returning seq")
        .all(&tx)
        .await?;
    let seqs = woken.iter().map(|row| row.try_get::<i64>("", "seq")).collect::<Result<Vec<_>, _>>()?;
    match seqs.iter().max() {
        Some(last) if seqs.len() as u64 >= CHUNK.unsigned_abs() => {
            let note = Stmt::new(&tx, "update clerk_sync.wakes set woken_to = ")
                .val(*last)
                .sql(" where parent = ")
                .val(parent);
            note.exec(&tx).await?;
        }
        _ => {
            Stmt::new(&tx, "delete from clerk_sync.wakes where parent = ").val(parent).exec(&tx).await?;
        }
    }
    tx.commit().await?;
    Ok(seqs.len() as u64)
}
