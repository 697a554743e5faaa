//! SQLite: whether it can be written, how it keeps what is written, and how much space its volume has.

use sea_orm::{ConnectionTrait as _, DbErr};

use crate::db::{self, Db, Stmt};

use super::finding::Finding;

const DATABASE: &str = "database";

/// Below this the write-ahead log (64 MiB between two checkpoints, more while readers hold it) soon fills the volume.
const LEAST_FREE: u64 = 256 << 20;

/// How much space the volume of the file has left.
pub(super) fn space(url: &str) -> Finding {
    let space = "disk";
    let free = db::sqlite_file(url).and_then(|file| rustix::fs::statvfs(&file).ok());
    let Some(free) = free.map(|volume| volume.f_bavail.saturating_mul(volume.f_frsize)) else {
        return Finding::skip(space, "the volume of the database cannot be looked at");
    };
    let found = format!("{} MiB free on the volume of the database", free >> 20);
    if free < LEAST_FREE {
        let remedy =
            "Make room or enlarge the volume: once it is full, deliveries are refused with 503 until there is room";
        return Finding::warn(space, found, remedy);
    }
    Finding::ok(space, found)
}

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
        Err(error) if db::primary_code(&error) == Some(5) => true,
        Err(error) if matches!(db::primary_code(&error), Some(3 | 8 | 10 | 14)) => false,
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
