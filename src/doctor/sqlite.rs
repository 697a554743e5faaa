//! SQLite: whether it can be written, and how it keeps what is written.

use sea_orm::{ConnectionTrait as _, DbErr, RuntimeErr};

use crate::db::{Db, Stmt};

use super::finding::Finding;

const DATABASE: &str = "database";

pub(super) async fn check(db: &Db) -> Result<Vec<Finding>, DbErr> {
    let text = |row: Option<&sea_orm::QueryResult>, column: &str| match row {
        Some(row) => row.try_get::<String>("", column),
        None => Ok(String::new()),
    };
    let rows = Stmt::new(&db.read, "select sqlite_version() as version").all(&db.read).await?;
    let version = text(rows.first(), "version")?;
    let rows = Stmt::new(&db.read, "pragma journal_mode").all(&db.read).await?;
    let journal = text(rows.first(), "journal_mode")?;
    let writable = match tried(db).await {
        Ok(()) => true,
        // Somebody else is writing at this moment.
        Err(error) if code(&error) == Some(5) => true,
        Err(error) if matches!(code(&error), Some(3 | 8 | 10 | 14)) => false,
        Err(error) => return Err(error),
    };
    if !writable {
        return Ok(vec![Finding::fail(
            DATABASE,
            "the file or its folder cannot be written",
            "Let the user that runs clerk-sync write the file in DATABASE_URL and the folder that it lies in (chown), and take mode=ro out of the URL",
        )]);
    }
    if journal != "wal" {
        return Ok(vec![Finding::note(
            DATABASE,
            format!("SQLite {version}, not in WAL mode yet"),
            "Nothing: `clerk-sync serve` switches it when it starts",
        )]);
    }
    Ok(vec![Finding::ok(DATABASE, format!("SQLite {version}, WAL, writable"))])
}

/// The beginning of a write, which never gets further than this connection's memory. (The lock of a writer alone would
/// be given on a file that cannot be written, too.)
async fn tried(db: &Db) -> Result<(), DbErr> {
    let tx = db.begin().await?;
    let made = tx.execute_unprepared("create table clerk_sync_doctor (n int)").await;
    tx.rollback().await?;
    made.map(drop)
}

/// SQLite's primary code.
fn code(error: &DbErr) -> Option<u32> {
    let (DbErr::Conn(RuntimeErr::SqlxError(error))
    | DbErr::Exec(RuntimeErr::SqlxError(error))
    | DbErr::Query(RuntimeErr::SqlxError(error))) = error
    else {
        return None;
    };
    let code: u32 = error.as_database_error()?.code()?.parse().ok()?;
    Some(code & 0xff)
}
