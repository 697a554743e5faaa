//! Every metric's name stands here, with what it means, its unit and its labels. All are prefixed `clerk_sync_`;
//! durations are seconds. Labels are bounded words, never ids: event types that we do not know are counted as `other`.
//! Every series is there from the start, at zero ([`register`]), so that the first count is seen as a rise.

use std::time::Duration;

use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};

/// Deliveries by type and answer.
pub const WEBHOOKS: &str = "clerk_sync_webhooks_total";
/// Events by type and outcome.
pub const EVENTS: &str = "clerk_sync_events_total";
/// How long a stage takes.
pub const STAGE: &str = "clerk_sync_stage_seconds";
/// From the receipt (`database`) or the commit (everything else) of a change until it is there.
pub const END_TO_END: &str = "clerk_sync_end_to_end_seconds";
/// Rows that somebody or something has yet to deal with.
pub const QUEUE_ROWS: &str = "clerk_sync_queue_rows";
/// How long the most overdue row has been due.
pub const QUEUE_OLDEST: &str = "clerk_sync_queue_oldest_seconds";
/// Changes that a sink has not taken yet.
pub const SINK_LAG: &str = "clerk_sync_sink_lag";
/// Changes handed to a sink, by what it said.
pub const DELIVERIES: &str = "clerk_sync_deliveries_total";
/// Open websocket connections.
pub const WS_CONNECTIONS: &str = "clerk_sync_ws_connections";
/// Websocket connections that we ended.
pub const WS_DROPPED: &str = "clerk_sync_ws_dropped_total";
/// Requests to Clerk's API.
pub const CLERK_REQUESTS: &str = "clerk_sync_clerk_requests_total";
/// Differences that a reconciliation found: each a lost delivery.
pub const DRIFT: &str = "clerk_sync_drift_total";
/// Session tokens that were refused.
pub const TOKEN_REFUSALS: &str = "clerk_sync_token_refusals_total";

/// The types that get a label of their own.
pub const KNOWN_TYPES: [&str; 15] = [
    "user.created",
    "user.updated",
    "user.deleted",
    "user.merged",
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

/// Answers to a delivery whose type was read.
const READ: [&str; 3] = ["accepted", "duplicate", "unavailable"];
/// Answers to one that was refused before.
const UNREAD: [&str; 8] = [
    "missing_headers",
    "invalid_payload",
    "invalid_signature",
    "stale_timestamp",
    "payload_too_large",
    "request_timeout",
    "unsupported_media_type",
    "method_not_allowed",
];
const OUTCOMES: [&str; 14] = [
    "created",
    "updated",
    "unchanged",
    "deleted",
    "stale",
    "tombstoned",
    "ignored",
    "example",
    "rejected",
    "conflict",
    "waiting",
    "held",
    "dead",
    "discarded",
];
const STAGES: [&str; 5] = ["receive", "confirm", "refresh", "commit", "deliver"];
/// The sinks that have a cursor of their own. One that is not in use stays at zero.
pub const SINKS: [&str; 6] =
    ["cache:redis", "search:database", "search:meilisearch", "stream:redis", "alerts:mail", "alerts:chat"];
/// What changes come to without a cursor.
const OTHER_ENDS: [&str; 2] = ["database", "websocket"];
const DELIVERY_OUTCOMES: [&str; 3] = ["delivered", "refused", "failed"];
const WS_REASONS: [&str; 10] = [
    "too_slow",
    "idle",
    "bad_message",
    "rate_limited",
    "unauthenticated",
    "forbidden",
    "too_many_connections",
    "crowded_out",
    "not_ready",
    "going_away",
];
const ENDPOINTS: [&str; 5] = ["users", "organizations", "memberships", "instance", "jwks"];
const STATUSES: [&str; 5] = ["2xx", "4xx", "429", "5xx", "failed"];
/// Why session tokens are refused, as `access` has the reasons.
pub const REFUSALS: [&str; 23] = [
    "opaque",
    "too_long",
    "malformed",
    "algorithm",
    "critical_header",
    "signature",
    "unknown_key",
    "token_class",
    "issuer",
    "authorized_party",
    "no_authorized_party",
    "expired",
    "not_yet_valid",
    "issued_in_future",
    "subject",
    "no_session",
    "pending",
    "actor",
    "not_configured",
    "session_ended",
    "user_blocked",
    "other_session",
    "service_token",
];
const DRIFTS: [&str; 5] = ["missing", "stale", "extra", "conflicting", "buried"];

/// Describes every metric that this process counts, and puts every series of it at zero.
pub fn register() {
    describe_counter!(WEBHOOKS, Unit::Count, "Deliveries by event type and answer.");
    describe_counter!(EVENTS, Unit::Count, "Events by type and what became of them.");
    describe_histogram!(STAGE, Unit::Seconds, "How long a stage of the sync takes.");
    describe_histogram!(END_TO_END, Unit::Seconds, "From a change's receipt or commit until a sink has it.");
    describe_counter!(DELIVERIES, Unit::Count, "Changes handed to a sink, by what it said.");
    describe_gauge!(WS_CONNECTIONS, Unit::Count, "Open websocket connections.");
    describe_counter!(WS_DROPPED, Unit::Count, "Websocket connections ended by this side, by reason.");
    describe_counter!(CLERK_REQUESTS, Unit::Count, "Requests to Clerk's API by endpoint and status.");
    describe_counter!(DRIFT, Unit::Count, "Differences that a reconciliation found, by kind.");
    describe_counter!(TOKEN_REFUSALS, Unit::Count, "Session tokens refused at any door, by reason.");
    for event in KNOWN_TYPES.into_iter().chain(["other"]) {
        READ.into_iter().for_each(|outcome| zero(WEBHOOKS, [("event", event), ("outcome", outcome)]));
        OUTCOMES.into_iter().for_each(|outcome| zero(EVENTS, [("event", event), ("outcome", outcome)]));
    }
    UNREAD.into_iter().for_each(|outcome| zero(WEBHOOKS, [("event", "unknown"), ("outcome", outcome)]));
    for sink in SINKS {
        DELIVERY_OUTCOMES.into_iter().for_each(|outcome| zero(DELIVERIES, [("sink", sink), ("outcome", outcome)]));
    }
    for endpoint in ENDPOINTS {
        STATUSES.into_iter().for_each(|status| zero(CLERK_REQUESTS, [("endpoint", endpoint), ("status", status)]));
    }
    WS_REASONS.into_iter().for_each(|reason| zero(WS_DROPPED, [("reason", reason)]));
    DRIFTS.into_iter().for_each(|kind| zero(DRIFT, [("kind", kind)]));
    REFUSALS.into_iter().for_each(|reason| zero(TOKEN_REFUSALS, [("reason", reason)]));
    gauge!(WS_CONNECTIONS).set(0.0);
    // A histogram that was named is shown, with nothing in it.
    STAGES.into_iter().for_each(|stage| drop(histogram!(STAGE, "stage" => stage)));
    SINKS.into_iter().chain(OTHER_ENDS).for_each(|sink| drop(histogram!(END_TO_END, "sink" => sink)));
}

fn zero<const N: usize>(name: &'static str, labels: [(&'static str, &'static str); N]) {
    counter!(name, labels.as_slice()).increment(0);
}

/// The label of an event type.
pub fn label(event_type: &str) -> &'static str {
    KNOWN_TYPES.into_iter().find(|known| *known == event_type).unwrap_or("other")
}

