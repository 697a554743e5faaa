//! Everything that a database holds, as one text: what does not stand in it is nowhere.

use clerk_sync::db::{Db, Stmt};
use sea_orm::{ConnectionTrait, DbBackend, Statement};

/// The column `t` of a query.
pub(crate) async fn texts(db: &Db, sql: String) -> Vec<String> {
    let rows = db.read.query_all_raw(Statement::from_string(db.backend(), sql)).await.unwrap();
    rows.iter().map(|row| row.try_get::<Option<String>>("", "t").unwrap().unwrap_or_default()).collect()
}

/// Every row of every table of ours; the trigram index of SQLite, which holds no texts, aside.
pub(crate) async fn everything(db: &Db) -> String {
    let tables = match db.backend() {
        DbBackend::Postgres => {
            "select table_name as t from information_schema.tables where table_schema = 'clerk_sync' and table_type = 'BASE TABLE'"
        }
        _ => {
            "select name as t from sqlite_master where type = 'table' and name not like 'search_users_fts%' and name not like 'sqlite_%'"
        }
    };
    let mut all = String::new();
    for table in texts(db, tables.to_owned()).await {
        let columns = match db.backend() {
            DbBackend::Postgres => format!(
                "select case data_type when 'bytea' then 'encode(' || quote_ident(column_name) || ', ''escape'')' else 'cast(' || quote_ident(column_name) || ' as text)' end as t from information_schema.columns where table_schema = 'clerk_sync' and table_name = '{table}'"
            ),
            _ => format!("select 'cast(\"' || name || '\" as text)' as t from pragma_table_info('{table}')"),
        };
        let columns = texts(db, columns).await;
        let row =
            columns.iter().map(|column| format!("coalesce({column}, '')")).collect::<Vec<_>>().join(" || '|' || ");
        for row in texts(db, format!("select {row} as t from clerk_sync.\"{table}\"")).await {
            all.push_str(&format!("{table}: {row}\n"));
        }
    }
    all
}

/// The lines of [`everything`] that hold a text.
pub(crate) async fn naming(db: &Db, needle: &str) -> Vec<String> {
    everything(db).await.lines().filter(|line| line.contains(needle)).map(str::to_owned).collect()
}

/// One number.
pub(crate) async fn number(db: &Db, sql: &'static str) -> i64 {
    Stmt::new(&db.read, sql).all(&db.read).await.unwrap()[0].try_get("", "n").unwrap()
}
