//! What a client has of one topic.

use std::collections::VecDeque;

use super::oracle::{Expected, Verdict};

/// Where a topic stands on the present connection.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Mode {
    #[default]
    Off,
    Asked,
    /// Everything after what was seen comes, in order.
    Whole,
    AskedAhead,
    /// What is new comes; what lies between is still lacking.
    Ahead,
    /// It was asked for.
    Rewinding,
}

#[derive(Debug, Default)]
pub(super) struct Topic {
    /// What the client has, in order; it resumes after the last.
    pub(super) seen: Vec<i64>,
    /// What came before what lies between.
    early: VecDeque<i64>,
    pub(super) mode: Mode,
}

impl Topic {
    pub(super) fn last(&self) -> i64 {
        self.seen.last().copied().unwrap_or(0)
    }

    /// What came while something was lacking counts for nothing once that does not come any more.
    pub(super) fn off(&mut self) {
        self.early.clear();
        self.mode = Mode::Off;
    }

    pub(super) fn take(&mut self, seq: i64) -> Result<(), String> {
        match self.mode {
            // A replica that lags behind begins before what another one has shown.
            Mode::Ahead | Mode::Rewinding if seq <= self.last() => {}
            Mode::Ahead | Mode::Rewinding => {
                if self.early.back().is_some_and(|last| *last >= seq) {
                    return Err(format!("{seq} after {:?}, live", self.early.back()));
                }
                self.early.push_back(seq);
            }
            Mode::Whole => {
                while self.early.front().is_some_and(|early| *early < seq) {
                    self.seen.extend(self.early.pop_front());
                }
                if seq <= self.last() || self.early.front() == Some(&seq) {
                    return Err(format!("{seq} again, or after {}", self.last()));
                }
                self.seen.push(seq);
            }
            Mode::Off | Mode::Asked | Mode::AskedAhead => return Err(format!("{seq} of what is not followed")),
        }
        Ok(())
    }

    /// Whether it has everything; takes what came early for seen if that makes it whole.
    pub(super) fn is_complete(&mut self, expected: &Expected) -> Result<bool, String> {
        match expected.compare(&self.seen) {
            Verdict::Wrong(wrong) => Err(wrong),
            Verdict::Complete => Ok(self.early.is_empty()),
            Verdict::Lacking => {
                let all: Vec<i64> = self.seen.iter().chain(&self.early).copied().collect();
                let whole = !self.early.is_empty() && expected.compare(&all) == Verdict::Complete;
                if whole {
                    self.seen = all;
                    self.early.clear();
                }
                Ok(whole)
            }
        }
    }
}
