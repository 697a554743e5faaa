//! Recovery of the storage under an SQLite file: while it is full or failing, a canary row is written and read back until
//! that succeeds. From then on receipts are accepted again, and an alert tells of the time between.

use std::time::Duration;

use sea_orm::DbErr;
use tokio_util::sync::CancellationToken;

use crate::{
    clock::{Clock, Time, rfc3339, span},
    db::{self, Condition, Db, Quiet},
    domain::plan::Alert,
    inbox::retry::backoff,
    sync::raise::raise,
    wake::Signals,
};

/// Between two canary rows, at first and at most.
const FIRST: Duration = Duration::from_millis(250);
const LONGEST: Duration = Duration::from_secs(2);

/// What it works with.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Recovery {
    pub db: Db,
    pub signals: Signals,
    pub clock: Clock,
    /// `alerts.repeat`.
    pub repeat: Duration,
}

impl Recovery {
    /// Works until shutdown. Never has anything to do on Postgres.
    pub async fn run(self, shutdown: CancellationToken) {
        let work = async {
            let mut untold = None;
            loop {
                let failed = tokio::select! {
                    failed = self.db.storage().failed() => failed,
                    () = tokio::time::sleep(LONGEST), if untold.is_some() => {
                        self.tell(&mut untold).await;
                        continue;
                    }
                };
                let since = self.clock.now();
                tracing::error!(
                    storage = failed.as_str(),
                    "the database cannot be written: deliveries are refused with 503 until a row was written and read back"
                );
                self.recover().await;
                tracing::warn!("the database was written and read back: deliveries are accepted again");
                // Also what was stored before is due; the applier may be resting between two tries.
                self.signals.inbox.wake();
                untold.get_or_insert((failed, since));
                self.tell(&mut untold).await;
            }
        };
        tokio::select! {
            () = work => {}
            () = shutdown.cancelled() => {}
        }
    }

    /// Writes canary rows until the storage is sound. If it is broken, the process ends anyway.
    async fn recover(&self) {
        let mut tries = 0;
        loop {
            tries += 1;
            tokio::time::sleep(backoff(tries, FIRST, LONGEST, fastrand::f64())).await;
            match db::probe(&self.db).await {
                Ok(()) if self.db.storage().is_sound() => return,
                Ok(()) => {}
                Err(error) => tracing::debug!(error = %Quiet(&error), "the canary row cannot be written"),
            }
        }
    }

    /// Raises the alert; keeps it for later where it cannot be written.
    async fn tell(&self, untold: &mut Option<(Condition, Time)>) {
        let Some((condition, since)) = *untold else { return };
        match self.raise(condition, since).await {
            Ok(()) => *untold = None,
            Err(error) => tracing::debug!(error = %Quiet(&error), "the alert cannot be written yet"),
        }
    }

    async fn raise(&self, condition: Condition, since: Time) -> Result<(), DbErr> {
        let now = self.clock.now();
        let what = match condition {
            Condition::Full => "had no space left",
            _ => "reported errors",
        };
        let text = format!(
            "the storage of the database {what} from {} to {}: deliveries were refused with 503 and come again by \
             themselves; see that the volume has room and its disk is sound",
            rfc3339(since),
            rfc3339(now)
        );
        let alert = Alert { kind: "storage.failed", level: "critical", subject: "storage".into(), text };
        let repeat = span(self.repeat);
        let tx = self.db.begin_commit().await?;
        let told = raise(&tx, &[alert], repeat, &self.clock, now).await?;
        tx.commit().await?;
        if told > 0 {
            self.signals.outbox.wake();
        }
        Ok(())
    }
}
