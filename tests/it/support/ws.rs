//! A websocket client.

use std::{net::SocketAddr, time::Duration};

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::{
    net::{TcpSocket, TcpStream},
    time::timeout,
};
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{Error, Message, client::IntoClientRequest as _, handshake::client::Response},
};

/// Nothing that is waited for takes this long.
const LONG: Duration = Duration::from_secs(20);

/// An open websocket.
pub(crate) struct Client {
    pub(crate) socket: WebSocketStream<TcpStream>,
    /// What the server answered to the upgrade.
    pub(crate) response: Response,
}

/// What the server says next.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Heard {
    Frame(Value),
    Closed(u16),
    /// The connection ended without a word.
    Lost,
}

impl Client {
    /// Opens one with these headers; `receive` bounds the system's buffer for what the server sends.
    ///
    /// # Errors
    /// What the server answers instead.
    pub(crate) async fn open(
        address: SocketAddr,
        headers: &[(&'static str, &str)],
        receive: Option<u32>,
    ) -> Result<Self, Error> {
        let mut request = format!("ws://{address}/v1/ws").into_client_request().unwrap();
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().unwrap());
        }
        let socket = TcpSocket::new_v4().unwrap();
        if let Some(bytes) = receive {
            socket.set_recv_buffer_size(bytes).unwrap();
        }
        let stream = socket.connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let (socket, response) = client_async(request, stream).await?;
        Ok(Self { socket, response })
    }

    /// Says who it is; answers `welcome`.
    pub(crate) async fn auth(&mut self, token: &str) -> Value {
        self.say(json!({"type": "auth", "token": token})).await;
        let welcome = self.frame().await;
        assert_eq!(welcome["type"], "welcome", "{welcome}");
        welcome
    }

    /// Subscribes; answers `subscribed`.
    pub(crate) async fn subscribe(&mut self, topics: &[&str], more: Value) -> Value {
        let mut frame = json!({"type": "subscribe", "topics": topics});
        frame.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap_or_default());
        self.say(frame).await;
        let subscribed = self.frame().await;
        assert_eq!(subscribed["type"], "subscribed", "{subscribed}");
        subscribed["topics"].clone()
    }

    pub(crate) async fn say(&mut self, frame: Value) {
        self.socket.send(Message::text(frame.to_string())).await.unwrap();
    }

    /// What comes next, pings aside.
    pub(crate) async fn hear(&mut self) -> Heard {
        loop {
            let message = timeout(LONG, self.socket.next()).await.expect("the server says nothing");
            match message {
                Some(Ok(Message::Text(text))) => return Heard::Frame(serde_json::from_str(&text).unwrap()),
                Some(Ok(Message::Close(Some(frame)))) => return Heard::Closed(frame.code.into()),
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                Some(Ok(other)) => panic!("{other:?}"),
                Some(Err(_)) | None => return Heard::Lost,
            }
        }
    }

    /// The next frame.
    pub(crate) async fn frame(&mut self) -> Value {
        match self.hear().await {
            Heard::Frame(frame) => frame,
            other => panic!("a frame was expected, not {other:?}"),
        }
    }

    /// The next event, notices aside.
    pub(crate) async fn event(&mut self) -> Value {
        loop {
            let frame = self.frame().await;
            match frame["type"].as_str() {
                Some("event") => return frame,
                Some("notice") => {}
                _ => panic!("an event was expected, not {frame}"),
            }
        }
    }

    /// The seqs of the next events.
    pub(crate) async fn seqs(&mut self, count: usize) -> Vec<i64> {
        let mut seqs = Vec::new();
        while seqs.len() < count {
            seqs.push(self.event().await["seq"].as_i64().unwrap());
        }
        seqs
    }

    /// Everything up to the answer to a ping: what was on its way. The answer is not in it.
    pub(crate) async fn rest(&mut self) -> Vec<Value> {
        self.say(json!({"type": "ping"})).await;
        let mut frames = Vec::new();
        loop {
            match self.frame().await {
                frame if frame["type"] == "pong" => return frames,
                frame => frames.push(frame),
            }
        }
    }

    /// The frames before the close, and its code.
    pub(crate) async fn closed(&mut self) -> (Vec<Value>, u16) {
        let mut frames = Vec::new();
        loop {
            match self.hear().await {
                Heard::Frame(frame) => frames.push(frame),
                Heard::Closed(code) => return (frames, code),
                Heard::Lost => panic!("lost without a close after {frames:?}"),
            }
        }
    }
}