/// A delivery was answered; `outcome` is `accepted`, `duplicate` or the error's code.
pub fn webhook(event_type: Option<&str>, outcome: &'static str) {
    counter!(WEBHOOKS, "event" => event_type.map_or("unknown", label), "outcome" => outcome).increment(1);
}

/// An event ended; `since` is the time from its receipt.
pub fn event_ended(event_type: &str, outcome: &'static str, since: Duration) {
    counter!(EVENTS, "event" => label(event_type), "outcome" => outcome).increment(1);
    histogram!(END_TO_END, "sink" => "database").record(since.as_secs_f64());
}

/// A stage took this long.
pub fn stage(stage: &'static str, took: Duration) {
    histogram!(STAGE, "stage" => stage).record(took.as_secs_f64());
}

/// A sink was handed changes; `outcome` is `delivered`, `refused` or `failed`.
pub fn delivered(sink: &'static str, outcome: &'static str, changes: u64) {
    counter!(DELIVERIES, "sink" => sink, "outcome" => outcome).increment(changes);
}

/// A change reached a sink; `since` is the time from its commit.
pub fn reached(sink: &'static str, since: Duration) {
    histogram!(END_TO_END, "sink" => sink).record(since.as_secs_f64());
}

/// Websocket connections were opened (positive) or ended (negative).
pub fn ws_connections(change: i32) {
    gauge!(WS_CONNECTIONS).increment(f64::from(change));
}

/// We ended a websocket connection.
pub fn ws_dropped(reason: &'static str) {
    counter!(WS_DROPPED, "reason" => reason).increment(1);
}

/// Clerk's API answered; `status` is `2xx`, `4xx`, `429`, `5xx`, or `failed` where no answer came.
pub fn clerk_request(endpoint: &'static str, status: &'static str) {
    counter!(CLERK_REQUESTS, "endpoint" => endpoint, "status" => status).increment(1);
}

/// A reconciliation found rows that were `missing`, `stale`, `extra`, `conflicting` or `buried`.
pub fn drift(kind: &'static str, rows: u64) {
    counter!(DRIFT, "kind" => kind).increment(rows);
}

/// A session token was refused, for one of [`REFUSALS`].
pub fn token_refused(reason: &'static str) {
    counter!(TOKEN_REFUSALS, "reason" => reason).increment(1);
}
