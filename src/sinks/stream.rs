//! The public stream: every change of people and organisations, as `/v1/changes` gives it to a service that may read.
//!
//! A change is in it once, in order, whatever becomes of us or of Redis. How far it goes is told by its own record
//! ([`Stream`]), not by the cursor: the cursor only says from where on we look. While the two agree, a page is one round
//! trip. Where they do not, the rows from the record on are read again, after the record was: what the stream has is left
//! out, what it lacks is filled in from the feed (a Redis that came back without its last minutes). It begins anew, and
//! its consumer groups are gone, where
//! - there is no record: a new Redis, or one that lost everything;
//! - the changes are numbered anew: another epoch, or the feed is older than the stream, as after a restored backup;
//! - what it lacks is no longer kept: nobody may take what follows a hole for the next change.
//!
//! Nothing is ever refused for good: Redis takes any text.

use std::sync::{Arc, Mutex, PoisonError};

use sea_orm::DbErr;

use crate::{
    backends::stream::{Added, Item, Mark, Record, Stream},
    db::Db,
    json::object_text,
    meta,
    outbox::{
        feed::{self, Entry},
        relay::{Refused, Sink, Transient},
    },
};

/// Its cursor's name.
const NAME: &str = "stream:redis";

/// What it carries. Nothing of operators, nothing internal.
const TOPICS: [&str; 2] = ["users", "organizations"];

/// Bytes of frames that one script adds, about: Redis does nothing else meanwhile.
const BYTES: usize = 256 * 1024;

/// Rows read at a time where the stream lacks some.
const PAGE: u32 = 500;

/// How often the record may turn out to be another one; then another process feeds the stream.
const ATTEMPTS: usize = 3;

/// Feeds the stream.
#[derive(Debug, Clone)]
pub struct StreamSink {
    /// Where the changes are.
    pub db: Db,
    /// Where they go.
    pub stream: Stream,
    fields: Arc<[String]>,
    /// The record as this process has written it; what is handed over next was read after that.
    known: Arc<Mutex<Option<Record>>>,
}

/// Where the stream goes on.
#[derive(Debug, PartialEq, Eq)]
enum Start {
    /// After this change.
    After(i64),
    /// From the beginning: why.
    Anew(&'static str),
}

impl StreamSink {
    /// `fields` are what lists carry of a person.
    pub fn new(db: Db, stream: Stream, fields: &[String]) -> Self {
        Self { db, stream, fields: fields.into(), known: Arc::default() }
    }
}

impl Sink for StreamSink {
    fn name(&self) -> &'static str {
        NAME
    }

    fn takes(&self, entry: &Entry) -> bool {
        TOPICS.contains(&entry.topic.as_str())
    }

    async fn deliver(&self, entries: &[Entry]) -> Result<Vec<Refused>, Transient> {
        let (Some(first), Some(last)) = (entries.first(), entries.last()) else { return Ok(Vec::new()) };
        // The one that holds now: a process keeps the one that it has read when it started.
        let epoch = meta::epoch(&self.db).await.map_err(database)?;
        let known = self.know(None);
        let follows = |mark: &Mark| mark.epoch == epoch && mark.seq + 1 == first.seq;
        if let Some(record) = known.filter(|record| record.mark().as_ref().is_some_and(follows))
            && self.add(record, &epoch, entries, false).await?.is_some()
        {
            return Ok(Vec::new());
        }
        self.mend(&epoch, first.seq, last.seq).await?;
        Ok(Vec::new())
    }
}

impl StreamSink {
    /// Brings the stream up to `last`, of a page that begins with `first`.
    async fn mend(&self, epoch: &str, first: i64, last: i64) -> Result<(), Transient> {
        for _ in 0..ATTEMPTS {
            let record = self.stream.record().await.map_err(|error| Transient::from(error.to_string()))?;
            let (after, anew) = match self.judge(&record, epoch).await.map_err(database)? {
                Start::After(seq) => (seq, false),
                Start::Anew(why) => {
                    if record.is_none() {
                        tracing::info!(sink = NAME, after = first - 1, "the stream begins");
                    } else {
                        tracing::warn!(sink = NAME, why, "the stream begins anew; its consumer groups are gone");
                    }
                    (first - 1, true)
                }
            };
            if self.fill(record, epoch, after, last, anew).await? {
                return Ok(());
            }
        }
        Err("another process feeds the stream".into())
    }

