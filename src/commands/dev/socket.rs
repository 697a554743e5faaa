//! A websocket client of `dev`: the handshake, the subprotocol and the frames that a frontend sends and reads.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context as _, bail};
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::{net::TcpStream, time::timeout};
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{Message, client::IntoClientRequest as _},
};

/// How long a frame may take.
const FRAME_TIMEOUT: Duration = Duration::from_secs(10);

pub(super) struct Socket(WebSocketStream<TcpStream>);

impl Socket {
    /// Connects, shows a session token and follows its user.
    pub(super) async fn follow_me(address: SocketAddr, token: &str) -> anyhow::Result<Self> {
        let mut request = format!("ws://{address}/v1/ws").into_client_request()?;
        request.headers_mut().insert("sec-websocket-protocol", "clerk-sync.v1".parse()?);
        let (socket, _) = client_async(request, TcpStream::connect(address).await?).await?;
        let mut socket = Self(socket);
        socket.send(json!({"type": "auth", "token": token})).await?;
        socket.expect("welcome").await?;
        socket.send(json!({"type": "subscribe", "topics": ["user:me"]})).await?;
        socket.expect("subscribed").await?;
        Ok(socket)
    }

    async fn send(&mut self, frame: Value) -> anyhow::Result<()> {
        Ok(self.0.send(Message::text(frame.to_string())).await?)
    }

    /// Returns the next frame of this type; fails at one that ends the conversation.
    pub(super) async fn expect(&mut self, kind: &str) -> anyhow::Result<Value> {
        loop {
            let message = timeout(FRAME_TIMEOUT, self.0.next()).await;
            let message = message.with_context(|| format!("no {kind} frame within {FRAME_TIMEOUT:?}"))?;
            match message.context("the connection ended")?? {
                Message::Text(text) => {
                    let frame: Value = serde_json::from_str(&text)?;
                    match frame["type"].as_str() {
                        Some(found) if found == kind => return Ok(frame),
                        Some("notice") => {}
                        _ => bail!("{kind} was expected, not {frame}"),
                    }
                }
                Message::Close(close) => bail!("closed: {}", close.map_or(0, |close| u16::from(close.code))),
                _ => {}
            }
        }
    }
}
