//! A consumer of the stream, as `docs/stream.md` shows it.

use std::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    sync::{Arc, Mutex},
};

use redis::RedisError;
use serde_json::Value;

use super::bed::{Redis, pairs};

pub(super) const GROUP: &str = "billing";

/// How long an entry may be with a consumer before another one takes it over, in milliseconds.
const IDLE: &str = "300";

/// Id and fields, as Redis gives them.
type Raw = (String, Vec<String>);

/// What consumers of one service share: its own tables.
#[derive(Debug, Default)]
pub(super) struct Tables {
    /// The changes that were applied, and by whom.
    pub(super) applied: BTreeMap<i64, String>,
    /// How often one came that was applied already.
    pub(super) repeated: usize,
    /// What was loaded anew, and why.
    pub(super) holes: Vec<String>,
    /// The entries that were handed out for the first time, by consumer.
    pub(super) came: BTreeMap<String, Vec<i64>>,
    epoch: String,
}

impl Tables {
    /// One transaction: that a change is applied, and its effect.
    fn apply(&mut self, frame: &Value, by: &str) {
        let seq = frame["seq"].as_i64().unwrap();
        match self.applied.entry(seq) {
            Entry::Vacant(new) => drop(new.insert(by.to_owned())),
            Entry::Occupied(_) => self.repeated += 1,
        }
    }

    fn position(&self) -> i64 {
        self.applied.last_key_value().map_or(0, |(seq, _)| *seq)
    }
}

/// One process of the service.
pub(super) struct Consumer {
    pub(super) name: String,
    pub(super) redis: Redis,
    /// Where `/v1/changes` is, and the token.
    pub(super) api: (String, String),
    pub(super) tables: Arc<Mutex<Tables>>,
    /// Dies before it has acknowledged the n-th entry: with its effect, or without.
    pub(super) dies: Option<(usize, bool)>,
    pub(super) handled: usize,
}

/// It died.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Dead;

impl Consumer {
    /// One round of its loop; answers how many entries it got.
    pub(super) async fn round(&mut self) -> Result<usize, Dead> {
        match self.try_round().await {
            Ok(round) => round,
            Err(error) if error.to_string().contains("NOGROUP") => {
                self.begin().await;
                Ok(0)
            }
            Err(error) => panic!("{error}"),
        }
    }

    /// Makes the group where there is none.
    pub(super) async fn begin(&self) {
        let made: Result<(), _> =
            self.redis.ask(&["XGROUP", "CREATE", &self.redis.stream(), GROUP, "0", "MKSTREAM"]).await;
        if let Err(error) = made {
            assert!(error.to_string().contains("BUSYGROUP"), "{error}");
        }
    }

    async fn try_round(&mut self) -> Result<Result<usize, Dead>, RedisError> {
        let key = self.redis.stream();
        self.look(&key).await?;
        // What somebody took and did not finish.
        let mut count = 0;
        let mut cursor = "0-0".to_owned();
        loop {
            let (next, claimed, gone): (String, Vec<Raw>, Vec<String>) =
                self.redis.ask(&["XAUTOCLAIM", &key, GROUP, &self.name, IDLE, &cursor, "COUNT", "10"]).await?;
            for id in gone {
                self.fetch(seq(&id) - 1, seq(&id), "a pending entry is gone").await;
            }
            for (id, fields) in claimed {
                count += 1;
                if self.handle(&key, &id, fields).await? == Err(Dead) {
                    return Ok(Err(Dead));
                }
            }
            if next == "0-0" {
                break;
            }
            cursor = next;
        }
        let read: Option<Vec<(String, Vec<Raw>)>> =
            self.redis.ask(&["XREADGROUP", "GROUP", GROUP, &self.name, "COUNT", "10", "STREAMS", &key, ">"]).await?;
        let read: Vec<_> = read.into_iter().flatten().flat_map(|(_, entries)| entries).collect();
        let came = read.iter().map(|(id, _)| seq(id));
        self.tables.lock().unwrap().came.entry(self.name.clone()).or_default().extend(came);
        for (id, fields) in read {
            count += 1;
            if self.handle(&key, &id, fields).await? == Err(Dead) {
                return Ok(Err(Dead));
            }
        }
        Ok(Ok(count))
    }

    /// Whether the stream still begins where we are; if not, what is missing is read from the feed.
    async fn look(&self, key: &str) -> Result<(), RedisError> {
        let oldest: Vec<Raw> = self.redis.ask(&["XRANGE", key, "-", "+", "COUNT", "1"]).await?;
        let Some((id, fields)) = oldest.into_iter().next() else { return Ok(()) };
        let (oldest, epoch) = (seq(&id), pairs(fields)["epoch"].clone());
        let (position, known) = {
            let tables = self.tables.lock().unwrap();
            (tables.position(), tables.epoch.clone())
        };
        if known != epoch {
            let mut tables = self.tables.lock().unwrap();
            if !known.is_empty() {
                tables.holes.push("another epoch".into());
                tables.applied.clear();
            }
            tables.epoch = epoch;
        } else if oldest > position + 1 {
            self.fetch(position, oldest, "the stream begins later").await;
        }
        Ok(())
    }

    /// Reads changes from the feed.
    async fn fetch(&self, mut after: i64, upto: i64, why: &str) {
        self.tables.lock().unwrap().holes.push(why.into());
        while after < upto {
            let ask = reqwest::Client::builder().no_proxy().build().unwrap();
            let ask = ask.get(format!("{}/v1/changes?after={after}&limit=1000", self.api.0)).bearer_auth(&self.api.1);
            let page: Value = ask.send().await.unwrap().json().await.unwrap();
            let frames = page["data"].as_array().unwrap();
            let mut tables = self.tables.lock().unwrap();
            frames.iter().for_each(|frame| tables.apply(frame, &self.name));
            after = page["next"].as_i64().unwrap();
            if frames.is_empty() {
                break;
            }
        }
    }

    async fn handle(&mut self, key: &str, id: &str, fields: Vec<String>) -> Result<Result<(), Dead>, RedisError> {
        let fields = pairs(fields);
        let dies = self.dies.filter(|(at, _)| *at == self.handled).map(|(_, applied)| applied);
        self.handled += 1;
        if dies == Some(false) {
            return Ok(Err(Dead));
        }
        let frame: Value = serde_json::from_str(&fields["frame"]).unwrap();
        self.tables.lock().unwrap().apply(&frame, &self.name);
        if dies == Some(true) {
            return Ok(Err(Dead));
        }
        let acknowledged: i64 = self.redis.ask(&["XACK", key, GROUP, id]).await?;
        assert!(acknowledged <= 1);
        Ok(Ok(()))
    }
}

/// Entries that were taken and not acknowledged.
pub(super) async fn pending(redis: &Redis) -> i64 {
    let (count, ..): (i64, Option<String>, Option<String>, redis::Value) =
        redis.ask(&["XPENDING", &redis.stream(), GROUP]).await.unwrap();
    count
}

fn seq(id: &str) -> i64 {
    id.split_once('-').unwrap().0.parse().unwrap()
}

/// The changes that were applied.
pub(super) fn applied(tables: &Mutex<Tables>) -> BTreeSet<i64> {
    tables.lock().unwrap().applied.keys().copied().collect()
}
