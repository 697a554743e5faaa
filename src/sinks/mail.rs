//! Alerts by mail, to `alerts.mail_to`.
//!
//! A mail's id is made of its idempotency key `{seq}:alerts:mail` and of the database's epoch, since another database
//! counts from 1 again: what is sent twice has one Message-ID, or is one file.

use std::time::Duration;

use super::alert::{self, Alert};
use crate::{
    backends::mailer::{Mail, MailError, Mailer},
    outbox::{
        feed::Entry,
        relay::{Refused, Sink, Transient},
    },
};

/// Sends alerts by mail.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "the names say it")]
pub struct MailSink {
    pub mailer: Mailer,
    pub epoch: String,
}

impl Sink for MailSink {
    fn name(&self) -> &'static str {
        "alerts:mail"
    }

    fn gather(&self) -> Duration {
        alert::GATHER
    }

    fn event(&self) -> Option<&'static str> {
        Some(alert::EVENT)
    }

    fn takes(&self, entry: &Entry) -> bool {
        alert::takes(entry)
    }

    async fn deliver(&self, entries: &[Entry]) -> Result<Vec<Refused>, Transient> {
        let mut refused = Vec::new();
        for entry in entries {
            match self.mailer.send(&self.mail(entry)).await {
                Ok(()) => {}
                Err(MailError::Refused(reason)) => refused.push(Refused::new(entry, reason)),
                Err(error) => return Err(error.to_string().into()),
            }
        }
        Ok(refused)
    }
}

impl MailSink {
    fn mail(&self, entry: &Entry) -> Mail {
        let alert = Alert::of(entry);
        let key = alert::idempotency_key(entry, self.name()).replace(':', ".");
        Mail {
            id: format!("{key}.{}", self.epoch),
            subject: format!("[clerk-sync] {}: {}", alert.level, alert.kind),
            text: alert.body(),
            at: alert.at,
        }
    }
}
