//! A stream of its own: the Redis under it, and processes that feed it.

use std::{collections::BTreeMap, time::Duration};

use clerk_sync::{
    app::App,
    db::Stmt,
    json::object_text,
    outbox::{feed, relay::Sink},
    sinks::stream::StreamSink,
};
use redis::{AsyncConnectionConfig, FromRedisValue, RedisResult, aio::MultiplexedConnection};
use serde_json::Value;

use crate::support::{services, world::World};

/// An entry as readers get it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Entry {
    pub(super) id: String,
    pub(super) fields: BTreeMap<String, String>,
}

impl Entry {
    pub(super) fn seq(&self) -> i64 {
        let (seq, zero) = self.id.split_once('-').unwrap();
        assert_eq!(zero, "0");
        seq.parse().unwrap()
    }

    pub(super) fn frame(&self) -> Value {
        serde_json::from_str(&self.fields["frame"]).unwrap()
    }
}

/// A Redis, and names in it that nobody else uses.
#[derive(Clone)]
pub(super) struct Redis {
    pub(super) url: String,
    pub(super) prefix: String,
    connection: MultiplexedConnection,
}

impl Redis {
    pub(super) async fn new() -> Option<Self> {
        let (url, prefix) = services::redis()?;
        let patient = AsyncConnectionConfig::new().set_response_timeout(Some(Duration::from_secs(30)));
        let client = redis::Client::open(url.as_str()).unwrap();
        let connection = client.get_multiplexed_async_connection_with_config(&patient).await.unwrap();
        Some(Self { url, prefix, connection })
    }

    /// The keys of the configuration that lead to it.
    pub(super) fn keys(&self) -> [(&'static str, String); 2] {
        [("redis.url", self.url.clone()), ("redis.prefix", self.prefix.clone())]
    }

    pub(super) fn stream(&self) -> String {
        format!("{}:changes", self.prefix)
    }

    pub(super) fn record(&self) -> String {
        format!("{}:changes:record", self.prefix)
    }

    pub(super) async fn ask<T: FromRedisValue>(&self, words: &[&str]) -> RedisResult<T> {
        let mut command = redis::cmd(words[0]);
        for word in &words[1..] {
            command.arg(*word);
        }
        command.query_async(&mut self.connection.clone()).await
    }

    pub(super) async fn entries(&self) -> Vec<Entry> {
        let found: Vec<(String, Vec<String>)> = self.ask(&["XRANGE", &self.stream(), "-", "+"]).await.unwrap();
        found.into_iter().map(|(id, fields)| Entry { id, fields: pairs(fields) }).collect()
    }

    pub(super) async fn seqs(&self) -> Vec<i64> {
        self.entries().await.iter().map(Entry::seq).collect()
    }

    /// How many consumer groups there are.
    pub(super) async fn groups(&self) -> usize {
        let groups: RedisResult<Vec<redis::Value>> = self.ask(&["XINFO", "GROUPS", &self.stream()]).await;
        groups.map_or(0, |groups| groups.len())
    }

    /// Keeps stream and record as they are now.
    pub(super) async fn snapshot(&self) {
        for key in [self.stream(), self.record()] {
            let copied: bool = self.ask(&["COPY", &key, &format!("{key}:kept"), "REPLACE"]).await.unwrap();
            assert!(copied);
        }
    }

    /// Redis comes back as it was when that was done.
    pub(super) async fn restore(&self) {
        for key in [self.stream(), self.record()] {
            let copied: bool = self.ask(&["COPY", &format!("{key}:kept"), &key, "REPLACE"]).await.unwrap();
            assert!(copied);
        }
    }

    /// Redis comes back with nothing.
    pub(super) async fn lose(&self) {
        let _: i64 = self.ask(&["UNLINK", &self.stream(), &self.record()]).await.unwrap();
    }

    /// A process over the world's database that feeds the stream.
    pub(super) async fn feeder(&self, world: &World, more: &[(&str, String)]) -> App {
        let pace = [("relay.backoff", "1ms".to_owned()), ("relay.backoff_max", "5ms".to_owned())];
        world.replica(&[&self.keys()[..], &pace, more].concat()).await
    }
}

pub(super) fn pairs(fields: Vec<String>) -> BTreeMap<String, String> {
    fields.chunks(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect()
}

pub(super) fn sink(app: &App) -> &StreamSink {
    app.sinks.stream.as_ref().unwrap()
}

/// Delivers until the stream has everything, or a while is over.
pub(super) async fn feed_it(app: &App) -> bool {
    catches_up(app, sink(app)).await
}

/// The same of any sink.
pub(super) async fn catches_up<S: Sink>(app: &App, sink: &S) -> bool {
    for _ in 0..1_000 {
        if app.relay().drain(sink).await.unwrap() {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    false
}

/// The cursor of a sink.
pub(super) async fn cursor(app: &App, sink: &str) -> Option<i64> {
    let select = Stmt::new(&app.db.read, "select seq from clerk_sync.sink_cursors where sink = ").val(sink);
    select.all(&app.db.read).await.unwrap().first().map(|row| row.try_get("", "seq").unwrap())
}

/// What the feed has for the stream after a change, as (seq, frame).
pub(super) async fn told(app: &App, after: i64) -> Vec<(i64, Value)> {
    let rows = feed::read(&app.db.read, after, 100_000).await.unwrap();
    let ours = rows.iter().filter(|row| ["users", "organizations"].contains(&row.topic.as_str()));
    ours.map(|row| {
        (row.seq, serde_json::from_str(&object_text(&row.frame(&row.topic, &app.config.gateway.list_fields))).unwrap())
    })
    .collect()
}

/// That the stream holds exactly what the feed has for it after a change.
pub(super) async fn holds_all_after(redis: &Redis, app: &App, after: i64, what: &str) {
    let epoch = clerk_sync::meta::epoch(&app.db).await.unwrap();
    let entries = redis.entries().await;
    let held: Vec<_> = entries.iter().map(|entry| (entry.seq(), entry.frame())).collect();
    assert_eq!(held, told(app, after).await, "{what}");
    for Entry { fields, .. } in &entries {
        let frame: Value = serde_json::from_str(&fields["frame"]).unwrap();
        assert_eq!(fields.keys().collect::<Vec<_>>(), ["effects", "epoch", "event", "frame", "subject"], "{what}");
        assert_eq!(
            (frame["event"].as_str(), frame["subject"].as_str()),
            (Some(fields["event"].as_str()), Some(fields["subject"].as_str()))
        );
        assert_eq!(fields["epoch"], epoch, "{what}");
    }
}
