//! How the relay feeds a message sink. A message that was sent cannot be taken back, and one that was not must not be
//! passed over: so the cursor is moved after each one, before the next is sent.
//!
//! - The cursor stands above a message only once its target has taken it, or it lies with the dead letters.
//! - What was taken is written down however long the database needs; until then nothing else is sent.
//! - What is on its way when the process is asked to end is seen to its end, for a while ([`PATIENCE`]).
//!
//! What is left: a target that took a message and could not say so, a process that was killed between the two, a lease
//! that ran out meanwhile. Then the message comes again, under the same idempotency key `{seq}:{sink}`.

use std::time::{Duration, Instant};

use sea_orm::DbErr;
use tokio_util::sync::CancellationToken;

use crate::{db::Quiet, inbox::retry::backoff};

use super::{
    cursor::{self, Cursor},
    dead,
    feed::{self, Entry},
    relay::{Refused, Relay, Sink, Step},
};

/// How long a message that is on its way may still take when the process is asked to end.
const PATIENCE: Duration = Duration::from_secs(5);

impl Relay {
    /// Sends what there is, up to the head.
    pub(super) async fn step_messages<S: Sink>(
        &self,
        sink: &S,
        event: &'static str,
        shutdown: &CancellationToken,
    ) -> Result<Step, DbErr> {
        let Some(cursor) = self.lease(sink).await? else { return Ok(Step::NotOurs) };
        tokio::select! {
            step = self.send(sink, event, cursor, shutdown) => step,
            () = self.keep_lease(sink.name()) => Ok(Step::NotOurs),
            () = patience(shutdown) => Ok(Step::NotOurs),
        }
    }

    async fn send<S: Sink>(
        &self,
        sink: &S,
        event: &'static str,
        cursor: Cursor,
        shutdown: &CancellationToken,
    ) -> Result<Step, DbErr> {
        let name = sink.name();
        let Cursor { seq: mut at, mut attempts } = cursor;
        loop {
            let page = feed::messages(&self.db.read, at, event, self.config.batch).await?;
            for entry in page.entries.iter().filter(|entry| sink.takes(entry)) {
                if shutdown.is_cancelled() {
                    return Ok(Step::NotOurs);
                }
                let started = Instant::now();
                let one = std::slice::from_ref(entry);
                let refused = match sink.deliver(one).await {
                    Ok(refused) => refused,
                    Err(transient) => return self.rest(name, attempts, &transient).await,
                };
                if !self.settle(name, at, entry, &refused).await {
                    return Ok(Step::NotOurs);
                }
                (at, attempts) = (entry.seq, 0);
                self.count(name, one.iter(), refused.len(), started.elapsed());
            }
            if page.upto > at {
                if !cursor::advance(&self.db, name, &self.owner, at, page.upto, self.clock.now()).await? {
                    return Ok(Step::NotOurs);
                }
                at = page.upto;
            }
            if page.at_head {
                return Ok(if at > cursor.seq { Step::Delivered { more: true } } else { Step::Nothing });
            }
        }
    }

    /// Writes down what became of a message, however long the database takes: to forget it would be to send it again.
    /// Answers false if somebody else has moved the cursor.
    async fn settle(&self, sink: &'static str, from: i64, entry: &Entry, refused: &[Refused]) -> bool {
        let mut failures = 0;
        loop {
            let written = async {
                dead::bury(&self.db, sink, refused, &self.clock).await?;
                cursor::advance_for_good(&self.db, sink, &self.owner, from, entry.seq, self.clock.now()).await
            };
            let error: DbErr = match written.await {
                Ok(moved) => return moved,
                Err(error) => error,
            };
            failures += 1;
            let delay = backoff(failures, self.config.backoff, self.config.backoff_max, fastrand::f64());
            tracing::warn!(sink, seq = entry.seq, error = %Quiet(&error), "a message is sent, and that cannot be written down yet; trying again");
            tokio::time::sleep(delay).await;
        }
    }
}

async fn patience(shutdown: &CancellationToken) {
    shutdown.cancelled().await;
    tokio::time::sleep(PATIENCE).await;
}
