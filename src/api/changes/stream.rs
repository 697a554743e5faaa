//! The feed as server-sent events, for as long as the caller reads.
//!
//! - It begins with `event: ready` and `{"seq","epoch"}`: the point from which it goes on, also where none was named (the
//!   present then). Each change is a message of the default kind, `id:` its seq and `data:` its frame. `event: reset` with
//!   `{"seq"}`: rows up to there were trimmed before they could be sent; reload, it goes on from there.
//! - While there is nothing, a comment comes with the point that was reached, every 15 seconds: whoever comes back goes on
//!   from there, however little of the feed was theirs.
//! - It ends with the process, with a person's token, and when a person loses their place here. The feed itself tells of
//!   that; and nothing is sent on a judgement that is older than a second.
//! - Nothing is kept for whoever takes nothing: a few messages, then it waits, then it ends.

use std::{convert::Infallible, time::Duration};

use axum::{
    http::{HeaderName, HeaderValue, header},
    response::{
        IntoResponse, Response,
        sse::{Event, Sse},
    },
};
use futures_util::stream;
use sea_orm::DbErr;
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until, timeout, timeout_at},
};

use crate::{
    access::{Caller, person},
    api::{ApiState, line::Peer, problem::Problem},
    clerk::token::TokenError,
    db::Quiet,
    json::{Value, json, object_text},
};

use super::{
    Point, Start,
    reading::{Reading, Step},
    sight::{Change, Sight},
};

/// So long nothing may come before a sign of life does.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// How old the judgement may be on which something is sent to a person.
const FRESH: Duration = Duration::from_secs(1);

/// Messages that wait for the connection.
const QUEUE: usize = 4;

/// One that is being sent.
struct Stream {
    state: ApiState,
    caller: Caller,
    reading: Reading,
    sender: mpsc::Sender<Event>,
    judged: Instant,
    beat: Instant,
}

/// It has come to its end.
struct Over;

/// Opens one.
///
/// # Errors
/// 503 where there are too many; 422 where it cannot be gone on from that point; 401 where the caller loses their place
/// meanwhile; or what the database says. Afterwards nothing can be told but the end.
pub(super) async fn open(
    state: ApiState,
    caller: Caller,
    point: &Point,
    peer: Option<&Peer>,
) -> Result<Response, Problem> {
    let place = state.streams.place().filter(|_| !state.shutdown.is_cancelled());
    let place = place.ok_or_else(|| Problem::not_ready("No more streams can be opened here now."))?;
    let reading = Reading::begin(&state, Sight::of(&caller), point, Start::Newest).await?;
    let (sender, events) = mpsc::channel(QUEUE);
    let now = Instant::now();
    let mut stream = Stream { state: state.clone(), caller, reading, sender, judged: now, beat: now + HEARTBEAT };
    // Again, now that the feed is followed: what is taken from them after this comes with it.
    if !stream.judge().await? {
        return Err(Problem::unauthenticated());
    }
    let end = stream.end()?;
    if let Some(peer) = peer {
        peer.must_read_within(state.config.gateway.write_timeout);
    }
    state.tasks.spawn(async move {
        stream.run(end).await;
        drop(place);
    });
    let events = stream::unfold(events, |mut events| async move {
        let event = events.recv().await?;
        Some((Ok::<_, Infallible>(event), events))
    });
    let mut response = Sse::new(events).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    // Proxies of a common kind would gather the stream instead of handing it on.
    headers.insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    Ok(response)
}

impl Stream {
    /// Sends until something ends it.
    async fn run(mut self, end: Option<Instant>) {
        let (shutdown, reader) = (self.state.shutdown.clone(), self.sender.clone());
        let expired = async {
            match end {
                Some(end) => sleep_until(end).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = expired => {}
            () = reader.closed() => {}
            _ = self.serve() => {}
        }
    }

    async fn serve(&mut self) -> Result<Infallible, Over> {
        let ready = json!({"seq": self.reading.at(), "epoch": self.state.meta.epoch});
        self.send(named("ready", self.reading.at(), &ready)).await?;
        loop {
            if self.beat <= Instant::now() {
                self.send(Event::default().comment("").id(self.reading.at().to_string())).await?;
            }
            let Ok(step) = timeout_at(self.beat, self.reading.step()).await else { continue };
            match self.told(step)? {
                Step::Seen(changes) => {
                    for change in changes {
                        self.send(message(change)).await?;
                    }
                }
                Step::Lost(upto) => {
                    // What was taken from them in rows that are gone is not known.
                    self.confirm(Duration::ZERO).await?;
                    self.send(named("reset", upto, &json!({"seq": upto}))).await?;
                }
                Step::Barred(last) => {
                    if let Some(change) = last {
                        self.hand_over(message(change)).await?;
                    }
                    return Err(Over);
                }
            }
        }
    }

    async fn send(&mut self, event: Event) -> Result<(), Over> {
        self.confirm(FRESH).await?;
        self.hand_over(event).await
    }

    async fn hand_over(&mut self, event: Event) -> Result<(), Over> {
        let sent = timeout(self.state.config.gateway.write_timeout, self.sender.send(event)).await;
        self.beat = Instant::now() + HEARTBEAT;
        if matches!(sent, Ok(Ok(()))) { Ok(()) } else { Err(Over) }
    }

    /// Goes on only for somebody who was judged welcome within this time, or is now.
    async fn confirm(&mut self, within: Duration) -> Result<(), Over> {
        if self.judged.elapsed() < within {
            return Ok(());
        }
        let judged = self.judge().await;
        if self.told(judged)? { Ok(()) } else { Err(Over) }
    }

    /// Whether the database finds the caller welcome. Services are known by their token.
    async fn judge(&mut self) -> Result<bool, DbErr> {
        let Caller::Person(known) = &self.caller else { return Ok(true) };
        let begun = Instant::now();
        let judged = person::judge(&self.state.db.read, known.session.clone(), self.state.clock.now()).await?;
        if let Ok(person) = &judged {
            self.judged = begun;
            self.reading.judged(person.seen);
        }
        Ok(judged.is_ok())
    }

    /// When the caller's token ends, if it does. One that lives on only by the leeway between clocks has ended.
    fn end(&self) -> Result<Option<Instant>, Problem> {
        let Caller::Person(person) = &self.caller else { return Ok(None) };
        let now = self.state.clock.now();
        let left = (person.session.expires_at - now).to_std().map_err(|_| {
            self.state.access.record(TokenError::Expired.into(), now);
            Problem::unauthenticated()
        })?;
        Ok(Instant::now().checked_add(left))
    }

    /// An error of the database ends it: the caller comes back, and is told of the state of things then.
    fn told<T>(&self, result: Result<T, DbErr>) -> Result<T, Over> {
        result.map_err(|error| {
            tracing::warn!(error = %Quiet(&error), "a stream of changes ends: the database");
            Over
        })
    }
}

fn message(change: Change) -> Event {
    Event::default().id(change.seq.to_string()).data(object_text(&change.frame))
}

fn named(name: &str, at: i64, data: &Value) -> Event {
    Event::default().event(name).id(at.to_string()).data(data.to_string())
}
