//! The cache in Redis, shared by all replicas.
//!
//! A key's value is one text: a letter (`P` present row, `D` deleted, `L` lease), 19 digits (the rev; of a lease the
//! highest rev that was offered and is not stored), then of a row or deletion 19 digits (the seq as of which it is known
//! to be current) and the JSON, of a lease its token. Seqs are compared as texts of equal length, because a number in Lua
//! loses digits beyond 2^53.
//!
//! Versions before the second number wrote `R` and `G`. During a rolling update each version reads the other's entries as
//! foreign and takes their place; both compare revs at the same position.
//!
//! Invariant: every decision that depends on what stands under a key is one script, so it is atomic.

use std::{fmt, ops::Range, sync::Arc, time::Duration};

use redis::{Cmd, FromRedisValue, Script, ScriptInvocation};
use uuid::Uuid;

use super::{CacheError, Entry, Json, LEASE, Lease, Lookup, MARKER, Watermarks, row_life, through::Flights};
use crate::{
    backends::link::{Link, LinkError},
    clock::Clock,
    config,
};

/// How many keys one step of `clear` looks at, about.
const STEP: usize = 500;

/// ARGV: a lease as it is to be stored, its lifetime. Answers what stands there, which is that lease where nothing did.
const LOOK: &str = "
local held = redis.call('GET', KEYS[1])
if held and string.find(held, '^[PDL]') then return held end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return ARGV[1]";

/// ARGV: token, lifetime of a row, the row as it is to be stored (any letter but `P`: there is none). Answers 1 if taken.
const FILL: &str = "
local held = redis.call('GETRANGE', KEYS[1], 0, 51)
local kind, stored, known = string.sub(held, 1, 1), string.sub(held, 2, 20), string.sub(held, 21, 39)
local value, none = ARGV[3], string.sub(ARGV[3], 1, 1) ~= 'P'
local rev, as_of = string.sub(value, 2, 20), string.sub(value, 21, 39)
local taken = false
if kind == 'P' then
  taken = rev >= stored
elseif kind == 'D' then
  taken = rev > stored or (rev == stored and none)
elseif kind == 'L' then
  taken = string.sub(held, 21) == ARGV[1] and rev >= stored
end
if (kind == 'P' or kind == 'D') and rev == stored and known > as_of then
  as_of = known
  value = string.sub(value, 1, 20) .. as_of .. string.sub(value, 40)
end
if taken and not none then
  redis.call('SET', KEYS[1], value, 'PX', ARGV[2])
elseif taken and kind == 'P' then
  redis.call('UNLINK', KEYS[1])
elseif kind == 'L' and rev > stored then
  -- Not stored, but nothing older is from now on.
  redis.call('SETRANGE', KEYS[1], 1, rev)
elseif kind == 'D' and taken then
  redis.call('SETRANGE', KEYS[1], 1, rev .. as_of)
end
return taken and 1 or 0";

/// ARGV: lifetime of a row, lifetime of a marker, then what to store under each key. Answers 1 or 0 for each.
const WRITE: &str = "
local taken = {}
for i, key in ipairs(KEYS) do
  local value = ARGV[i + 2]
  local kind, rev, as_of = string.sub(value, 1, 1), string.sub(value, 2, 20), string.sub(value, 21, 39)
  local head = redis.call('GETRANGE', key, 0, 38)
  local was, stored, known = string.sub(head, 1, 1), string.sub(head, 2, 20), string.sub(head, 21)
  if head == '' or rev > stored or (rev == stored and not (kind == 'P' and was == 'D')) then
    if (was == 'P' or was == 'D') and rev == stored and known > as_of then
      value = string.sub(value, 1, 20) .. known .. string.sub(value, 40)
    end
    redis.call('SET', key, value, 'PX', kind == 'P' and ARGV[1] or ARGV[2])
    taken[i] = 1
  else
    taken[i] = 0
  end
end
return taken";

/// The cache in Redis. Cheap to clone; all clones share one connection.
#[derive(Clone)]
pub struct Redis(Arc<Shared>);

struct Shared {
    link: Link,
    prefix: String,
    ttl: Duration,
    clock: Clock,
    flights: Flights,
    watermarks: Watermarks,
    look: Script,
    fill: Script,
    write: Script,
}

impl Redis {
    pub(super) fn new(cache: &config::Cache, redis: &config::Redis, clock: Clock) -> Result<Self, CacheError> {
        let link = Link::new(redis.url.expose())?;
        // The public stream shares the prefix; `clear` must not reach it.
        let prefix = format!("{}:cache:", redis.prefix);
        let (ttl, flights, watermarks) = (row_life(cache), Flights::default(), Watermarks::default());
        let [look, fill, write] = [LOOK, FILL, WRITE].map(Script::new);
        Ok(Self(Arc::new(Shared { link, prefix, ttl, clock, flights, watermarks, look, fill, write })))
    }

    pub(super) async fn get(&self, key: &str) -> Result<Lookup, CacheError> {
        let lease = head('L', 0) + &self.0.clock.new_id().simple().to_string();
        let mut call = self.0.look.key(self.key(key));
        call.arg(lease).arg(millis(LEASE));
        let held: String = self.run(&call).await?;
        self.answer(key, &held).ok_or_else(|| CacheError::Failed("an entry is not ours".to_owned()))
    }

