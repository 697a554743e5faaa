//! What operators see of the service as a whole, whichever replica they ask: read from the database when asked, at a
//! cost that does not grow with the tables. Counts stop at [`CAP`].

use entity::inbox::PARKED;
use metrics::{Unit, describe_gauge, gauge};
use metrics_exporter_prometheus::PrometheusBuilder;
use sea_orm::{ConnectionTrait, DbBackend, DbErr, FromQueryResult};

use crate::{
    clock::Time,
    db::{Db, Stmt},
};

use super::metrics::{QUEUE_OLDEST, QUEUE_ROWS, SINK_LAG, SINKS};

/// Nothing is counted further than this: "very many" is all that a number beyond it would say.
pub const CAP: i64 = 100_000;

/// The states in which an inbox row is somebody's business, each with the partial index that knows it.
const STATES: [(&str, &str); 6] = [
    ("pending", ""),
    ("rejected", PARKED),
    ("conflict", PARKED),
    ("waiting", PARKED),
    ("held", PARKED),
    ("dead", PARKED),
];

/// The queues at one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct Queues {
    /// Queue, state, rows (at most [`CAP`]).
    pub rows: Vec<(&'static str, &'static str, i64)>,
    /// How long the most overdue pending event has been due, in seconds; 0 if none is.
    pub oldest_seconds: f64,
    /// The highest seq of the change feed.
    pub head: i64,
    /// Each sink's cursor.
    pub sinks: Vec<Sink>,
}

/// How far a sink has got.
#[derive(Debug, Clone, PartialEq, Eq, FromQueryResult)]
pub struct Sink {
    /// Its name.
    pub sink: String,
    /// Everything up to here is delivered.
    pub seq: i64,
}

impl Queues {
    /// Reads them: five statements, each over an index or a small table.
    ///
    /// # Errors
    /// What the database says; it is given two seconds for each.
    pub async fn read(db: &Db, now: Time) -> Result<Self, DbErr> {
        let tx = db.begin_read().await?;
        if db.backend() == DbBackend::Postgres {
            // Statistics taken in a busy moment must not turn "none is pending" into a scan of everything.
            tx.execute_unprepared("set local statement_timeout = '2s'; set local enable_seqscan = off").await?;
        }
        let mut rows = inbox(&tx).await?;
        let letters =
            Stmt::new(&tx, "select count(*) as n from (select state from clerk_sync.dead_letters limit ").val(CAP);
        rows.push(("dead_letters", "open", number(&tx, letters.sql(") l where state = 'open'")).await?));
        let oldest_seconds = oldest(&tx, now).await?;
        let head = number(&tx, Stmt::new(&tx, "select coalesce(max(seq), 0) as n from clerk_sync.outbox")).await?;
        let sinks = Stmt::new(&tx, "select sink, seq from clerk_sync.sink_cursors order by sink").all_as(&tx).await?;
        tx.commit().await?;
        Ok(Self { rows, oldest_seconds, head, sinks })
    }

    /// As Prometheus text, from a recorder of its own: a sink that is gone leaves no series behind.
    pub fn render(&self) -> String {
        let recorder = PrometheusBuilder::new().build_recorder();
        metrics::with_local_recorder(&recorder, || {
            describe_gauge!(QUEUE_ROWS, Unit::Count, "Rows that somebody or something has yet to deal with.");
            describe_gauge!(QUEUE_OLDEST, Unit::Seconds, "How long the most overdue row has been due.");
            describe_gauge!(SINK_LAG, Unit::Count, "Changes that a sink has not taken yet.");
            for (queue, state, rows) in &self.rows {
                gauge!(QUEUE_ROWS, "queue" => *queue, "state" => *state).set(*rows as f64);
            }
            gauge!(QUEUE_OLDEST, "queue" => "inbox").set(self.oldest_seconds);
            SINKS.into_iter().for_each(|sink| gauge!(SINK_LAG, "sink" => sink).set(0.0));
            for Sink { sink, seq } in &self.sinks {
                gauge!(SINK_LAG, "sink" => sink.clone()).set((self.head - seq).max(0) as f64);
            }
        });
        recorder.handle().render()
    }
}

async fn inbox(tx: &impl ConnectionTrait) -> Result<Vec<(&'static str, &'static str, i64)>, DbErr> {
    let mut select = Stmt::new(tx, "");
    for (index, (state, condition)) in STATES.iter().enumerate() {
        let union = if index > 0 { " union all " } else { "" };
        let and = if condition.is_empty() { "" } else { " and " };
        let one = format!(
            "{union}select '{state}' as state, count(*) as n from
                (select 1 as one from clerk_sync.inbox where state = '{state}'{and}{condition} limit {CAP}) {state}_rows"
        );
        select = select.sql(&one);
    }
    let found = select.all(tx).await?;
    let mut rows: Vec<_> = STATES.map(|(state, _)| ("inbox", state, 0)).to_vec();
    for row in &found {
        let (state, n): (String, i64) = (row.try_get("", "state")?, row.try_get("", "n")?);
        rows.iter_mut().filter(|(_, known, _)| *known == state).for_each(|entry| entry.2 = n);
    }
    Ok(rows)
}

async fn number(tx: &impl ConnectionTrait, select: Stmt) -> Result<i64, DbErr> {
    let rows = select.all(tx).await?;
    rows.first().map_or(Ok(0), |row| row.try_get("", "n"))
}

/// Returns the seq of the event that has been due for longest, if one is due.
///
/// # Errors
/// What the database says; it is given two seconds.
pub async fn oldest_due(db: &Db, now: Time) -> Result<Option<i64>, DbErr> {
    let tx = db.begin_read().await?;
    if db.backend() == DbBackend::Postgres {
        tx.execute_unprepared("set local statement_timeout = '2s'; set local enable_seqscan = off").await?;
    }
    let due = Stmt::new(&tx, "select seq from inbox where state = 'pending' and available_at <= ").val(now);
    let rows = due.sql(" order by available_at, seq limit 1").all(&tx).await?;
    tx.commit().await?;
    rows.first().map(|row| row.try_get("", "seq")).transpose()
}

async fn oldest(tx: &impl ConnectionTrait, now: Time) -> Result<f64, DbErr> {
    let rows =
        Stmt::new(tx, "select min(available_at) as due from clerk_sync.inbox where state = 'pending'").all(tx).await?;
    let due: Option<Time> = rows.first().map_or(Ok(None), |row| row.try_get("", "due"))?;
    Ok(due.map_or(0.0, |due| (now - due).to_std().unwrap_or_default().as_secs_f64()))
}
