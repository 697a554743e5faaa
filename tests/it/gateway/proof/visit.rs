//! One connection: it is gone from by a goodbye, by hanging up, or in the middle of a frame; it is read at once, or not for a
//! while; it goes on where the client was, or begins at the present and asks for what it lacks afterwards.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use fastrand::Rng;
use futures_util::SinkExt as _;
use serde_json::{Value, json};
use tokio::{
    io::AsyncReadExt as _,
    sync::watch,
    time::{sleep, timeout},
};
use tokio_tungstenite::tungstenite::Message;

use super::{
    follower::{Follower, Tally, count},
    oracle::Oracle,
    topic::{Mode, Topic},
};
use crate::support::ws::{Client, Heard};

/// How long everything that is left may take once no more changes are made.
const PATIENCE: Duration = Duration::from_secs(90);

/// A connection.
struct Visit {
    client: Client,
    epoch: Value,
    /// What was asked for and not answered yet, in order.
    asked: VecDeque<String>,
    /// Canonical names, and the words that they were asked for by.
    names: BTreeMap<String, String>,
    pongs: usize,
    /// The database was too busy to answer; whoever is told so comes back.
    put_off: bool,
}

impl Follower {
    /// One connection; answers whether it has seen everything there will be.
    pub(super) async fn visit(
        &mut self,
        ending: &watch::Receiver<Option<Arc<Oracle>>>,
        tally: &Tally,
        since: &mut Option<Instant>,
    ) -> bool {
        let Some(mut visit) = self.enter(tally).await else { return false };
        let begun = Instant::now();
        let ms = |rng: &mut Rng, range: std::ops::Range<u64>| begun + Duration::from_millis(rng.u64(range));
        let ends = ms(&mut self.rng, 20..4_000);
        let mut nap = (self.rng.u8(..4) == 0).then(|| ms(&mut self.rng, 10..2_000));
        let mut rewinds = (self.rng.u8(..4) == 0).then(|| ms(&mut self.rng, 30..500));
        let (mut asks, mut napped) = (begun, false);
        loop {
            let (oracle, now) = (ending.borrow().clone(), Instant::now());
            if visit.put_off {
                return self.put_off::<()>(tally).await.is_some();
            }
            if oracle.is_some() && since.get_or_insert(now).elapsed() > PATIENCE {
                self.fail("not everything comes");
            }
            if oracle.is_none() && now >= ends {
                self.leave(visit.client, tally).await;
                return false;
            }
            if nap.take_if(|at| now >= *at && oracle.is_none()).is_some() {
                count(&tally.naps);
                napped = true;
                sleep(Duration::from_millis(self.rng.u64(50..900))).await;
            }
            if now >= asks {
                asks = now + Duration::from_millis(self.rng.u64(200..900));
                self.ask(&mut visit, rewinds.is_some()).await;
            }
            if rewinds.is_some_and(|at| now >= at) && self.rewind(&mut visit, tally).await {
                rewinds = None;
            }
            match timeout(Duration::from_millis(40), visit.client.hear()).await {
                Ok(Heard::Frame(frame)) => self.take(&mut visit, &frame, tally),
                Ok(Heard::Closed(4408)) => {
                    count(&tally.too_slow);
                    return false;
                }
                Ok(Heard::Closed(4401)) if self.person.is_some() => {
                    count(&tally.locked_out);
                    return false;
                }
                Ok(Heard::Lost) if napped => return false,
                Ok(other) => self.fail(&format!("{other:?}")),
                Err(_) => {
                    if let Some(oracle) = oracle
                        && self.is_complete(&oracle)
                        && self.rest(&mut visit, tally).await
                        && self.is_complete(&oracle)
                    {
                        return true;
                    }
                }
            }
        }
    }

    /// Connects to some replica; not while it is locked out.
    async fn enter(&mut self, tally: &Tally) -> Option<Visit> {
        self.topics.values_mut().for_each(Topic::off);
        let door = self.rng.usize(..self.doors.len());
        if self.last_door.replace(door).is_some_and(|last| last != door) {
            count(&tally.elsewhere);
        }
        let receive = (self.rng.u8(..3) == 0).then_some(4096);
        let mut client = Client::open(self.doors[door], &[], receive).await.unwrap();
        client.say(json!({"type": "auth", "token": self.token})).await;
        let epoch = match client.hear().await {
            Heard::Frame(mut welcome) if welcome["type"] == "welcome" => welcome["epoch"].take(),
            Heard::Closed(4401) if self.person.is_some() => {
                sleep(Duration::from_millis(60)).await;
                return None;
            }
            Heard::Frame(frame) if frame["code"] == "not_ready" => return self.put_off(tally).await,
            other => self.fail(&format!("{other:?}")),
        };
        Some(Visit { client, epoch, asked: VecDeque::new(), names: BTreeMap::new(), pongs: 0, put_off: false })
    }

    async fn put_off<T>(&self, tally: &Tally) -> Option<T> {
        count(&tally.put_off);
        sleep(Duration::from_millis(100)).await;
        None
    }

