//! The socket of one client: writes that give up on one who takes nothing, and a close that is heard.

use std::{pin::pin, sync::Arc, task::Poll, time::Duration};

use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket};
use futures_util::{SinkExt as _, poll};
use tokio::task::unconstrained;
use tokio_tungstenite::tungstenite::{self, error::ProtocolError};
use tokio_util::sync::CancellationToken;

use crate::telemetry::metrics;

use super::{
    client::Client,
    protocol::{End, Told},
};

/// How long a slow client may take to hear that it was closed, and why.
const LINGER: Duration = Duration::from_secs(30);

/// How long the last words may take once the process ends, and how long a client may take to answer a close.
const PARTING: Duration = Duration::from_secs(1);

/// A client's socket.
#[derive(Debug)]
pub(super) struct Wire {
    socket: WebSocket,
    client: Arc<Client>,
    timeout: Duration,
    shutdown: CancellationToken,
    /// Reading failed; nothing more can be read.
    deaf: bool,
}

impl Wire {
    pub(super) fn new(socket: WebSocket, client: Arc<Client>, timeout: Duration, shutdown: CancellationToken) -> Self {
        Self { socket, client, timeout, shutdown, deaf: false }
    }

    /// The next message. Nothing is lost when the future is dropped.
    ///
    /// # Errors
    /// How the connection ends: the client is gone, or what it sent is no websocket message that we take.
    pub(super) async fn recv(&mut self) -> Result<Message, End> {
        match self.socket.recv().await {
            Some(Ok(message)) => Ok(message),
            Some(Err(error)) => {
                self.deaf = true;
                Err(judge(error))
            }
            None => Err(End::Gone),
        }
    }

    /// Takes a frame, to be written with others at the next [`Wire::flush`].
    ///
    /// # Errors
    /// How the connection ends, if it does.
    pub(super) async fn feed(&mut self, frame: Utf8Bytes) -> Result<(), End> {
        let Self { socket, client, timeout, shutdown, .. } = self;
        bounded(socket.feed(Message::Text(frame)), client, *timeout, shutdown).await
    }

    /// Writes what was taken.
    ///
    /// # Errors
    /// How the connection ends, if it does.
    pub(super) async fn flush(&mut self) -> Result<(), End> {
        let Self { socket, client, timeout, shutdown, .. } = self;
        bounded(socket.flush(), client, *timeout, shutdown).await
    }

    /// Writes a websocket ping.
    ///
    /// # Errors
    /// How the connection ends, if it does.
    pub(super) async fn ping(&mut self) -> Result<(), End> {
        let Self { socket, client, timeout, shutdown, .. } = self;
        bounded(socket.send(Message::Ping(Default::default())), client, *timeout, shutdown).await
    }

    /// Says why and closes. A client that has stopped reading is given time to come back and hear it.
    pub(super) async fn close(mut self, end: End) {
        if let Some((code, reason)) = end.code() {
            metrics::ws_dropped(reason);
            let last_words = async {
                if code == 4400 || end == End::NotReady {
                    self.socket.feed(Message::Text(Told::error(reason).text())).await?;
                }
                self.socket.send(Message::Close(Some(CloseFrame { code, reason: reason.into() }))).await
            };
            let shutdown = async {
                self.shutdown.cancelled().await;
                tokio::time::sleep(PARTING).await;
            };
            tokio::select! {
                _ = tokio::time::timeout(LINGER, last_words) => {}
                () = shutdown => {}
            }
        }
        // Closing a socket with bytes unread in it would take back what was just written.
        let heard = async {
            while let Some(Ok(_)) = self.socket.recv().await {}
            if self.deaf && end != End::Gone {
                std::future::pending::<()>().await;
            }
        };
        let _ = tokio::time::timeout(PARTING, heard).await;
    }
}

/// A write that ends with the client, the process or the time that it may take.
async fn bounded(
    write: impl Future<Output = Result<(), axum::Error>>,
    client: &Client,
    timeout: Duration,
    shutdown: &CancellationToken,
) -> Result<(), End> {
    // Outside the runtime's budget, so that pending means the socket and nothing else.
    let mut write = pin!(unconstrained(write));
    if let Poll::Ready(written) = poll!(write.as_mut()) {
        return written.map_err(|_| End::Gone);
    }
    client.block(true);
    let written = tokio::select! {
        written = write => written.map_err(|_| End::Gone),
        end = client.ended() => Err(end),
        () = tokio::time::sleep(timeout) => Err(End::Slow),
        () = shutdown.cancelled() => Err(End::Shutdown),
    };
    client.block(false);
    written
}

/// Whether a failed read is the client's fault or its absence.
fn judge(error: axum::Error) -> End {
    match error.into_inner().downcast_ref::<tungstenite::Error>() {
        Some(tungstenite::Error::Protocol(ProtocolError::ResetWithoutClosingHandshake)) => End::Gone,
        Some(tungstenite::Error::Capacity(_) | tungstenite::Error::Protocol(_) | tungstenite::Error::Utf8(_)) => {
            End::BadMessage
        }
        _ => End::Gone,
    }
}
