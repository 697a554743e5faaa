//! A reader of server-sent events.

use std::{pin::Pin, time::Duration};

use futures_util::{Stream, StreamExt as _};
use reqwest::RequestBuilder;
use serde_json::Value;
use tokio::time::timeout;

use super::server::Answer;

/// Nothing that is waited for takes this long.
const LONG: Duration = Duration::from_secs(40);

/// An open stream.
pub(crate) struct Events {
    pub(crate) head: Answer,
    body: Pin<Box<dyn Stream<Item = reqwest::Result<bytes::Bytes>> + Send>>,
    text: String,
    /// Whether the connection broke before the stream came to its end.
    pub(crate) broken: bool,
}

/// What came between two empty lines.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Event {
    /// Of another kind than the default.
    pub(crate) kind: Option<String>,
    pub(crate) id: Option<i64>,
    pub(crate) data: Value,
    pub(crate) comment: bool,
}

impl Events {
    /// Asks for a stream.
    ///
    /// # Errors
    /// What was answered instead.
    pub(crate) async fn open(request: RequestBuilder) -> Result<Self, Answer> {
        let response = request.header("accept", "text/event-stream").send().await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        if status != 200 {
            return Err(Answer { status, headers, text: response.text().await.unwrap() });
        }
        let head = Answer { status, headers, text: String::new() };
        Ok(Self { head, body: Box::pin(response.bytes_stream()), text: String::new(), broken: false })
    }

    /// The next event; `None` at the end.
    pub(crate) async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(end) = self.text.find("\n\n") {
                let event = parse(&self.text[..end]);
                self.text.drain(..end + 2);
                return Some(event);
            }
            match timeout(LONG, self.body.next()).await.expect("the server says nothing") {
                Some(Ok(bytes)) => self.text.push_str(std::str::from_utf8(&bytes).unwrap()),
                Some(Err(_)) => {
                    self.broken = true;
                    return None;
                }
                None => return None,
            }
        }
    }

    /// The point from which the stream goes on, which it says first.
    pub(crate) async fn ready(&mut self) -> i64 {
        let event = self.next().await.unwrap();
        assert_eq!((event.kind.as_deref(), event.id), (Some("ready"), event.data["seq"].as_i64()), "{event:?}");
        event.id.unwrap()
    }

    /// The next change; signs of life aside.
    pub(crate) async fn change(&mut self) -> Value {
        loop {
            let event = self.next().await.expect("the stream ended");
            if !event.comment {
                assert_eq!((&event.kind, event.id), (&None, event.data["seq"].as_i64()), "{event:?}");
                return event.data;
            }
        }
    }

    /// The seqs of the next changes.
    pub(crate) async fn seqs(&mut self, count: usize) -> Vec<i64> {
        let mut seqs = Vec::new();
        while seqs.len() < count {
            seqs.push(self.change().await["seq"].as_i64().unwrap());
        }
        seqs
    }

    /// The changes up to the end of the stream.
    pub(crate) async fn rest(&mut self) -> Vec<Value> {
        let mut changes = Vec::new();
        while let Some(event) = self.next().await {
            if !event.comment {
                changes.push(event.data);
            }
        }
        changes
    }
}

fn parse(block: &str) -> Event {
    let mut event = Event::default();
    for line in block.lines() {
        let (name, value) = line.split_once(':').unwrap();
        let value = value.strip_prefix(' ').unwrap_or(value);
        match name {
            "" => event.comment = true,
            "event" => event.kind = Some(value.to_owned()),
            "id" => event.id = Some(value.parse().unwrap()),
            "data" => event.data = serde_json::from_str(value).unwrap(),
            _ => panic!("{line}"),
        }
    }
    event
}
