//! What mail and chat send: alerts, in words for people.

use std::time::Duration;

use crate::{
    clock::{Time, rfc3339},
    outbox::feed::Entry,
};

/// The event that says so.
pub(super) const EVENT: &str = "alert.raised";

/// Told on the websocket at once. Who is not there to see it hears of it as `conflict.open`, if it is still open then.
const AT_ONCE: &str = "conflict.email";

/// Most of the change feed is not about alerts: it is passed over in steps as long as this.
pub(super) const GATHER: Duration = Duration::from_secs(1);

/// An alert as a row of the change feed tells it.
pub(super) struct Alert<'a> {
    pub(super) level: &'a str,
    pub(super) kind: &'a str,
    text: &'a str,
    key: &'a str,
    subject: &'a str,
    pub(super) at: Time,
}

/// Whether a row is for people who do not watch.
pub(super) fn takes(entry: &Entry) -> bool {
    entry.payload["kind"] != AT_ONCE
}

/// Unlike any other message's, and the same whenever this one is sent.
pub(super) fn idempotency_key(entry: &Entry, sink: &str) -> String {
    format!("{}:{sink}", entry.seq)
}

impl<'a> Alert<'a> {
    pub(super) fn of(entry: &'a Entry) -> Self {
        let word = |name: &str| entry.payload.get(name).and_then(|value| value.as_str()).unwrap_or("unknown");
        Self {
            level: word("level"),
            kind: word("kind"),
            text: word("text"),
            key: word("key"),
            subject: &entry.subject,
            at: entry.occurred_at.unwrap_or(entry.created_at),
        }
    }

    /// Everything but the title.
    pub(super) fn body(&self) -> String {
        let Self { text, key, subject, at, .. } = self;
        let (at, next) = (rfc3339(*at), self.next());
        format!("{text}\n\nsubject: {subject}\nalert:   {key}\ntime:    {at}\n\nNext: {next}; see docs/debugging.md.\n")
    }

    /// What to run.
    fn next(&self) -> String {
        match self.kind.split('.').next() {
            Some("conflict") => "clerk-sync conflicts list".to_owned(),
            Some("deletion") => "clerk-sync deletions list".to_owned(),
            Some("event") if self.kind == "event.dead" => "clerk-sync inbox list --state dead".to_owned(),
            Some("event") => "clerk-sync inbox list --state pending".to_owned(),
            _ => format!("clerk-sync inbox list --subject {}", self.subject),
        }
    }
}
