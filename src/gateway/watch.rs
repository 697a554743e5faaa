//! What hub and session share of a person's rights. The hub notes what a row of the change feed takes away; the session
//! acts on it, whatever else it is doing.
//!
//! Invariant: a person is watched before the database is asked about them, and an organisation's topic before it is
//! asked about the membership. A row that was committed after the answer is noted; one that is in the answer already
//! takes nothing. Memory is bounded by the topics that are watched.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::time::Instant;

use super::{client::Client, protocol::End, rights::Lost};

/// One person's connection.
#[derive(Debug)]
pub(super) struct Watch {
    clerk_id: String,
    session_id: String,
    client: Arc<Client>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The row as of which the person was last judged welcome; none before that.
    judged: Option<i64>,
    /// The last row that took the person's place before they were judged at all.
    before: i64,
    /// The row that took their place.
    barred: Option<i64>,
    /// Topics that were taken since the session last looked: the last row that did, and why.
    topics: BTreeMap<Arc<str>, (i64, &'static str)>,
}

impl Watch {
    /// Of a person who has not been judged yet.
    pub(super) fn new(client: Arc<Client>, clerk_id: &str, session_id: &str) -> Self {
        let (clerk_id, session_id) = (clerk_id.to_owned(), session_id.to_owned());
        Self { clerk_id, session_id, client, state: Mutex::default() }
    }

    /// Notes what the row `seq` takes from those who are watched under `word`, if it concerns this one.
    pub(super) fn note(&self, seq: i64, lost: Lost<'_>, word: &Arc<str>) {
        if !lost.concerns(&self.clerk_id, &self.session_id) {
            return;
        }
        let mut state = self.lock();
        if !lost.is_place() {
            state.topics.insert(word.clone(), (seq, lost.reason()));
            drop(state);
            return self.client.queue.call();
        }
        match state.judged {
            None => state.before = seq,
            Some(judged) if seq > judged => self.bar(&mut state, seq),
            Some(_) => {}
        }
    }

    /// The database has found the person welcome, as of this row; their token ends at `until`.
    pub(super) fn judged(&self, seq: i64, until: Option<Instant>) {
        self.client.expire(until);
        let mut state = self.lock();
        state.judged = Some(seq);
        if state.before > seq {
            let before = state.before;
            self.bar(&mut state, before);
        }
    }

    /// The row that took the person's place. None above it is for them.
    pub(super) fn barred(&self) -> Option<i64> {
        self.lock().barred
    }

    /// The topics that were taken since this was last asked, with the row and the reason.
    pub(super) fn lost(&self) -> BTreeMap<Arc<str>, (i64, &'static str)> {
        std::mem::take(&mut self.lock().topics)
    }

    fn bar(&self, state: &mut State, seq: i64) {
        state.barred.get_or_insert(seq);
        self.client.end(End::Unauthenticated);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing that can panic leaves it half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watch() -> (Arc<Client>, Watch, Arc<str>) {
        let client = Client::new(1, 4, Default::default());
        let watch = Watch::new(client.clone(), "user_1", "sess_1");
        (client, watch, "user:user_1".into())
    }

    #[test]
    fn only_a_row_after_the_judgement_takes_a_place() {
        let (client, watch, word) = watch();
        watch.note(7, Lost::Person, &word);
        watch.judged(7, None);
        assert_eq!((watch.barred(), client.is_ending()), (None, false));
        watch.note(6, Lost::Session("sess_1"), &word);
        watch.note(8, Lost::Session("sess_2"), &word);
        assert_eq!((watch.barred(), client.is_ending()), (None, false));
        watch.note(9, Lost::Session("sess_1"), &word);
        watch.note(10, Lost::Person, &word);
        assert_eq!((watch.barred(), client.is_ending()), (Some(9), true));
    }

    #[test]
    fn a_row_that_comes_between_the_question_and_the_answer_takes_a_place() {
        let (client, watch, word) = watch();
        watch.note(8, Lost::Person, &word);
        watch.judged(7, None);
        assert_eq!((watch.barred(), client.is_ending()), (Some(8), true));
    }

    #[test]
    fn topics_are_told_once_with_the_last_row_that_took_them() {
        let (client, watch, _) = watch();
        let word: Arc<str> = "org:8".into();
        watch.note(3, Lost::Membership("user_1"), &word);
        watch.note(4, Lost::Membership("user_2"), &word);
        watch.note(5, Lost::Organization, &word);
        assert_eq!(watch.lost().into_values().collect::<Vec<_>>(), [(5, "organization_deleted")]);
        assert!(watch.lost().is_empty() && !client.is_ending());
    }
}
