//! What a client follows and has been sent. Pure: no socket, no clock, no database.
//!
//! Invariant: on one connection a row is sent at most once a topic. A client that subscribes again further back gets
//! the rows that it has not been sent, in order, and then what comes.

use std::sync::Arc;

use super::{rights::Grant, topics::Topic};

/// So many disjoint parts of the past may have been sent; a client that makes more gets some of them again.
const MOST_SPANS: usize = 16;

/// One topic of one client.
#[derive(Debug)]
pub(super) struct Subscription {
    /// Changes whenever what is under way for it must not be sent any more.
    pub(super) id: u64,
    pub(super) topic: Topic,
    pub(super) word: Arc<str>,
    /// Another name of the same person or organisation.
    pub(super) also: Option<Topic>,
    /// The row as of which the client may follow it: only a later one takes it away.
    pub(super) judged: i64,
    /// Rows up to here are never sent.
    floor: i64,
    /// Rows above `from` and up to `sent` have been sent.
    from: i64,
    sent: i64,
    /// Other parts that have been sent, above `sent` when they were noted: (after, up to).
    spans: Vec<(i64, i64)>,
}

impl Subscription {
    /// One that gets the rows above `from`.
    pub(super) fn new(id: u64, grant: Grant, from: i64) -> Self {
        let Grant { topic, also, floor, judged } = grant;
        let (word, from) = (topic.word().into(), from.max(floor));
        Self { id, topic, word, also, judged, floor, from, sent: from, spans: Vec::new() }
    }

    /// Whether the row is to be sent now; if so it counts as sent.
    pub(super) fn take(&mut self, seq: i64) -> bool {
        if seq <= self.sent {
            return false;
        }
        self.sent = seq;
        self.spans.retain(|(_, upto)| *upto >= seq);
        !self.spans.iter().any(|(after, upto)| *after < seq && seq <= *upto)
    }

    /// Whether rows above `after` have been sent or will be.
    pub(super) fn covers(&self, after: i64) -> bool {
        after.max(self.floor) >= self.from
    }

    /// Whether the client lacks rows up to `upto`, if there were any.
    pub(super) fn misses(&self, upto: i64) -> bool {
        self.sent < upto
    }

    /// The client has everything up to `after`.
    pub(super) fn has(&mut self, after: i64) {
        self.sent = self.sent.max(after);
    }

    /// Begins again at `after`, leaving out what has been sent.
    pub(super) fn rewind(&mut self, id: u64, after: i64) {
        self.id = id;
        if self.spans.len() >= MOST_SPANS {
            self.spans.clear();
        }
        self.spans.push((self.from, self.sent));
        let after = after.max(self.floor);
        (self.from, self.sent) = (after, after);
    }

    /// Begins again at `at`, as if nothing had been sent.
    pub(super) fn restart(&mut self, id: u64, at: i64) {
        self.id = id;
        let at = at.max(self.floor);
        (self.from, self.sent) = (at, at);
        self.spans.clear();
    }

    /// Whether a client that says `topic` means this.
    pub(super) fn is(&self, topic: &Topic) -> bool {
        self.topic == *topic || self.also.as_ref() == Some(topic)
    }

    /// Whether the word is one of its names.
    pub(super) fn is_named(&self, word: &str) -> bool {
        *self.word == *word || self.also.as_ref().is_some_and(|also| also.word() == word)
    }
}

/// Subscriptions that are being brought up to the present, from one point on.
#[derive(Debug)]
pub(super) struct Replay {
    pub(super) subscriptions: Vec<u64>,
    /// Every row up to here was looked at.
    pub(super) cursor: i64,
    /// Rows above this come live. Until the rows up to here are sent, live ones wait.
    pub(super) joined: Option<i64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn users(floor: i64, from: i64) -> Subscription {
        Subscription::new(1, Grant { topic: Topic::Users, also: None, floor, judged: 0 }, from)
    }

    fn sends(subscription: &mut Subscription, seqs: std::ops::RangeInclusive<i64>) -> Vec<i64> {
        seqs.filter(|seq| subscription.take(*seq)).collect()
    }

    #[test]
    fn a_row_is_sent_once() {
        let mut users = users(0, 10);
        assert_eq!(sends(&mut users, 8..=12), [11, 12]);
        assert_eq!(sends(&mut users, 11..=13), [13]);
    }

    #[test]
    fn going_back_sends_only_what_was_not_sent() {
        let mut users = users(0, 10);
        assert_eq!(sends(&mut users, 11..=13), [11, 12, 13]);
        assert!(users.covers(10) && users.covers(12) && !users.covers(9));
        users.rewind(2, 5);
        assert_eq!(sends(&mut users, 1..=7), [6, 7]);
        users.rewind(3, 2);
        assert_eq!(sends(&mut users, 1..=16), [3, 4, 5, 8, 9, 10, 14, 15, 16]);
    }

    #[test]
    fn what_a_client_says_it_has_is_not_sent() {
        let mut users = users(0, 10);
        users.has(12);
        assert!(users.misses(13) && !users.misses(12));
        assert_eq!(sends(&mut users, 11..=14), [13, 14]);
    }

    #[test]
    fn nothing_from_before_the_floor_is_sent_wherever_it_begins() {
        let mut users = users(5, 2);
        assert_eq!(sends(&mut users, 1..=7), [6, 7]);
        assert!(users.covers(0));
        users.restart(2, 1);
        assert_eq!(sends(&mut users, 1..=7), [6, 7]);
        users.restart(3, 20);
        users.rewind(4, 1);
        assert_eq!(sends(&mut users, 1..=8), [6, 7, 8]);
    }
}
