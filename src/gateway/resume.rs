//! Brings subscriptions from a point in the past up to the present, from the database.
//!
//! Far from the present, pages are sent while live frames of other topics go on. Once near, the client takes its
//! seat at N, live frames wait in its queue, the rest up to N is read and sent, and from then on everything is live.
//! Only so many clients read at a time; a seat is taken only by one whose turn it is, so that its queue waits for
//! one read and not for everybody's.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{
    db::Db,
    inbox::retry::backoff,
    outbox::past::{self, PAGE, Page, Wanted},
};

use super::{
    hub::{Frame, Joined},
    protocol::{End, Told},
    session::Session,
    topics::reached,
};

/// What a session waits for.
pub(super) enum Arrived {
    /// Its turn to read, until this is dropped; `None` when the process ends.
    Turn(Option<OwnedSemaphorePermit>),
    /// What it has read.
    Page(Page),
}

async fn turn(turns: Arc<Semaphore>) -> Arrived {
    Arrived::Turn(turns.acquire_owned().await.ok())
}

/// Reads a page, however long the database takes to answer. Ends its turn.
async fn read(db: Db, after: i64, upto: i64, wanted: Vec<Wanted>, turn: OwnedSemaphorePermit) -> Arrived {
    let mut failures = 0;
    loop {
        match past::page(&db.read, after, upto, &wanted).await {
            Ok(page) => {
                drop(turn);
                return Arrived::Page(page);
            }
            Err(error) => {
                failures += 1;
                tracing::warn!(error = %crate::db::Quiet(&error), "a client cannot be brought up to the present; trying again");
                let (first, most) = (std::time::Duration::from_millis(250), std::time::Duration::from_secs(10));
                tokio::time::sleep(backoff(failures, first, most, fastrand::f64())).await;
            }
        }
    }
}

impl Session {
    /// Asks for a turn to read, if there is something to read and nothing is under way.
    pub(super) fn read_on(&mut self) {
        while self.reading.is_none()
            && let Some(replay) = self.replays.front_mut()
        {
            replay.subscriptions.retain(|id| self.subscriptions.iter().any(|known| known.id == *id));
            let finished = replay.joined.is_some_and(|joined| replay.cursor >= joined);
            if replay.subscriptions.is_empty() || finished {
                self.replays.pop_front();
            } else {
                self.reading = Some(Box::pin(turn(self.gateway.turns.clone())));
            }
        }
    }

    /// Goes on with what was waited for.
    pub(super) async fn arrived(&mut self, arrived: Arrived) -> Result<(), End> {
        match arrived {
            Arrived::Turn(Some(turn)) => self.take_turn(turn),
            Arrived::Turn(None) => return Err(End::Shutdown),
            Arrived::Page(page) => self.send_page(page).await?,
        }
        Ok(())
    }

    fn take_turn(&mut self, turn: OwnedSemaphorePermit) {
        let Some(replay) = self.replays.front_mut() else { return };
        let members =
            self.subscriptions.iter().filter(|known| replay.subscriptions.contains(&known.id)).collect::<Vec<_>>();
        let upto = match replay.joined {
            Some(joined) => joined,
            None => {
                let seats: Vec<_> = members.iter().map(|member| (member.word.clone(), member.id)).collect();
                match self.member.join(&seats, Some((replay.cursor, PAGE))) {
                    Joined::At(at) => {
                        replay.joined = Some(at);
                        at
                    }
                    Joined::Far(at) => at,
                }
            }
        };
        if replay.cursor < upto {
            let wanted = members.iter().map(|member| member.topic.wanted()).collect();
            self.reading = Some(Box::pin(read(self.gateway.db.clone(), replay.cursor, upto, wanted, turn)));
        }
    }

    async fn send_page(&mut self, page: Page) -> Result<(), End> {
        if page.trimmed {
            return self.start_over().await;
        }
        let Some(replay) = self.replays.front_mut() else { return Ok(()) };
        replay.cursor = page.at;
        let members = replay.subscriptions.clone();
        for entry in &page.entries {
            if self.member.client().is_ending() {
                break;
            }
            self.give_up_lost().await?;
            let words = reached(entry);
            let members = self.subscriptions.iter_mut().filter(|known| members.contains(&known.id));
            for member in members.filter(|member| words.iter().any(|word| **word == *member.word)) {
                if !member.take(entry.seq) {
                    continue;
                }
                let frame = Frame::new(entry, &member.word, self.gateway.hub.list_fields());
                self.wire.feed(frame.event).await?;
                if let Some(notice) = frame.notice {
                    self.wire.feed(notice).await?;
                }
            }
        }
        self.wire.flush().await
    }

    /// What the first replay needs is not kept any more: its topics go on from the present.
    async fn start_over(&mut self) -> Result<(), End> {
        let Some(replay) = self.replays.pop_front() else { return Ok(()) };
        for id in replay.subscriptions {
            self.reset(id).await?;
        }
        Ok(())
    }

    /// Lets a subscription begin again at the present, and says so.
    pub(super) async fn reset(&mut self, id: u64) -> Result<(), End> {
        let Some(index) = self.subscriptions.iter().position(|known| known.id == id) else { return Ok(()) };
        self.last_id += 1;
        let word = self.subscriptions[index].word.clone();
        self.member.leave(&word);
        let (Joined::At(seq) | Joined::Far(seq)) = self.member.join(&[(word.clone(), self.last_id)], None);
        self.subscriptions[index].restart(self.last_id, seq);
        self.tell(Told::Reset { topic: &word, seq }).await
    }
}
