//! What operators do to people: each action is planned like an event, under the commit lock, in one transaction of its
//! own, audited and told. A condition that does not hold changes nothing.

use std::collections::HashSet;

use sea_orm::DbErr;
use uuid::Uuid;

use crate::{
    clerk::decode::{Stored, decode},
    clock::Clock,
    db::{Db, Quiet, Stmt, is_data_error},
    domain::{Change, Event, Outcome, Policy, State, holds::CANCELLED, operators::Action, plan},
};

use super::{
    commit::{CommitError, commit},
    load, write,
};

/// Who may act on people, and with what.
#[derive(Debug, Clone, Copy)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Operator<'a> {
    pub db: &'a Db,
    pub policy: &'a Policy,
    pub clock: &'a Clock,
    /// For the audit trail: `admin` over HTTP, `cli` from the command line.
    pub name: &'static str,
}

/// Why an action did not happen.
#[derive(Debug, thiserror::Error)]
pub enum OperateError {
    /// Something that it needs does not hold.
    #[error("{0}")]
    Condition(String),
    /// The database says no.
    #[error("the database: {}", Quiet(.0))]
    Database(#[from] DbErr),
}

/// A release takes this many held deletions at a time.
const CHUNK: i64 = 200;

impl Operator<'_> {
    /// Does it, whole or not at all. Parked events that it wakes are due afterwards.
    ///
    /// # Errors
    /// [`OperateError::Condition`] says what does not hold.
    pub async fn act(&self, action: Action) -> Result<(), OperateError> {
        let event = Event {
            seq: 0,
            correlation_id: format!("op_{}", Uuid::new_v4().simple()),
            event_type: kind(&action).to_owned(),
            occurred_at: None,
            actor: self.name,
            change: Change::Operator(action),
            from_api: false,
            refreshed: None,
        };
        let tx = self.db.begin_commit().await?;
        let now = self.clock.now();
        let world = load::world(&tx, &[&event], self.policy, now).await?;
        let planned = plan(world, [&event], self.policy, now, &mut || self.clock.new_id());
        if let Some((_, Outcome { state: State::Rejected, reason, .. })) = planned.outcomes.first() {
            let reason = reason.clone().unwrap_or_default();
            tx.rollback().await?;
            return Err(OperateError::Condition(reason));
        }
        match write::plan(&tx, &planned, self.policy, self.name, self.clock, now).await {
            Err(error) if is_data_error(&error) && !planned.relinked.is_empty() => {
                tx.rollback().await?;
                let reason = "a row of another table refers to the newcomer's row, so it cannot be given up";
                return Err(OperateError::Condition(reason.to_owned()));
            }
            written => written?,
        }
        write::inbox::wake(&tx, &planned.wake, now).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Applies held deletions: this user's or organisation's, or all of them. Returns whose. One that was cancelled is
    /// released by its id: the decision is taken back.
    ///
    /// # Errors
    /// [`OperateError::Condition`] when none is held.
    pub async fn release(&self, clerk_id: Option<&str>) -> Result<Vec<String>, OperateError> {
        let policy = Policy { holds: false, ..self.policy.clone() };
        let (mut released, mut after) = (Vec::new(), 0);
        if let Some(clerk_id) = clerk_id {
            self.take_back(clerk_id).await?;
        }
        loop {
            let rows = self.held(after, clerk_id).await?;
            let Some(last) = rows.last().map(|row| row.seq) else { break };
            let events: Vec<Event> =
                rows.into_iter().map(|row| Event { actor: self.name, ..decode(row, None) }).collect();
            let all: Vec<&Event> = events.iter().collect();
            let done = match commit(self.db, State::Held, &all, &policy, self.clock).await {
                Ok(done) => done,
                Err(CommitError::Transient(error) | CommitError::Data(error)) => return Err(error.into()),
                Err(CommitError::Panic) => {
                    return Err(OperateError::Condition(
                        "applying it fails by a fault of clerk-sync; its log has the place".into(),
                    ));
                }
                Err(CommitError::Changed) => continue,
            };
            // Others were released or cancelled meanwhile.
            let ended: HashSet<i64> = done.outcomes.iter().map(|(seq, _)| *seq).collect();
            let ended = events.iter().filter(|event| ended.contains(&event.seq));
            released.extend(ended.filter_map(|event| event.change.subject()).map(str::to_owned));
            after = last;
        }
        released.sort();
        released.dedup();
        if released.is_empty() {
            return Err(OperateError::Condition("no such deletion is held".into()));
        }
        Ok(released)
    }

    /// Undoes a cancellation: the deletions that it discarded are held again.
    async fn take_back(&self, clerk_id: &str) -> Result<(), DbErr> {
        let tx = self.db.begin_commit().await?;
        let delete = Stmt::new(&tx, "delete from clerk_sync.deletion_decisions where subject = ").val(clerk_id);
        if delete.exec(&tx).await? == 0 {
            return tx.rollback().await;
        }
        Stmt::new(&tx, "update clerk_sync.inbox set state = 'held', outcome = 'held', finished_at = ")
            .val(self.clock.now())
            .sql(" where state = 'discarded' and reason = ")
            .val(CANCELLED)
            .sql(" and subject = ")
            .val(clerk_id)
            .sql(" and event_type in ")
            .sql(write::inbox::HELD_DELETIONS)
            .exec(&tx)
            .await?;
        tx.commit().await
    }

    /// Reads held deletions after `after`, oldest first.
    async fn held(&self, after: i64, clerk_id: Option<&str>) -> Result<Vec<Stored>, DbErr> {
        let mut find = Stmt::new(
            &self.db.write,
            "select seq, svix_id, event_type, subject, object_id, body, instance_id, occurred_at, received_at
                from clerk_sync.inbox where state = 'held' and event_type in ",
        )
        .sql(write::inbox::HELD_DELETIONS)
        .sql(" and seq > ")
        .val(after);
        if let Some(clerk_id) = clerk_id {
            find = find.sql(" and subject = ").val(clerk_id);
        }
        find.sql(" order by seq limit ").val(CHUNK).all_as(&self.db.write).await
    }
}

fn kind(action: &Action) -> &'static str {
    match action {
        Action::Decide { .. } => "conflict.decided",
        Action::Cancel { .. } => "deletion.cancelled",
        Action::Relink { .. } => "user.relinked",
    }
}
