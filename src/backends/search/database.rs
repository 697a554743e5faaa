//! Search in the database: pg_trgm on Postgres, an FTS5 trigram table on SQLite, which triggers keep in step
//! with `search_users` within every statement that writes it.
//!
//! Invariants:
//! - A row is never written below its `rev`. A deleted person stays as a row without text that only carries the
//!   `rev`, so that what comes late finds nobody to bring back; a rebuild leaves such rows behind.
//! - Every write goes to all generations there are: the live one and one being built, so that a rebuild misses nothing.
//! - Readers see the live generation only.

mod rebuild;

use std::{collections::BTreeMap, sync::Arc};

use sea_orm::{ConnectionTrait as _, DbBackend, DbErr, FromQueryResult};
use uuid::Uuid;

pub(super) use rebuild::Rebuild;

use super::{
    Doc, SearchError, patterns, rank,
    split::Split,
    typos::{self, Reading},
    words,
};
use crate::db::{Cell, Col, Db, Rows, Stmt, Type, is_data_error};

/// Documents taken from the index and put in order for one search.
const CANDIDATES: i64 = 400;
/// … and of these at most so many for one reading of the query.
const PER_READING: i64 = 200;
/// Rows that FTS5 names for one reading and that are looked at. Only a slip near the end of an unfinished word
/// names as many.
const JUDGED: i64 = 3000;

/// The search index in the database. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Database {
    db: Arc<Db>,
}

/// A row to be written: whose, which `rev`, and the text; an empty text is a deletion.
#[derive(Debug)]
struct Row {
    user: Uuid,
    rev: i64,
    document: String,
}

impl Database {
    pub(super) fn new(db: Db) -> Self {
        Self { db: Arc::new(db) }
    }

    pub(super) async fn apply(&self, upserts: Vec<Doc>, deletes: Vec<(Uuid, i64)>) -> Result<(), SearchError> {
        let rows = rows(upserts, deletes);
        let mut split = Split::new(&rows, usize::MAX, |row| row.user);
        while let Some(part) = split.next() {
            split.settle(part, self.write(part).await)?;
        }
        split.end()
    }

    pub(super) async fn ping(&self) -> Result<(), SearchError> {
        Ok(self.db.ping().await?)
    }

    async fn write(&self, rows: &[Row]) -> Result<(), SearchError> {
        Stmt::new(&self.db.lazy, "insert into clerk_sync.search_users (generation, user_id, rev, document) ")
            .sql("select g.generation, r.user_id, r.rev, r.document from ")
            .rows(table(rows))
            // In one order, so that two writers never wait for each other.
            .sql(" cross join clerk_sync.search_generations g where true order by g.generation, r.user_id")
            .sql(NEWER)
            .exec(&self.db.lazy)
            .await
            .map(drop)
            .map_err(refusal)
    }

    pub(super) async fn search(&self, q: &str, limit: usize) -> Result<Vec<Uuid>, SearchError> {
        let query = words::query(q);
        if query.is_empty() {
            return Ok(Vec::new());
        }
        let mut found = self.candidates(typos::as_typed(&query)).await?;
        if found.len() < limit {
            let slips = typos::with_a_slip(&query, !found.is_empty());
            if !slips.is_empty() {
                found.extend(self.candidates(slips).await?);
            }
        }
        Ok(rank::best(found, &query, limit))
    }

    /// Documents that fit one of the readings.
    async fn candidates(&self, readings: Vec<Reading>) -> Result<Vec<(Uuid, String)>, SearchError> {
        let found = match self.db.backend() {
            DbBackend::Postgres => self.by_pg_trgm(patterns::postgres(readings)).await?,
            _ => self.by_fts5(patterns::sqlite(readings)).await?,
        };
        Ok(found.into_iter().filter_map(|row| Some((row.user_id.parse().ok()?, row.document))).collect())
    }

    async fn by_pg_trgm(&self, readings: Rows) -> Result<Vec<Found>, DbErr> {
        let tx = self.db.begin_read().await?;
        // A plan made while the table was small must not stay a scan.
        tx.execute_unprepared(
            "set local enable_seqscan = off; set local jit = off; set local plan_cache_mode = force_generic_plan",
        )
        .await?;
        let found = Stmt::new(&tx, "select distinct cast(s.user_id as text) as user_id, s.document from ")
            .rows(readings)
            .sql(
                " cross join lateral (select user_id, document from clerk_sync.search_users \
                 where document like r.a and document like r.b and document like r.c and document like r.d \
                 and generation = (select generation from clerk_sync.search_generations where live) limit ",
            )
            .val(PER_READING)
            .sql(") s limit ")
            .val(CANDIDATES)
            .all_as(&tx)
            .await?;
        tx.commit().await?;
        Ok(found)
    }

    async fn by_fts5(&self, readings: Rows) -> Result<Vec<Found>, DbErr> {
        // `cross join` keeps the order: the reading, what the index knows of it, the rows themselves.
        Stmt::new(&self.db.read, "select distinct s.user_id, s.document from ")
            .rows(readings)
            .sql(
                " cross join clerk_sync.search_users s where s.doc in (select f.rowid \
                 from clerk_sync.search_users_fts f cross join clerk_sync.search_users x \
                 where f.search_users_fts match r.m and x.doc = f.rowid \
                 and x.generation = (select generation from clerk_sync.search_generations where live) limit ",
            )
            .val(JUDGED)
            .sql(") and s.document glob r.a and s.document glob r.b")
            .sql(" and s.document glob r.c and s.document glob r.d limit ")
            .val(CANDIDATES)
            .all_as(&self.db.read)
            .await
    }
}

#[derive(FromQueryResult)]
struct Found {
    user_id: String,
    document: String,
}

/// What happens to a row that is there already. At the same `rev` a deletion stands.
const NEWER: &str = " on conflict (generation, user_id) do update set rev = excluded.rev, document = excluded.document \
     where excluded.rev > search_users.rev or (excluded.rev = search_users.rev and search_users.document <> '')";

/// One row a person, the highest `rev` winning and at the same `rev` the deletion.
fn rows(upserts: Vec<Doc>, deletes: Vec<(Uuid, i64)>) -> Vec<Row> {
    let upserts = upserts.into_iter().map(|doc| {
        let document = if doc.is_deleted() { String::new() } else { words::document(&doc) };
        Row { user: doc.user_id, rev: doc.rev, document }
    });
    let deletes = deletes.into_iter().map(|(user, rev)| Row { user, rev, document: String::new() });
    let mut rows: BTreeMap<Uuid, Row> = BTreeMap::new();
    for row in upserts.chain(deletes) {
        match rows.get(&row.user) {
            Some(other) if other.rev > row.rev => {}
            _ => drop(rows.insert(row.user, row)),
        }
    }
    rows.into_values().collect()
}

fn table(rows: &[Row]) -> Rows {
    let mut table = Rows::new(&[Col("user_id", Type::Id), Col("rev", Type::Int), Col("document", Type::Text)]);
    rows.iter().for_each(|row| table.push(vec![row.user.into(), row.rev.into(), Cell::Text(row.document.clone())]));
    table
}

fn refusal(error: DbErr) -> SearchError {
    if is_data_error(&error) {
        return SearchError::Documents { users: Vec::new(), code: "refused by the database".into() };
    }
    error.into()
}
