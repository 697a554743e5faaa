//! Long tables are looked through a window at a time, so that no statement takes long.

use sea_orm::DbErr;

use crate::db::{Db, Stmt};

/// Rows looked through by one statement.
const WINDOW: i64 = 20_000;

/// The `seq` with which the window after `after` ends; `None`: the table ends there. `table` has a `seq`.
pub(super) async fn last(db: &Db, table: &'static str, after: i64) -> Result<Option<i64>, DbErr> {
    let found = Stmt::new(&db.read, "select max(seq) as last from (select seq from clerk_sync.")
        .sql(table)
        .sql(" where seq > ")
        .val(after)
        .sql(" order by seq limit ")
        .val(WINDOW)
        .sql(") w")
        .all(&db.read)
        .await?;
    found.first().map_or(Ok(None), |row| row.try_get("", "last"))
}
