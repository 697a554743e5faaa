//! What operators do to people: each action is planned like an event, under the commit lock, in one transaction of its
//! own, audited and told. A condition that does not hold changes nothing.

use std::time::Duration;

use sea_orm::DbErr;
use uuid::Uuid;

use crate::{
    clerk::decode::{Stored, decode},
    clock::Clock,
    db::{Db, Quiet, Stmt, is_data_error},
    domain::{Change, Event, Outcome, Policy, State, operators::Action, plan},
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
const LEASE: Duration = Duration::from_secs(60);

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

    /// Lets held deletions happen: this person's, or everybody's. Answers whose.
    ///
    /// # Errors
    /// [`OperateError::Condition`] when none is held.
    pub async fn release(&self, clerk_id: Option<&str>) -> Result<Vec<String>, OperateError> {
        let policy = Policy { holds: false, ..self.policy.clone() };
        let mut released = Vec::new();
        loop {
            let claim = Uuid::new_v4().simple().to_string();
            let rows = self.claim(&claim, clerk_id).await?;
            if rows.is_empty() {
                break;
            }
            let events: Vec<Event> =
                rows.into_iter().map(|row| Event { actor: self.name, ..decode(row, None) }).collect();
            let all: Vec<&Event> = events.iter().collect();
            match commit(self.db, &claim, &all, &policy, self.clock).await {
                Ok(_) => {}
                Err(CommitError::Database(error)) => return Err(error.into()),
                Err(CommitError::LeaseLost) => continue,
            }
            released.extend(events.iter().filter_map(|event| event.change.person()).map(str::to_owned));
        }
        released.sort();
        released.dedup();
        if released.is_empty() {
            return Err(OperateError::Condition("no such deletion is held".into()));
        }
        Ok(released)
    }

    /// Takes held deletions like a replica takes due events: a crash gives them back, to be held again.
    async fn claim(&self, claim: &str, clerk_id: Option<&str>) -> Result<Vec<Stored>, DbErr> {
        let until = self.clock.now() + chrono::Duration::from_std(LEASE).unwrap_or(chrono::Duration::minutes(1));
        let mut update = Stmt::new(&self.db.write, "update clerk_sync.inbox set state = 'running', claim = ")
            .val(claim)
            .sql(", available_at = ")
            .val(until)
            .sql(
                " where seq in (select seq from clerk_sync.inbox where state = 'held' and event_type = 'user.deleted'",
            );
        if let Some(clerk_id) = clerk_id {
            update = update.sql(" and subject = ").val(clerk_id);
        }
        update
            .sql(" order by seq limit ")
            .val(CHUNK)
            .dialect(" for update skip locked", "")
            .sql(
                ") returning seq, svix_id, event_type, subject, object_id, body, instance_id, occurred_at, received_at",
            )
            .all_as(&self.db.write)
            .await
    }
}

fn kind(action: &Action) -> &'static str {
    match action {
        Action::Decide { .. } => "conflict.decided",
        Action::Cancel { .. } => "deletion.cancelled",
        Action::Relink { .. } => "user.relinked",
    }
}
