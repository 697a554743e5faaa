//! One caller's way along the feed. What is past when it begins is read from the database, a bounded part at a time; what
//! comes after that is followed with the process's own tail, so that whoever waits asks the database nothing.
//!
//! Invariant: every row above the one it begins at is looked at once, in order, or is told of as lost.

use sea_orm::DbErr;
use tokio::time::{Instant, sleep_until};

use crate::{
    api::{ApiState, problem::Problem},
    outbox::{
        feed, past,
        tail::{Follower, Next},
    },
};

use super::{
    Point, Start, refused,
    sight::{Change, Sight},
};

/// A way along the feed.
#[derive(Debug)]
pub(super) struct Reading {
    state: ApiState,
    sight: Sight,
    follower: Follower,
    /// Everything up to here was looked at.
    at: i64,
    /// Rows up to here are read from the database.
    past: i64,
}

/// What a step along it came to.
#[derive(Debug)]
pub(super) enum Step {
    /// Some rows were looked at; these are the caller's.
    Seen(Vec<Change>),
    /// Rows up to this one were trimmed before they were read; it goes on above.
    Lost(i64),
    /// The caller's place here was taken, by the row that they get of it; nothing above it is for them.
    Barred(Option<Change>),
}

impl Reading {
    /// Begins at a point.
    ///
    /// # Errors
    /// 422, where it cannot be gone on from; or what the database says.
    pub(super) async fn begin(state: &ApiState, sight: Sight, point: &Point, start: Start) -> Result<Self, Problem> {
        // First: what is committed after the look at the feed comes with it.
        let follower = state.tail.follow("changes");
        let bounds = feed::bounds(&state.db.read).await?;
        // What the caller is told of the past, and where the present begins, was read from the database.
        state.tail.see(bounds.1).await;
        let at = point.begin(state, bounds, start)?;
        let past = bounds.1.max(follower.at());
        Ok(Self { state: state.clone(), sight, follower, at, past })
    }

    /// Everything up to here was looked at.
    pub(super) fn at(&self) -> i64 {
        self.at
    }

    /// Whether only what is to come is left.
    pub(super) fn is_present(&self) -> bool {
        self.at >= self.past
    }

    /// The caller was judged welcome again, as of this row.
    pub(super) fn judged(&mut self, seq: i64) {
        self.sight.judged(seq);
    }

    /// The next step: a part of the past, or the next row once it comes. Nothing is lost when the future is dropped.
    ///
    /// # Errors
    /// What the database says of the past.
    pub(super) async fn step(&mut self) -> Result<Step, DbErr> {
        if !self.is_present() {
            return self.look_back().await;
        }
        let Some(next) = self.follower.next().await else {
            // The process ends, and with it whoever waits here.
            return std::future::pending().await;
        };
        Ok(match next {
            Next::Lost(upto) if upto > self.at => {
                self.at = upto;
                Step::Lost(upto)
            }
            Next::Row(entry) if entry.seq > self.at => {
                self.at = entry.seq;
                let change = self.sight.change(&entry, &self.state.config.gateway.list_fields);
                match self.sight.is_barred_by(&entry) {
                    true => Step::Barred(change),
                    false => Step::Seen(change.into_iter().collect()),
                }
            }
            // Read from the database already.
            Next::Lost(_) | Next::Row(_) => Step::Seen(Vec::new()),
        })
    }

    async fn look_back(&mut self) -> Result<Step, DbErr> {
        let turn = self.state.streams.turns.acquire().await;
        let page = past::page(&self.state.db.read, self.at, self.past, &self.sight.wanted()).await?;
        drop(turn);
        if page.trimmed {
            self.at = self.past;
            return Ok(Step::Lost(self.past));
        }
        self.at = page.at;
        let fields = &self.state.config.gateway.list_fields;
        Ok(Step::Seen(page.entries.iter().filter_map(|entry| self.sight.change(entry, fields)).collect()))
    }

    /// The next step for somebody who asks a page at a time, and can be told of what is lost only by a refusal.
    ///
    /// # Errors
    /// 422 where rows are lost, 401 where the caller's place is; or what the database says.
    pub(super) async fn look(&mut self) -> Result<Vec<Change>, Problem> {
        match self.step().await? {
            Step::Seen(changes) => Ok(changes),
            Step::Lost(upto) => Err(refused(&self.state, upto, "What follows after is no longer kept.")),
            Step::Barred(_) => Err(Problem::unauthenticated()),
        }
    }

    /// What comes for the caller next, if it comes before `deadline` and before the process ends.
    ///
    /// # Errors
    /// As [`Reading::look`].
    pub(super) async fn wait(&mut self, deadline: Instant) -> Result<Vec<Change>, Problem> {
        let shutdown = self.state.shutdown.clone();
        let comes = async {
            loop {
                let changes = self.look().await?;
                if !changes.is_empty() {
                    return Ok(changes);
                }
            }
        };
        tokio::select! {
            changes = comes => changes,
            () = sleep_until(deadline) => Ok(Vec::new()),
            () = shutdown.cancelled() => Ok(Vec::new()),
        }
    }
}