    /// Goes, in one of several ways.
    async fn leave(&mut self, mut client: Client, tally: &Tally) {
        count(&tally.cuts);
        match self.rng.u8(..4) {
            0 => drop(client.socket.close(None).await),
            // In the middle of a frame, if one comes.
            1 | 2 => {
                let mut some = vec![0; self.rng.usize(1..40)];
                let read = timeout(Duration::from_millis(20), client.socket.get_mut().read(&mut some)).await;
                if matches!(read, Ok(Ok(bytes)) if bytes > 0) {
                    count(&tally.torn);
                }
            }
            _ => {}
        }
    }

    /// A frame to the server, which may have closed meanwhile: that is heard next.
    async fn say(visit: &mut Visit, frame: Value) {
        let _ = visit.client.socket.send(Message::text(frame.to_string())).await;
    }

    /// Subscribes to what is not followed.
    async fn ask(&mut self, visit: &mut Visit, ahead: bool) {
        for (word, topic) in self.topics.iter_mut().filter(|(_, topic)| topic.mode == Mode::Off) {
            visit.asked.push_back(word.clone());
            topic.mode = if ahead { Mode::AskedAhead } else { Mode::Asked };
            let mut frame = json!({"type": "subscribe", "topics": [word]});
            if !ahead {
                (frame["after"], frame["epoch"]) = (topic.last().into(), visit.epoch.clone());
            }
            Self::say(visit, frame).await;
        }
    }

    /// Asks for what lies between; not while an answer is awaited. Answers whether it did.
    async fn rewind(&mut self, visit: &mut Visit, tally: &Tally) -> bool {
        if !visit.asked.is_empty() {
            return false;
        }
        for (word, topic) in self.topics.iter_mut().filter(|(_, topic)| topic.mode == Mode::Ahead) {
            count(&tally.rewound);
            visit.asked.push_back(word.clone());
            topic.mode = Mode::Rewinding;
            let after = topic.last();
            Self::say(visit, json!({"type": "subscribe", "topics": [word], "after": after, "epoch": visit.epoch}))
                .await;
        }
        true
    }

    fn take(&mut self, visit: &mut Visit, frame: &Value, tally: &Tally) {
        let text = |name: &str| frame[name].as_str().unwrap_or_default().to_owned();
        let names: Vec<String> =
            frame["topics"].as_array().into_iter().flatten().map(|name| name.as_str().unwrap().to_owned()).collect();
        match text("type").as_str() {
            "event" => self.event(visit, frame),
            "notice" => {}
            "pong" => visit.pongs += 1,
            "subscribed" => {
                let word = visit.asked.pop_front().unwrap();
                let topic = self.topics.get_mut(&word).unwrap();
                topic.mode = if topic.mode == Mode::AskedAhead { Mode::Ahead } else { Mode::Whole };
                assert_eq!(names.len(), 1, "{frame}");
                visit.names.insert(names[0].clone(), word);
            }
            "revoked" => {
                count(&tally.revoked);
                for name in names {
                    let word = visit.names.remove(&name).unwrap_or_else(|| self.fail(&format!("{frame}")));
                    let topic = self.topics.get_mut(&word).unwrap();
                    topic.off();
                    if visit.asked.contains(&word) {
                        topic.mode = Mode::Asked;
                    }
                }
            }
            "error" if frame["code"] == "forbidden" && self.person.is_some() => {
                count(&tally.refused);
                let word = visit.asked.pop_front().unwrap();
                assert_eq!(frame["topic"], *word);
                self.topics.get_mut(&word).unwrap().off();
            }
            "error" if frame["code"] == "not_ready" => visit.put_off = true,
            _ => self.fail(&format!("{frame}")),
        }
    }

    fn event(&mut self, visit: &Visit, frame: &Value) {
        let text = |name: &str| frame[name].as_str().unwrap().to_owned();
        let Some(word) = visit.names.get(&text("topic")) else { self.fail(&format!("nobody follows this: {frame}")) };
        let seq = frame["seq"].as_i64().unwrap();
        let allowed: &[&str] = match word.split_once(':') {
            None if word == "users" => &["id", "clerk_id", "display_name", "image_url", "status", "rev"],
            Some(("org", _)) if !text("event").starts_with("organization.") => {
                &["id", "clerk_id", "display_name", "image_url", "role"]
            }
            _ => &[],
        };
        let data = frame["data"].as_object().unwrap();
        let more = data.keys().find(|name| !allowed.is_empty() && !allowed.contains(&name.as_str()));
        if more.is_some() || data.contains_key("private_metadata") {
            self.fail(&format!("too much is told on {word}: {frame}"));
        }
        if let Err(wrong) = self.topics.get_mut(word).unwrap().take(seq) {
            self.fail(&format!("{word}: {wrong}"));
        }
        self.facts.insert(seq, (text("event"), text("subject")));
    }

    /// Takes what is on its way still: up to the answer to a ping.
    async fn rest(&mut self, visit: &mut Visit, tally: &Tally) -> bool {
        let pongs = visit.pongs;
        Self::say(visit, json!({"type": "ping"})).await;
        while visit.pongs == pongs {
            match visit.client.hear().await {
                Heard::Frame(frame) => self.take(visit, &frame, tally),
                _ => return false,
            }
        }
        true
    }
}
