//! What an erasure does with the stream: finds the entries that name people, and removes them.

use super::{LinkError, Stream};

/// ARGV: a word that no record has had. Changes the record, if there is one.
pub(super) const TURN: &str = "
local held = redis.call('GET', KEYS[1])
if held then redis.call('SET', KEYS[1], (string.gsub(held, '%S+$', ARGV[1]))) end
return 1";

/// ARGV: after which id, how many entries to look at, then Clerk's ids of people. Answers the last id that was looked at
/// (empty: there is nothing more), and id and frame of those whose subject is one of the people or their membership.
pub(super) const FIND: &str = "
local wanted = {}
for i = 3, #ARGV do wanted[ARGV[i]] = true end
local last, found = '', {}
for _, entry in ipairs(redis.call('XRANGE', KEYS[1], ARGV[1], '+', 'COUNT', ARGV[2])) do
  last = entry[1]
  local subject, frame = '', ''
  for i = 1, #entry[2], 2 do
    if entry[2][i] == 'subject' then subject = entry[2][i + 1] end
    if entry[2][i] == 'frame' then frame = entry[2][i + 1] end
  end
  if wanted[subject] or wanted[string.match(subject, '/([^/]*)$') or ''] then
    found[#found + 1] = {entry[1], frame}
  end
end
return {last, found}";

/// Entries looked at by one script.
const WINDOW: usize = 1_000;

/// A part of the stream that was looked through.
#[derive(Debug)]
pub struct Named {
    /// Where the next part begins; `None`: there is none.
    pub next: Option<String>,
    /// Ids and frames of the entries that name somebody.
    pub entries: Vec<(String, String)>,
}

impl Stream {
    /// From now on nothing is added of what was read before; `word` is a new one.
    ///
    /// # Errors
    /// When Redis cannot answer.
    pub async fn turn(&self, word: &str) -> Result<(), LinkError> {
        let mut call = self.0.turn.key(&self.0.record);
        call.arg(word);
        self.run(&call).await
    }

    /// Of the part that begins at `from`, the entries about these people (by Clerk's ids) and their memberships.
    ///
    /// # Errors
    /// When Redis cannot answer.
    pub async fn naming(&self, from: Option<&str>, people: &[&str]) -> Result<Named, LinkError> {
        let mut call = self.0.find.key(&self.0.key);
        call.arg(from.unwrap_or("-")).arg(WINDOW);
        for id in people {
            call.arg(*id);
        }
        let (last, entries): (String, Vec<(String, String)>) = self.run(&call).await?;
        Ok(Named { next: (!last.is_empty()).then(|| format!("({last}")), entries })
    }

    /// Removes entries.
    ///
    /// # Errors
    /// When Redis cannot answer.
    pub async fn remove(&self, ids: &[String]) -> Result<(), LinkError> {
        let mut call = redis::cmd("XDEL");
        call.arg(&self.0.key).arg(ids);
        self.send(&call).await
    }
}
