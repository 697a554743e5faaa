//! Every metric's name stands here. All are prefixed `clerk_sync_`; durations are seconds. Labels are bounded:
//! event types that we do not know are counted as `other`.

use std::time::Duration;

use metrics::{counter, gauge, histogram};

/// The types that get a label of their own.
pub const KNOWN_TYPES: [&str; 14] = [
    "user.created",
    "user.updated",
    "user.deleted",
    "organization.created",
    "organization.updated",
    "organization.deleted",
    "organizationMembership.created",
    "organizationMembership.updated",
    "organizationMembership.deleted",
    "session.created",
    "session.ended",
    "session.removed",
    "session.revoked",
    "session.pending",
];

/// The label of an event type.
pub fn label(event_type: &str) -> &'static str {
    KNOWN_TYPES.into_iter().find(|known| *known == event_type).unwrap_or("other")
}

/// A delivery was answered; `outcome` is `accepted`, `duplicate` or the error's code.
pub fn webhook(event_type: Option<&str>, outcome: &'static str) {
    counter!("clerk_sync_webhooks_total", "event" => event_type.map_or("unknown", label), "outcome" => outcome)
        .increment(1);
}

/// An event ended; `since` is the time from its receipt.
pub fn event_ended(event_type: &str, outcome: &'static str, since: Duration) {
    counter!("clerk_sync_events_total", "event" => label(event_type), "outcome" => outcome).increment(1);
    histogram!("clerk_sync_end_to_end_seconds", "sink" => "database").record(since.as_secs_f64());
}

/// A stage took this long.
pub fn stage(stage: &'static str, took: Duration) {
    histogram!("clerk_sync_stage_seconds", "stage" => stage).record(took.as_secs_f64());
}

/// A sink was handed changes; `outcome` is `delivered`, `refused` or `failed`.
pub fn delivered(sink: &'static str, outcome: &'static str, changes: u64) {
    counter!("clerk_sync_deliveries_total", "sink" => sink, "outcome" => outcome).increment(changes);
}

/// A change reached a sink; `since` is the time from its commit.
pub fn reached(sink: &'static str, since: Duration) {
    histogram!("clerk_sync_end_to_end_seconds", "sink" => sink).record(since.as_secs_f64());
}

/// Websocket connections were opened (positive) or ended (negative).
pub fn ws_connections(change: i32) {
    gauge!("clerk_sync_ws_connections").increment(f64::from(change));
}

/// We ended a websocket connection; `reason` is one of a handful of words.
pub fn ws_dropped(reason: &'static str) {
    counter!("clerk_sync_ws_dropped_total", "reason" => reason).increment(1);
}
