//! The public stream in Redis: `{prefix}:changes`, an entry a change, whose id is `{seq}-0`. Other services read it.
//!
//! Beside it stands its record, `{prefix}:changes:record`: of which numbering the entries are, and up to which change they
//! go. Whatever is written is written by one script that compares the record first, so entries and record agree, nothing
//! is written twice, and nothing is passed over unseen:
//! - A writer that does not know the record as it stands writes nothing.
//! - Redis takes no id that is not above the newest one. With the record as it should be, such an id means that somebody
//!   else has written into the stream ([`Added::Foreign`]).
//! - An erasure changes the record's last word ([`Stream::turn`]). So a page that was read before it is not written after it.

mod erasing;
mod record;

use std::{fmt, sync::Arc};

use redis::{Script, ScriptInvocation};

pub use self::{
    erasing::Named,
    record::{Mark, Record},
};
use super::link::{Link, LinkError};
use crate::config;

/// ARGV: the record as it should stand, the next one, how many entries to keep, `1` to begin anew, the epoch; then id,
/// event, subject, effects and frame of each entry. Answers what became of it, and the record that stands now.
///
/// A stream that nothing was ever added to stays where it begins anew: a consumer may have made it for its group.
const ADD: &str = "
local held = redis.call('GET', KEYS[2]) or ''
if held ~= ARGV[1] then return {'moved', held} end
if ARGV[4] == '1' then
  local info = redis.pcall('XINFO', 'STREAM', KEYS[1])
  for i = 1, #info, 2 do
    if info[i] == 'last-generated-id' and info[i + 1] ~= '0-0' then redis.call('UNLINK', KEYS[1]) end
  end
end
for i = 6, #ARGV, 5 do
  local added = redis.pcall('XADD', KEYS[1], ARGV[i], 'event', ARGV[i + 1], 'subject', ARGV[i + 2],
    'effects', ARGV[i + 3], 'epoch', ARGV[5], 'frame', ARGV[i + 4])
  if type(added) == 'table' and added.err then
    if string.find(added.err, 'equal or smaller', 1, true) then return {'foreign', held} end
    return added
  end
end
redis.call('XTRIM', KEYS[1], 'MAXLEN', '~', ARGV[3])
redis.call('SET', KEYS[2], ARGV[2])
return {'added', ARGV[2]}";

/// An entry. `Debug` shows no frame: it tells of people.
#[derive(Clone)]
#[expect(missing_docs, reason = "the names are the fields'")]
pub struct Item {
    pub seq: i64,
    pub event: String,
    pub subject: String,
    pub effects: String,
    pub frame: String,
}

/// What became of entries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Added {
    /// They are in the stream, and this is its record now.
    All(Record),
    /// Nothing was written: the record is another one.
    Moved,
    /// Nothing was written: the stream holds ids of somebody else's.
    Foreign,
}

/// The stream. Cheap to clone; all clones share one connection, which is not the cache's.
#[derive(Clone)]
pub struct Stream(Arc<Shared>);

struct Shared {
    link: Link,
    key: String,
    record: String,
    max_len: u64,
    add: Script,
    turn: Script,
    find: Script,
}

impl Stream {
    /// Connects on first use; call it within a Tokio runtime.
    ///
    /// # Errors
    /// [`LinkError::Address`].
    pub fn new(redis: &config::Redis, stream: &config::Stream) -> Result<Self, LinkError> {
        let key = format!("{}:changes", redis.prefix);
        let record = format!("{key}:record");
        let [add, turn, find] = [ADD, erasing::TURN, erasing::FIND].map(Script::new);
        let link = Link::new(redis.url.expose())?;
        Ok(Self(Arc::new(Shared { link, key, record, max_len: stream.max_len, add, turn, find })))
    }

    /// The record as it stands.
    ///
    /// # Errors
    /// When Redis cannot answer.
    pub async fn record(&self) -> Result<Record, LinkError> {
        let mut get = redis::cmd("GET");
        get.arg(&self.0.record);
        let held: Option<String> = self.send(&get).await?;
        Ok(Record::from(held.unwrap_or_default()))
    }

    /// Adds entries in their order, where `record` is what stands, and makes it `next`; with `anew` after removing
    /// whatever was there, consumer groups included. In one round trip; how many bytes is the caller's to bound.
    ///
    /// # Errors
    /// When Redis cannot answer; then all of them may have been added, or none.
    pub async fn add(
        &self,
        record: &Record,
        next: &Record,
        epoch: &str,
        items: &[Item],
        anew: bool,
    ) -> Result<Added, LinkError> {
        let mut call = self.0.add.key(&self.0.key);
        call.key(&self.0.record);
        call.arg(record.as_str()).arg(next.as_str()).arg(self.0.max_len).arg(u8::from(anew)).arg(epoch);
        for Item { seq, event, subject, effects, frame } in items {
            call.arg(format!("{seq}-0")).arg(event).arg(subject).arg(effects).arg(frame);
        }
        let (what, held): (String, String) = self.run(&call).await?;
        match what.as_str() {
            "added" => Ok(Added::All(held.into())),
            "moved" => Ok(Added::Moved),
            _ => Ok(Added::Foreign),
        }
    }

    /// Whether Redis answers.
    ///
    /// # Errors
    /// When it does not.
    pub async fn ping(&self) -> Result<(), LinkError> {
        self.send(&redis::cmd("PING")).await
    }

    async fn run<T: redis::FromRedisValue>(&self, call: &ScriptInvocation<'_>) -> Result<T, LinkError> {
        self.0.link.ask(|mut link| async move { call.invoke_async(&mut link).await }).await
    }

    async fn send<T: redis::FromRedisValue>(&self, call: &redis::Cmd) -> Result<T, LinkError> {
        self.0.link.ask(|mut link| async move { call.query_async(&mut link).await }).await
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream").field("key", &self.0.key).finish_non_exhaustive()
    }
}

impl fmt::Debug for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Item").field("seq", &self.seq).field("event", &self.event).finish_non_exhaustive()
    }
}
