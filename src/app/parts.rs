//! What a process is put together from: each part takes of the connected process what it needs, and no more.

use tokio_util::sync::CancellationToken;

use super::App;
use crate::{
    config,
    domain::Policy,
    erasure::Eraser,
    outbox::relay::Relay,
    reconcile::{Reconciler, ensure::Ensurer},
    sync::{confirm::Confirm, objects::Applier, refresh::Refresher, worker::Worker},
    upkeep::{
        Upkeep, conflicts,
        erase::Erasing,
        retention::{Pace, Retention},
        schedule::Schedule,
        search_index::SearchIndex,
        storage::Recovery,
    },
};

impl App {
    /// The worker of this process's sync, for [`Worker::run`] or [`Worker::drain`].
    pub fn worker(&self) -> Worker {
        Worker {
            db: self.db.clone(),
            signals: self.signals.clone(),
            policy: self.refreshing(),
            clock: self.clock.clone(),
            config: self.config.sync.clone(),
            instance: self.instance.clone(),
            confirm: self.confirm(),
            refresh: self.api.clone().map(|api| Refresher::new(api, self.instance.clone(), self.applier())),
            admissions: self.admissions.clone(),
        }
    }

    /// What asks Clerk about new people, where it can be asked and is to be.
    fn confirm(&self) -> Option<Confirm> {
        let required = match self.config.clerk.confirm {
            config::Confirm::Off => return None,
            config::Confirm::BestEffort => false,
            config::Confirm::Required => true,
        };
        Some(Confirm::new(self.api.clone()?, self.instance.clone(), required, self.db.clone(), self.clock.clone()))
    }

    /// What takes objects of Clerk's API into the plan.
    pub fn applier(&self) -> Applier {
        Applier {
            db: self.db.clone(),
            policy: self.refreshing(),
            clock: self.clock.clone(),
            signals: self.signals.clone(),
            admissions: self.admissions.clone(),
        }
    }

    /// The policy of what Clerk can be asked beside: clashes are refreshed first where there is a secret key, whatever
    /// `clerk.confirm` says, which is about existence.
    fn refreshing(&self) -> Policy {
        Policy { refresh_clashes: self.api.is_some(), ..self.policy.clone() }
    }

    /// What compares us with Clerk, where it can be asked.
    pub fn reconciler(&self, shutdown: CancellationToken) -> Option<Reconciler> {
        Some(Reconciler {
            api: self.api.clone()?,
            instance: self.instance.clone(),
            db: self.db.clone(),
            clock: self.clock.clone(),
            applier: self.applier(),
            worker: self.worker(),
            config: self.config.reconcile.clone(),
            repeat: self.config.alerts.repeat,
            owner: uuid::Uuid::new_v4().simple().to_string(),
            shutdown,
        })
    }

    /// What brings one person in.
    pub fn ensurer(&self) -> Ensurer {
        Ensurer::new(self.api.clone(), self.instance.clone(), self.applier())
    }

    /// What erases people.
    pub fn eraser(&self) -> Eraser {
        let mail_folder = self.config.smtp.url.is_empty().then(|| self.config.smtp.folder.clone().into());
        Eraser { db: self.db.clone(), sinks: self.sinks.clone(), clock: self.clock.clone(), mail_folder }
    }

    /// What feeds the shared sinks of this process.
    pub fn relay(&self) -> Relay {
        Relay {
            db: self.db.clone(),
            signals: self.signals.clone(),
            clock: self.clock.clone(),
            config: self.config.relay.clone(),
            owner: uuid::Uuid::new_v4().simple().to_string(),
        }
    }

    /// What waits for a full or failing disk to recover.
    pub fn recovery(&self) -> Recovery {
        let repeat = self.config.alerts.repeat;
        Recovery { db: self.db.clone(), signals: self.signals.clone(), clock: self.clock.clone(), repeat }
    }

    /// The timers of this process.
    pub fn upkeep(&self, shutdown: &CancellationToken) -> Upkeep {
        let retention = Retention {
            db: self.db.clone(),
            clock: self.clock.clone(),
            config: self.config.retention.clone(),
            pace: Pace::of(&self.db),
            owner: uuid::Uuid::new_v4().simple().to_string(),
        };
        Upkeep {
            db: self.db.clone(),
            signals: self.signals.clone(),
            clock: self.clock.clone(),
            config: self.config.upkeep.clone(),
            retention,
            erasing: Erasing {
                eraser: self.eraser(),
                after: self.config.deletion.erase_after,
                owner: uuid::Uuid::new_v4().simple().to_string(),
            },
            search_index: SearchIndex {
                sink: self.sinks.search.clone(),
                clock: self.clock.clone(),
                owner: uuid::Uuid::new_v4().simple().to_string(),
            },
            conflicts: conflicts::Rules { grace: self.config.conflicts.grace, repeat: self.config.alerts.repeat },
            schedule: self
                .reconciler(shutdown.clone())
                .map(|with| Schedule { with, silence: self.config.silence.after }),
            deadline: self.config.waiting.deadline,
        }
    }
}
