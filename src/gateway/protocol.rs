//! The frames of `clerk-sync.v1`: what clients say, what they are told, and how a connection ends.

use axum::extract::ws::Utf8Bytes;
use serde::{Deserialize, Serialize};

use crate::{
    clock::rfc3339,
    json::{Value, serialize},
    outbox::feed::Entry,
};

use super::{auth::Named, notices::Notice};

/// The name of the subprotocol.
pub const SUBPROTOCOL: &str = "clerk-sync.v1";

/// What a client says. Not `Debug`: it can hold a token.
#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
#[expect(missing_docs, reason = "the names are the frames' and their members'")]
pub enum Said {
    Auth { token: String },
    Subscribe { topics: Vec<String>, after: Option<i64>, epoch: Option<String> },
    Unsubscribe { topics: Vec<String> },
    Ping,
}

impl Said {
    /// Parses the text of a frame; `None` where it is none of the protocol's.
    pub fn parse(text: &str) -> Option<Self> {
        // The derived reader would take `["ping"]` too.
        let is_object = text.trim_start().starts_with('{');
        is_object.then(|| serde_json::from_str(text).ok()).flatten()
    }
}

/// What a client is told. Members leave in the order in which they stand here, `type` first.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub(super) enum Told<'a> {
    Welcome {
        seq: i64,
        epoch: &'a str,
        user: Option<Named<'a>>,
    },
    Subscribed {
        topics: Vec<&'a str>,
    },
    Event {
        seq: i64,
        topic: &'a str,
        event: &'a str,
        subject: &'a str,
        #[serde(serialize_with = "serialize")]
        changed: &'a Value,
        #[serde(serialize_with = "serialize")]
        data: Value,
        at: String,
        correlation_id: Option<&'a str>,
    },
    Notice(Notice),
    Reset {
        topic: &'a str,
        seq: i64,
    },
    Revoked {
        topics: Vec<&'a str>,
        reason: &'static str,
    },
    Error {
        code: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        topic: Option<&'a str>,
    },
    Pong,
}

impl<'a> Told<'a> {
    /// The change that `entry` is, as `topic` gets it; `fields` are those that lists carry of a person.
    pub(super) fn event(entry: &'a Entry, topic: &'a str, fields: &[String]) -> Self {
        Self::Event {
            seq: entry.seq,
            topic,
            event: &entry.event,
            subject: &entry.subject,
            changed: &entry.changed,
            data: entry.data(topic, fields),
            at: rfc3339(entry.occurred_at.unwrap_or(entry.created_at)),
            correlation_id: entry.correlation_id.as_deref(),
        }
    }

    /// Something that a client asked for cannot be had.
    pub(super) fn error(code: &'static str) -> Self {
        Self::Error { code, topic: None }
    }

    /// The text of the frame.
    pub(super) fn text(&self) -> Utf8Bytes {
        // Texts, numbers and JSON values can always be written as JSON.
        serde_json::to_string(self).unwrap_or_default().into()
    }
}

/// Why a connection ends. Every one has a close code and a label in the metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// The client is gone, or closed by itself.
    Gone,
    /// No frame that we know.
    BadMessage,
    /// More frames than anybody needs.
    RateLimited,
    /// No valid token, or none in time; or the person or their session is not welcome any more.
    Unauthenticated,
    /// The person has too many connections already.
    Crowd,
    /// Who it is cannot be said now: the database does not answer, or the keys of tokens are not known.
    NotReady,
    /// Its queue is full, or it takes nothing.
    Slow,
    /// It answers no ping.
    Idle,
    /// This process ends.
    Shutdown,
}

impl End {
    /// Close code and label; `None` where there is nobody to tell.
    pub(super) fn code(self) -> Option<(u16, &'static str)> {
        match self {
            Self::Gone => None,
            Self::BadMessage => Some((4400, "bad_message")),
            Self::RateLimited => Some((4400, "rate_limited")),
            Self::Unauthenticated => Some((4401, "unauthenticated")),
            Self::Crowd => Some((4403, "too_many_connections")),
            Self::NotReady => Some((1001, "not_ready")),
            Self::Slow => Some((4408, "too_slow")),
            Self::Idle => Some((4408, "idle")),
            Self::Shutdown => Some((1001, "going_away")),
        }
    }
}
