//! Progress of the process's loops: raises an alert for a loop that is stalled, and judges the applier by its queue. As
//! long as events are due, the oldest due one must become another one; where it stays the same for longer than
//! `server.stalled_after`, whichever replica applies makes no progress. Events that an operator parked are not due.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use sea_orm::DbErr;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::{
    clock::{Clock, span},
    db::Db,
    domain::plan::Alert,
    lifecycle::{Heartbeat, Heartbeats},
    meta,
    sync::raise::raise,
    telemetry::service::oldest_due,
    wake::Signals,
};

/// The name of the loop that applies events.
pub const APPLIER: &str = "applier";

/// How long the database may take for the look, and for the alert.
const DATABASE_WITHIN: Duration = Duration::from_secs(10);

/// What the watch works with.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Watch {
    pub db: Db,
    pub signals: Signals,
    pub clock: Clock,
    pub heartbeats: Heartbeats,
    /// Beats when the oldest due event becomes another one; rests while none is due.
    pub progress: Heartbeat,
    /// `server.stalled_after`.
    pub stalled_after: Duration,
    /// `alerts.repeat`.
    pub repeat: Duration,
    /// The epoch that this process started in.
    pub epoch: String,
    /// Cancelled where the database has another one.
    pub renumbered: CancellationToken,
}

impl Watch {
    /// Watches until shutdown.
    pub async fn run(self, shutdown: CancellationToken) {
        let pause = (self.stalled_after / 6).clamp(Duration::from_millis(50), Duration::from_secs(5));
        let (mut oldest, mut known) = (None, BTreeSet::new());
        loop {
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = shutdown.cancelled() => return,
            }
            tokio::select! {
                () = self.turn(&mut oldest, &mut known) => {}
                () = shutdown.cancelled() => return,
            }
        }
    }

    async fn turn(&self, oldest: &mut Option<i64>, known: &mut BTreeSet<Arc<str>>) {
        match timeout(DATABASE_WITHIN, oldest_due(&self.db, self.clock.now())).await {
            Ok(Ok(Some(seq))) if *oldest == Some(seq) => {}
            Ok(Ok(Some(seq))) => {
                *oldest = Some(seq);
                self.progress.beat();
            }
            // Nothing is due, or the database does not answer, which `/readyz` says by itself.
            Ok(Ok(None)) | Ok(Err(_)) | Err(_) => {
                *oldest = None;
                self.progress.rest();
            }
        }
        if let Ok(Ok(epoch)) = timeout(DATABASE_WITHIN, meta::epoch(&self.db)).await
            && epoch != self.epoch
        {
            tracing::error!("the change feed has another epoch than this process started in");
            self.renumbered.cancel();
        }
        let stalled: BTreeSet<Arc<str>> =
            self.heartbeats.turns().into_iter().filter(|turn| turn.stalled).map(|turn| turn.name).collect();
        let new: Vec<Arc<str>> = stalled.difference(known).cloned().collect();
        for name in &new {
            tracing::error!(task = &**name, "a loop makes no progress");
        }
        let told = match new.is_empty() {
            true => Ok(()),
            false => timeout(DATABASE_WITHIN, self.tell(&new)).await.unwrap_or(Err(DbErr::Custom(String::new()))),
        };
        match told {
            Ok(()) => *known = stalled,
            // Tried again with the next look.
            Err(_) => {
                tracing::warn!("the alert about it could not be raised yet");
                known.retain(|name| stalled.contains(name));
            }
        }
    }

    async fn tell(&self, names: &[Arc<str>]) -> Result<(), DbErr> {
        let alerts: Vec<Alert> = names.iter().map(|name| alert(name)).collect();
        let tx = self.db.begin_commit().await?;
        let told = raise(&tx, &alerts, span(self.repeat), &self.clock, self.clock.now()).await?;
        tx.commit().await?;
        if told > 0 {
            self.signals.outbox.wake();
        }
        Ok(())
    }
}

fn alert(name: &str) -> Alert {
    let text = match name {
        APPLIER => {
            "events are due and none of them is applied: see what the log says about batches, and what holds the commit \
             lock; docs/recovery.md (The applier makes no progress) says more"
                .to_owned()
        }
        name => format!("the loop {name} makes no progress: see the log, then restart the process"),
    };
    Alert { kind: "loop.stalled", level: "critical", subject: name.to_owned(), text }
}
