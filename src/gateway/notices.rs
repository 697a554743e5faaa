//! Every text that a notice carries. They hold no value of an event: a reason is made of our own words.

use serde::Serialize;

use crate::outbox::feed::Entry;

/// A line for people, beside the change that it is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Notice {
    /// `success`, `info` or `error`.
    pub(super) level: &'static str,
    /// The line.
    pub(super) text: String,
    /// The event's name.
    pub(super) event: String,
}

/// The notice that subscribers of `topic` get with this row. A resynchronisation (`effects` = `state`) changes
/// nothing that anybody should be told about.
pub(super) fn notice(topic: &str, entry: &Entry) -> Option<Notice> {
    if entry.effects == "state" {
        return None;
    }
    let reason = || entry.payload.get("reason").and_then(|reason| reason.as_str());
    let (level, text) = match (topic, entry.event.as_str()) {
        ("admin", "event.rejected") => ("error", with("An event was rejected", reason())),
        ("admin", "event.dead") => ("error", with("An event failed too often and was put aside", reason())),
        ("admin", "conflict.opened") => {
            ("error", "Two people claim the same verified address; decide who keeps it".into())
        }
        (topic, event) if topic.starts_with("user:") => match event {
            "user.created" => ("success", "The account was created".into()),
            "user.updated" => ("success", "The account was updated".into()),
            "user.deleted" => ("success", "The account was deleted".into()),
            _ => return None,
        },
        _ => return None,
    };
    Some(Notice { level, text, event: entry.event.clone() })
}

fn with(text: &str, reason: Option<&str>) -> String {
    reason.map_or_else(|| text.to_owned(), |reason| format!("{text}: {reason}"))
}
