//! A run's row: from its start on, how far it is; at its end, what it found. Reports hold Clerk's ids and names of
//! fields, never what stands in them.

use std::time::{Duration, Instant};

use entity::sync_runs::Model;
use sea_orm::DbErr;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    clock::{Time, rfc3339},
    db::{Db, Stmt},
    lease,
    sync::raise::announce,
};

use super::{Reconciler, RunError};

/// How long a process that died is waited for before another goes on with its run.
const LEASE: Duration = Duration::from_secs(20);

/// How long rows of ended runs are kept.
const KEPT: chrono::Duration = chrono::Duration::days(90);

/// A run under way.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "the names are the columns'")]
pub struct Run {
    pub id: Uuid,
    pub kind: &'static str,
    pub mode: &'static str,
    pub started_at: Time,
    /// How far an earlier process came; null where this is the beginning.
    pub progress: Value,
}

impl Reconciler {
    /// Begins a run, or goes on with the one of this kind and mode that was left (`resume`). One at a time of a kind.
    pub(super) async fn begin(
        &self,
        kind: &'static str,
        mode: &'static str,
        origin: &str,
        resume: bool,
    ) -> Result<Run, RunError> {
        // A timer that finds somebody at it has nothing to wait for.
        self.lease(kind, origin == "command").await?;
        let now = self.clock.now();
        // Whoever holds the lease is alone: what is still `running` was left.
        if resume && let Some(left) = self.left(kind, mode).await? {
            let progress = left.progress;
            return Ok(Run { id: left.id.0, kind, mode, started_at: left.started_at, progress });
        }
        Stmt::new(&self.db.write, "update clerk_sync.sync_runs set state = 'failed', finished_at = ")
            .val(now)
            .sql(" where state = 'running' and kind = ")
            .val(kind)
            .exec(&self.db.write)
            .await?;
        let id = self.clock.new_id();
        Stmt::new(
            &self.db.write,
            "insert into clerk_sync.sync_runs (id, kind, mode, origin, state, started_at, updated_at, progress) values (",
        )
        .val(id)
        .sql(", ")
        .val(kind)
        .sql(", ")
        .val(mode)
        .sql(", ")
        .val(origin)
        .sql(", 'running', ")
        .val(now)
        .sql(", ")
        .val(now)
        .sql(", ")
        .val(Value::Null)
        .sql(")")
        .exec(&self.db.write)
        .await?;
        Ok(Run { id, kind, mode, started_at: now, progress: Value::Null })
    }

    /// Waits for the lease of a process that died, not for one that lives.
    async fn lease(&self, kind: &'static str, waits: bool) -> Result<(), RunError> {
        let started = Instant::now();
        while !lease::take(&self.db, kind, &self.owner, self.clock.now(), LEASE).await? {
            if !waits || started.elapsed() > LEASE + Duration::from_secs(2) {
                return Err(RunError::Busy(kind));
            }
            tokio::select! {
                () = tokio::time::sleep(Duration::from_millis(500)) => {}
                () = self.shutdown.cancelled() => return Err(RunError::Interrupted),
            }
        }
        Ok(())
    }

    async fn left(&self, kind: &str, mode: &str) -> Result<Option<Model>, DbErr> {
        Stmt::new(&self.db.read, "select * from clerk_sync.sync_runs where state = 'running' and kind = ")
            .val(kind)
            .sql(" and mode = ")
            .val(mode)
            .sql(" order by started_at desc limit 1")
            .one_as(&self.db.read)
            .await
    }

    /// Writes down how far it is, and keeps the lease.
    pub(super) async fn note(&self, run: &Run, progress: Value) -> Result<(), RunError> {
        let now = self.clock.now();
        if !lease::take(&self.db, run.kind, &self.owner, now, LEASE).await? {
            return Err(RunError::Busy(run.kind));
        }
        Stmt::new(&self.db.lazy, "update clerk_sync.sync_runs set updated_at = ")
            .val(now)
            .sql(", progress = ")
            .val(progress)
            .sql(" where id = ")
            .val(run.id)
            .exec(&self.db.lazy)
            .await?;
        Ok(())
    }

    /// Writes down its end and tells the operators' topic. One that was interrupted stays as it is, to be gone on with.
    pub(super) async fn end(&self, run: &Run, done: bool, report: Value) -> Result<(), RunError> {
        let now = self.clock.now();
        let state = if done { "done" } else { "failed" };
        let tx = self.db.begin_commit().await?;
        Stmt::new(&tx, "update clerk_sync.sync_runs set state = ")
            .val(state)
            .sql(", updated_at = ")
            .val(now)
            .sql(", finished_at = ")
            .val(now)
            .sql(", report = ")
            .val(report)
            .sql(" where id = ")
            .val(run.id)
            .exec(&tx)
            .await?;
        let payload = json!({"run": run.id, "kind": run.kind, "mode": run.mode, "state": state});
        Stmt::new(&tx, "delete from clerk_sync.sync_runs where state <> 'running' and started_at < ")
            .val(now - KEPT)
            .exec(&tx)
            .await?;
        announce(&tx, "sync.finished", &run.id.to_string(), payload, &self.clock, now).await?;
        tx.commit().await?;
        self.applier.signals.outbox.wake();
        self.give_up(run.kind).await;
        Ok(())
    }

    /// Lets another process begin at once.
    pub(super) async fn give_up(&self, kind: &str) {
        let _ = lease::release(&self.db, kind, &self.owner).await;
    }
}

/// When the last run of these that came to a good end began; later changes are what is left to look at.
pub(super) async fn last_start(db: &Db) -> Result<Option<Time>, DbErr> {
    let rows = Stmt::new(
        &db.read,
        "select started_at from clerk_sync.sync_runs where kind = 'reconcile' and state = 'done' order by started_at desc limit 1",
    )
    .all(&db.read)
    .await?;
    rows.first().map(|row| row.try_get("", "started_at")).transpose()
}

/// Up to `limit` runs that began before `before`, the latest first; and before when to go on, if there are more.
///
/// # Errors
/// What the database says.
pub async fn page(db: &Db, before: Option<Time>, limit: usize) -> Result<(Vec<Model>, Option<Time>), DbErr> {
    let wanted = i64::try_from(limit).unwrap_or(i64::MAX).saturating_add(1);
    let mut rows: Vec<Model> = Stmt::new(&db.read, "select * from clerk_sync.sync_runs where started_at < ")
        .val(before.unwrap_or_else(far))
        .sql(" order by started_at desc limit ")
        .val(wanted)
        .all_as(&db.read)
        .await?;
    let more = rows.len() > limit;
    rows.truncate(limit);
    let next = rows.last().filter(|_| more).map(|row| row.started_at);
    Ok((rows, next))
}

/// Later than any run, and a time that both databases can hold.
fn far() -> Time {
    crate::clock::from_millis(253_402_300_799_000).unwrap_or(Time::MAX_UTC)
}

/// A run by the names of its columns.
pub fn object(row: &Model) -> Value {
    json!({
        "id": row.id.0, "kind": row.kind, "mode": row.mode, "origin": row.origin, "state": row.state,
        "started_at": rfc3339(row.started_at), "updated_at": rfc3339(row.updated_at),
        "finished_at": row.finished_at.map(rfc3339), "progress": row.progress, "report": row.report,
    })
}
