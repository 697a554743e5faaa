//! One client from its first frame to its last: authentication ([`super::enter`]), then one loop over what it says,
//! what comes live and what it has missed.

use std::{
    future::poll_fn,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use axum::extract::ws::{Message, Utf8Bytes, WebSocket};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};

use crate::{access::Refusal, telemetry::metrics};

use super::{
    Gateway, Place,
    auth::{self, Claim, Identity},
    client::{Client, Live, Member, What},
    enter::enter,
    others::Others,
    protocol::{End, Said, Told},
    rate::Rate,
    resume::Arrived,
    subscription::{Replay, Subscription},
    wire::Wire,
};

/// Frames that share one write.
const BATCH: usize = 64;

/// Writes in a row before anything else is looked at, however much there is to write.
const STRETCH: u32 = 8;

/// A client that is authenticated.
pub(super) struct Session {
    pub(super) gateway: Arc<Gateway>,
    pub(super) identity: Identity,
    pub(super) member: Member,
    pub(super) wire: Wire,
    pub(super) subscriptions: Vec<Subscription>,
    pub(super) last_id: u64,
    pub(super) replays: std::collections::VecDeque<Replay>,
    /// The read from the database that is under way, if one is.
    pub(super) reading: Option<Pin<Box<dyn Future<Output = Arrived> + Send>>>,
    pub(super) batch: Vec<Live>,
    rate: Rate,
    heard: Instant,
}

enum Step {
    Ended(End),
    Said(Result<Message, End>),
    /// There is something to write, or to give up.
    Live,
    Arrived(Arrived),
    Tick,
}

/// Serves a client until it ends, and tells it why. `place` is kept until then.
pub(super) async fn run(gateway: Arc<Gateway>, socket: WebSocket, place: Place) {
    let client = Client::new(place.number, gateway.config.queue, gateway.hub.round().clone());
    let config = &gateway.config;
    let wire = Wire::new(socket, client.clone(), config.write_timeout, gateway.shutdown.clone());
    let rate = Rate::new(config.max_rate, config.max_burst, Instant::now());
    let member = Member::new(gateway.hub.clone(), client);
    let Some((identity, wire, rate, member)) = enter(&gateway, place.number, wire, rate, member).await else { return };
    let mut session = Session {
        gateway,
        identity,
        member,
        wire,
        subscriptions: Vec::new(),
        last_id: 0,
        replays: Default::default(),
        reading: None,
        batch: Vec::new(),
        rate,
        heard: Instant::now(),
    };
    let end = session.live().await;
    let Session { member, wire, .. } = session;
    // Its seats first: nothing more is queued for somebody who is leaving.
    drop(member);
    wire.close(end).await;
    drop(place);
}

pub(super) fn parse(text: &Utf8Bytes) -> Result<Said, End> {
    Said::parse(text).ok_or(End::BadMessage)
}

impl Session {
    /// The loop; answers how it ended.
    async fn live(&mut self) -> End {
        match self.serve().await {
            Ok(never) => match never {},
            Err(end) => end,
        }
    }