    pub(super) async fn fill(&self, lease: &Lease, rev: i64, json: Option<Json>) -> Result<bool, CacheError> {
        let life = lease.left(self.0.ttl, self.0.clock.now());
        let as_of = lease.as_of.max(rev);
        let value = json.map_or_else(|| state('-', rev, as_of), |json| state('P', rev, as_of) + &json);
        let mut call = self.0.fill.key(self.key(&lease.key));
        call.arg(lease.token.simple().to_string()).arg(millis(life)).arg(value);
        self.run(&call).await
    }

    pub(super) async fn write(&self, entries: &[Entry]) -> Result<Vec<bool>, CacheError> {
        let mut call = self.0.write.arg(millis(self.0.ttl));
        call.arg(millis(MARKER));
        for Entry { key, rev, json } in entries {
            call.key(self.key(key));
            call.arg(json.as_ref().map_or_else(|| state('D', *rev, *rev), |json| state('P', *rev, *rev) + json));
        }
        self.run(&call).await
    }

    pub(super) async fn evict(&self, key: &str) -> Result<(), CacheError> {
        let mut call = redis::cmd("UNLINK");
        call.arg(self.key(key));
        self.send(&call).await
    }

    pub(super) async fn clear(&self) -> Result<(), CacheError> {
        let pattern = literal(&self.0.prefix) + "*";
        let mut cursor = 0_u64;
        loop {
            let mut scan = redis::cmd("SCAN");
            scan.arg(cursor).arg("MATCH").arg(&pattern).arg("COUNT").arg(STEP);
            let (next, keys): (u64, Vec<Vec<u8>>) = self.send(&scan).await?;
            if !keys.is_empty() {
                let mut unlink = redis::cmd("UNLINK");
                unlink.arg(keys);
                self.send::<()>(&unlink).await?;
            }
            if next == 0 {
                return Ok(());
            }
            cursor = next;
        }
    }

    pub(super) async fn ping(&self) -> Result<(), CacheError> {
        self.send(&redis::cmd("PING")).await
    }

    /// What it tells of itself, a `name:value` a line; a server may keep it to itself.
    pub(super) async fn info(&self) -> Result<String, CacheError> {
        self.send(&redis::cmd("INFO")).await
    }

    pub(super) fn flights(&self) -> &Flights {
        &self.0.flights
    }

    pub(super) fn watermarks(&self) -> &Watermarks {
        &self.0.watermarks
    }

    fn answer(&self, key: &str, held: &str) -> Option<Lookup> {
        let number = |range: Range<usize>| held.get(range)?.parse::<i64>().ok();
        let lease = |token| Lease::new(key, token, &self.0.clock, &self.0.watermarks);
        let rev = number(1..20)?;
        let kind = held.get(..1)?;
        if kind == "L" {
            return Some(Lookup::Miss(lease(Uuid::try_parse(held.get(20..)?).ok()?)));
        }
        let stale = number(20..39)? < self.0.watermarks.required(key);
        match kind {
            "P" if stale => Some(Lookup::Stale(lease(Uuid::nil()))),
            "D" if stale => Some(Lookup::Miss(lease(Uuid::nil()))),
            "P" => Some(Lookup::Hit { rev, json: held.get(39..)?.into() }),
            "D" => Some(Lookup::Gone { rev }),
            _ => None,
        }
    }

    async fn run<T: FromRedisValue>(&self, call: &ScriptInvocation<'_>) -> Result<T, CacheError> {
        Ok(self.0.link.ask(|mut link| async move { call.invoke_async(&mut link).await }).await?)
    }

    async fn send<T: FromRedisValue>(&self, call: &Cmd) -> Result<T, CacheError> {
        Ok(self.0.link.ask(|mut link| async move { call.query_async(&mut link).await }).await?)
    }

    fn key(&self, key: &str) -> String {
        format!("{}{key}", self.0.prefix)
    }
}

impl From<LinkError> for CacheError {
    fn from(error: LinkError) -> Self {
        match error {
            LinkError::Address => Self::Address,
            LinkError::Unavailable => Self::Unavailable,
            LinkError::TimedOut => Self::TimedOut,
            LinkError::Failed(what) => Self::Failed(what),
        }
    }
}

impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redis").field("prefix", &self.0.prefix).finish_non_exhaustive()
    }
}

fn head(kind: char, rev: i64) -> String {
    format!("{kind}{:019}", rev.max(0))
}

/// The head of a row or a deletion.
fn state(kind: char, rev: i64, as_of: i64) -> String {
    format!("{}{:019}", head(kind, rev), as_of.max(0))
}

/// A pattern for SCAN that matches `text` and nothing else.
fn literal(text: &str) -> String {
    text.chars().flat_map(|c| [matches!(c, '*' | '?' | '[' | ']' | '\\').then_some('\\'), Some(c)]).flatten().collect()
}

/// For PX, which refuses 0 and what no clock reaches.
fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX).clamp(1, 1 << 42)
}

#[cfg(test)]
mod tests {
    use super::literal;

    #[test]
    fn a_prefix_is_no_pattern() {
        assert_eq!(literal(r"a*b[c]\?"), r"a\*b\[c\]\\\?");
    }
}