    /// Where the stream with this record goes on.
    async fn judge(&self, record: &Record, epoch: &str) -> Result<Start, DbErr> {
        let Some(Mark { epoch: of, seq, made_at }) = record.mark() else {
            return Ok(Start::Anew("its record is missing, or not ours"));
        };
        if of != epoch {
            return Ok(Start::Anew("another epoch"));
        }
        match feed::at(&self.db.read, seq).await? {
            Some(row) if row.created_at.timestamp_millis() == made_at => return Ok(Start::After(seq)),
            Some(_) => return Ok(Start::Anew("its changes have other numbers now; run `clerk-sync epoch renew`")),
            None => {}
        }
        let (oldest, head) = feed::bounds(&self.db.read).await?;
        Ok(match seq {
            seq if seq > head => {
                Start::Anew("it is ahead of the feed: was a backup restored? run `clerk-sync epoch renew`")
            }
            seq if seq + 1 == oldest => Start::After(seq),
            _ => Start::Anew("what it lacks is no longer kept"),
        })
    }

    /// Adds the rows after `after` and up to `last`, read after the record was. Answers false if the record is another
    /// one by now.
    async fn fill(
        &self,
        mut record: Record,
        epoch: &str,
        mut after: i64,
        last: i64,
        mut anew: bool,
    ) -> Result<bool, Transient> {
        while after < last {
            let mut rows = feed::read(&self.db.read, after, PAGE).await.map_err(database)?;
            rows.retain(|row| row.seq <= last);
            let Some(end) = rows.last().map(|row| row.seq) else { break };
            let Some(next) = self.add(record, epoch, &rows, anew).await? else { return Ok(false) };
            (record, after, anew) = (next, end, false);
        }
        self.know(Some(record));
        Ok(true)
    }

    /// Adds what is for the stream, in order; answers the record after that, or nothing if it is another one by now.
    async fn add(
        &self,
        mut record: Record,
        epoch: &str,
        entries: &[Entry],
        mut anew: bool,
    ) -> Result<Option<Record>, Transient> {
        for part in parts(entries) {
            let Some(last) = part.last() else { break };
            let items: Vec<Item> =
                part.iter().filter(|entry| self.takes(entry)).map(|entry| self.item(entry)).collect();
            let made_at = last.created_at.timestamp_millis();
            let next = record.next(&Mark { epoch: epoch.to_owned(), seq: last.seq, made_at });
            let added = self.stream.add(&record, &next, epoch, &items, anew).await;
            match added.map_err(|error| Transient::from(error.to_string()))? {
                Added::All(now) => (record, anew) = (now, false),
                Added::Moved => return Ok(None),
                Added::Foreign => {
                    return Err("the stream holds ids that are not ours: somebody else writes into it. Remove it, or set another redis.prefix".into());
                }
            }
            self.know(Some(record.clone()));
        }
        Ok(Some(record))
    }

    fn item(&self, entry: &Entry) -> Item {
        Item {
            seq: entry.seq,
            event: entry.event.clone(),
            subject: entry.subject.clone(),
            effects: entry.effects.clone(),
            frame: object_text(&entry.frame(&entry.topic, &self.fields)),
        }
    }

    /// Notes a record, if one is given; answers the one that was noted before.
    fn know(&self, record: Option<Record>) -> Option<Record> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        match record {
            Some(record) => known.replace(record),
            None => known.clone(),
        }
    }
}

fn database(_: DbErr) -> Transient {
    "the database does not answer".into()
}

/// Runs of entries whose payloads have about as many bytes as one script may add; at least one entry each.
fn parts(entries: &[Entry]) -> impl Iterator<Item = &[Entry]> {
    let mut weight = 0;
    entries.chunk_by(move |entry, _| {
        weight += entry.payload.len();
        let more = weight < BYTES;
        if !more {
            weight = 0;
        }
        more
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::clock;

    #[test]
    fn a_page_is_cut_where_it_is_heavy() {
        let entry = |seq: i64, size: usize| Entry {
            seq,
            event: "user.updated".into(),
            topic: "users".into(),
            subject: "user_1".into(),
            routing: json!([]).into(),
            payload: json!("x".repeat(size)).into(),
            changed: json!([]).into(),
            effects: "all".into(),
            correlation_id: None,
            occurred_at: None,
            created_at: clock::from_millis(0).unwrap(),
        };
        let cut = |sizes: &[usize]| {
            let entries: Vec<_> = (1..).zip(sizes).map(|(seq, size)| entry(seq, *size)).collect();
            parts(&entries).map(<[Entry]>::len).collect::<Vec<_>>()
        };
        assert_eq!(cut(&[]), [0; 0]);
        assert_eq!(cut(&[1, 1, 1]), [3]);
        assert_eq!(cut(&[BYTES, 1, BYTES, 1]), [1, 2, 1]);
        assert_eq!(cut(&[BYTES / 2; 5]), [2, 2, 1]);
    }
}