    async fn serve(&mut self) -> Result<std::convert::Infallible, End> {
        let gateway = self.gateway.clone();
        let mut pings = pings(gateway.config.ping_every);
        let client = self.member.client().clone();
        let mut ended = pin!(client.ended());
        let mut stopping = pin!(gateway.shutdown.cancelled());
        let mut others = Others::new();
        let mut stretch = 0;
        self.welcome().await?;
        loop {
            // Before anything else that is ready: nothing is sent to whom nothing may be sent.
            if client.is_over() {
                let end = ended.as_mut().await;
                return Err(self.leave(end).await);
            }
            self.give_up_lost().await?;
            self.read_on();
            let taking = !self.holds_back();
            client.takes(taking);
            if taking && stretch < STRETCH && client.queue.take(&mut self.batch, BATCH) {
                stretch += 1;
                self.pass_on().await?;
                client.paid();
                continue;
            }
            let step = {
                let mut heard = pin!(self.wire.recv());
                let mut arrived = pin!(arrive(&mut self.reading));
                let look = |context: &mut Context<'_>| {
                    if stretch == 0 && client.queue.poll(taking, context).is_ready() {
                        return Poll::Ready(Step::Live);
                    }
                    let step = others.look(context, |context| {
                        if let Poll::Ready(end) = ended.as_mut().poll(context) {
                            return Poll::Ready(Step::Ended(end));
                        }
                        if stopping.as_mut().poll(context).is_ready() {
                            return Poll::Ready(Step::Ended(End::Shutdown));
                        }
                        if let Poll::Ready(message) = heard.as_mut().poll(context) {
                            return Poll::Ready(Step::Said(message));
                        }
                        if let Poll::Ready(arrived) = arrived.as_mut().poll(context) {
                            return Poll::Ready(Step::Arrived(arrived));
                        }
                        pings.poll_tick(context).map(|_| Step::Tick)
                    });
                    if step.is_pending() && stretch > 0 && client.queue.poll(taking, context).is_ready() {
                        return Poll::Ready(Step::Live);
                    }
                    step
                };
                poll_fn(look).await
            };
            stretch = 0;
            match step {
                Step::Ended(end) => return Err(self.leave(end).await),
                Step::Said(message) => self.hear(message?).await?,
                Step::Live => {}
                Step::Arrived(arrived) => {
                    self.reading = None;
                    self.arrived(arrived).await?;
                }
                Step::Tick if self.heard.elapsed() > gateway.config.ping_every.mul_f64(2.5) => return Err(End::Idle),
                Step::Tick => self.wire.ping().await?,
            }
        }
    }

    /// Live frames wait while what came before them is still being sent.
    pub(super) fn holds_back(&self) -> bool {
        self.replays.front().is_some_and(|replay| replay.joined.is_some())
    }

    /// Writes one frame.
    pub(super) async fn tell(&mut self, told: Told<'_>) -> Result<(), End> {
        self.wire.feed(told.text()).await?;
        self.wire.flush().await
    }

    async fn welcome(&mut self) -> Result<(), End> {
        let (seq, epoch) = (self.gateway.hub.at(), self.gateway.epoch.clone());
        let welcome = Told::Welcome { seq, epoch: &epoch, user: self.identity.named() }.text();
        self.wire.feed(welcome).await?;
        self.wire.flush().await
    }

    async fn hear(&mut self, message: Message) -> Result<(), End> {
        let now = Instant::now();
        self.heard = now;
        if !self.rate.allows(now) {
            return Err(End::RateLimited);
        }
        let text = match message {
            Message::Text(text) => text,
            Message::Binary(_) => return Err(End::BadMessage),
            Message::Ping(_) | Message::Pong(_) => return Ok(()),
            Message::Close(_) => return Err(End::Gone),
        };
        match parse(&text)? {
            Said::Auth { token } => self.renew(&token).await,
            Said::Subscribe { topics, after, epoch } => self.subscribe(&topics, after, epoch.as_deref()).await,
            Said::Unsubscribe { topics } => {
                self.unsubscribe(&topics);
                Ok(())
            }
            Said::Ping => self.tell(Told::Pong).await,
        }
    }

    /// Takes a new token. Whoever brings one stays who they are.
    async fn renew(&mut self, token: &str) -> Result<(), End> {
        let gateway = self.gateway.clone();
        let client = self.member.client().clone();
        let claim = tokio::select! {
            claim = auth::claim(&gateway.access, token, gateway.clock.now()) => claim,
            // Keys may have to be asked for: whose place is taken meanwhile does not stay because of it.
            end = client.ended() => return Err(self.leave(end).await),
        };
        let Ok(claim) = claim else { return self.tell(Told::error("not_ready")).await };
        let claim =
            claim.and_then(|claim| if self.identity.is(&claim) { Ok(claim) } else { Err(Refusal::OtherSession) });
        let claim = claim.map_err(|refusal| auth::refuse(&gateway, refusal))?;
        if let (Claim::Session(session), Some(watch)) = (claim, self.member.watched()) {
            match auth::judge(&gateway, watch, session).await {
                Ok(Ok(person)) => self.identity = Identity::Person(person),
                Ok(Err(unwelcome)) => return Err(auth::refuse(&gateway, unwelcome.into())),
                Err(error) => {
                    tracing::warn!(error = %crate::db::Quiet(&error), "a token cannot be renewed: the database");
                    return self.tell(Told::error("not_ready")).await;
                }
            }
        }
        self.welcome().await
    }

    /// Writes the live frames that have gathered.
    pub(super) async fn pass_on(&mut self) -> Result<(), End> {
        let mut oldest = None;
        for Live { subscription, what } in std::mem::take(&mut self.batch) {
            self.give_up_lost().await?;
            let seq = match &what {
                What::Frame(frame) => frame.seq,
                What::Lost(upto) => *upto,
            };
            if let Some(watch) = self.member.watched() {
                if watch.barred().is_some_and(|barred| seq > barred) {
                    return Err(End::Unauthenticated);
                }
                // What was taken from somebody in rows that are gone is not known: they come again, and are judged anew.
                if matches!(what, What::Lost(_)) {
                    return Err(End::Slow);
                }
            }
            let wanted = self.subscriptions.iter_mut().find(|known| known.id == subscription);
            let Some(wanted) = wanted else { continue };
            let frame = match what {
                What::Frame(frame) if wanted.take(frame.seq) => frame,
                What::Lost(upto) if wanted.misses(upto) => {
                    self.reset(subscription).await?;
                    continue;
                }
                What::Frame(_) | What::Lost(_) => continue,
            };
            oldest.get_or_insert(frame.created_at);
            self.wire.feed(frame.event.clone()).await?;
            if let Some(notice) = &frame.notice {
                self.wire.feed(notice.clone()).await?;
            }
        }
        if let Some(oldest) = oldest {
            self.wire.flush().await?;
            // One sample a write, of the frame that waited longest.
            metrics::reached("websocket", (self.gateway.clock.now() - oldest).to_std().unwrap_or_default());
        }
        Ok(())
    }
}

async fn arrive(reading: &mut Option<Pin<Box<dyn Future<Output = Arrived> + Send>>>) -> Arrived {
    match reading {
        Some(reading) => reading.await,
        None => std::future::pending().await,
    }
}

/// Clients that came together are not pinged together.
fn pings(every: Duration) -> Interval {
    let mut pings = interval_at(Instant::now() + every.mul_f64(0.5 + 0.5 * fastrand::f64()), every);
    pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
    pings
}
