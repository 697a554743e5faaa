//! The way in: from an open socket to somebody who is known, or to its end.
//!
//! Before that a client has no seat and no frame longer than a token needs, for a bounded time; the database is asked
//! about it only once its token is verified.

use axum::extract::ws::Message;
use tokio::time::{Instant, timeout};

use crate::{clerk::keys::NoKeys, telemetry::metrics};

use super::{
    Gateway,
    auth::{self, Identity},
    client::Member,
    crowd::Waiting,
    protocol::{End, Said},
    rate::Rate,
    session::parse,
    wire::Wire,
};

/// Bytes of a frame before authentication: a token and a little around it.
const FIRST_FRAME: usize = 8 * 1024;

/// Waits until it is known who this is; `None` once it is known to be nobody, and the connection closed.
pub(super) async fn enter(
    gateway: &Gateway,
    number: u64,
    wire: Wire,
    rate: Rate,
    member: Member,
) -> Option<(Identity, Wire, Rate, Member)> {
    let waiting = gateway.door.wait(number);
    tokio::select! {
        entered = listen(gateway, wire, rate, member, &waiting) => entered,
        () = waiting.crowded_out() => {
            // Without a word: it would keep its place while it takes its time to hear it.
            metrics::ws_dropped("crowded_out");
            None
        }
    }
}

async fn listen(
    gateway: &Gateway,
    mut wire: Wire,
    mut rate: Rate,
    mut member: Member,
    waiting: &Waiting,
) -> Option<(Identity, Wire, Rate, Member)> {
    let identity = tokio::select! {
        identity = identify(gateway, &mut wire, &mut rate, &mut member, waiting) => identity,
        () = gateway.shutdown.cancelled() => Err(End::Shutdown),
    };
    match identity {
        Ok(identity) => Some((identity, wire, rate, member)),
        Err(end) => {
            drop(member);
            wire.close(end).await;
            None
        }
    }
}

/// Who this is, by its first frame, which has to come in time. What takes long after that is not its fault.
async fn identify(
    gateway: &Gateway,
    wire: &mut Wire,
    rate: &mut Rate,
    member: &mut Member,
    waiting: &Waiting,
) -> Result<Identity, End> {
    let limit = gateway.config.auth_timeout;
    let token = timeout(limit, token(wire, rate)).await.unwrap_or(Err(End::Unauthenticated))?;
    let claim = auth::claim(&gateway.access, &token, gateway.clock.now());
    let claim = timeout(limit, claim).await.unwrap_or(Err(NoKeys)).map_err(|NoKeys| End::NotReady)?;
    let claim = claim.map_err(|refusal| auth::refuse(gateway, refusal))?;
    // A token of ours: nobody has to make room for a stranger here.
    waiting.is_known();
    timeout(limit, auth::authenticate(gateway, member, claim)).await.unwrap_or(Err(End::NotReady))
}

/// The token of the first frame.
async fn token(wire: &mut Wire, rate: &mut Rate) -> Result<String, End> {
    loop {
        let message = wire.recv().await?;
        if !rate.allows(Instant::now()) {
            return Err(End::RateLimited);
        }
        let text = match message {
            Message::Text(text) if text.len() <= FIRST_FRAME => text,
            Message::Text(_) | Message::Binary(_) => return Err(End::BadMessage),
            Message::Ping(_) | Message::Pong(_) => continue,
            Message::Close(_) => return Err(End::Gone),
        };
        return match parse(&text)? {
            Said::Auth { token } => Ok(token),
            Said::Subscribe { .. } | Said::Unsubscribe { .. } | Said::Ping => Err(End::Unauthenticated),
        };
    }
}
