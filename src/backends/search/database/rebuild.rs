//! Building the index anew beside the live one: the new rows are a generation of their own, written in chunks;
//! the swap is one small update; the old generation goes in chunks too. No statement is as long as the table.

use sea_orm::{ConnectionTrait, FromQueryResult};

use super::{Database, NEWER, Row, refusal, rows, table};
use crate::{
    backends::search::{Doc, SearchError, split::Split},
    db::Stmt,
};

/// Rows that one statement writes or removes.
const CHUNK: usize = 250;

/// A generation under construction. Dropped without [`finish`](Self::finish) it is swept away by the next one.
#[derive(Debug)]
pub(in super::super) struct Rebuild {
    index: Database,
    generation: i64,
}

#[derive(FromQueryResult)]
struct Generation {
    generation: i64,
}

impl Rebuild {
    pub(in super::super) async fn begin(index: Database) -> Result<Self, SearchError> {
        retire(&index).await?;
        let new: Option<Generation> = Stmt::new(
            &index.db.write,
            "insert into clerk_sync.search_generations (live) values (false) returning generation",
        )
        .one_as(&index.db.write)
        .await?;
        let generation = new.ok_or(SearchError::Superseded)?.generation;
        Ok(Self { index, generation })
    }

    pub(in super::super) async fn add(&self, docs: Vec<Doc>) -> Result<(), SearchError> {
        let rows = rows(docs, Vec::new());
        let mut split = Split::new(&rows, CHUNK, |row| row.user);
        while let Some(part) = split.next() {
            split.settle(part, self.write(part).await)?;
        }
        split.end()
    }

    /// What was applied meanwhile is in this generation already, guarded by its `rev`.
    async fn write(&self, rows: &[Row]) -> Result<(), SearchError> {
        let write = &self.index.db.write;
        Stmt::new(write, "insert into clerk_sync.search_users (generation, user_id, rev, document) select ")
            .val(self.generation)
            .sql(", r.user_id, r.rev, r.document from ")
            .rows(table(rows))
            .sql(" where r.document <> '' order by r.user_id")
            .sql(NEWER)
            .exec(write)
            .await
            .map(drop)
            .map_err(refusal)
    }

    pub(in super::super) async fn finish(self) -> Result<(), SearchError> {
        let tx = self.index.db.begin().await?;
        // Two statements: the index that allows one live generation looks at each row as it changes.
        let old = "update clerk_sync.search_generations set live = false where live and exists \
                   (select 1 from clerk_sync.search_generations where generation = ";
        if Stmt::new(&tx, old).val(self.generation).sql(")").exec(&tx).await? == 0 {
            tx.rollback().await?;
            return Err(SearchError::Superseded);
        }
        let new = "update clerk_sync.search_generations set live = true where generation = ";
        Stmt::new(&tx, new).val(self.generation).exec(&tx).await?;
        tx.commit().await?;
        retire(&self.index).await
    }
}

/// Removes every generation that is not live. It stays known until it is empty, so that deletions reach it.
async fn retire(index: &Database) -> Result<(), SearchError> {
    let write = &index.db.write;
    sweep(write).await?;
    Stmt::new(write, "delete from clerk_sync.search_generations where not live").exec(write).await?;
    // A write that was under way still knew the generation.
    sweep(write).await
}

async fn sweep(connection: &impl ConnectionTrait) -> Result<(), SearchError> {
    const LIVE: &str = "(select generation from clerk_sync.search_generations where live)";
    for side in [" < ", " > "] {
        loop {
            let removed = Stmt::new(
                connection,
                "delete from clerk_sync.search_users where doc in (select doc from clerk_sync.search_users where generation",
            )
            .sql(side)
            .sql(LIVE)
            .sql(" limit ")
            .val(i64::try_from(CHUNK).unwrap_or(i64::MAX))
            .sql(")")
            .exec(connection)
            .await?;
            if removed < CHUNK as u64 {
                break;
            }
        }
    }
    Ok(())
}
