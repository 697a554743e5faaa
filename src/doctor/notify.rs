//! Whether replicas hear one another: what one connection notifies, another must hear. A transaction pooler in between
//! listens for nobody.

use std::time::Duration;

use sea_orm::DbBackend;
use sqlx::postgres::PgListener;
use uuid::Uuid;

use crate::db::{Db, Stmt};

use super::{PATIENCE, finding::Finding};

const NOTIFY: &str = "notify";

/// How long a notification may take.
const WAIT: Duration = Duration::from_secs(2);

pub(super) async fn check(db: &Db) -> Finding {
    let Some(pool) = db.listen_pool() else {
        return match db.backend() {
            DbBackend::Sqlite => Finding::ok(NOTIFY, "not needed: one process has the database"),
            _ => silent("a transaction pooler is in between, through which LISTEN is not possible".to_owned()),
        };
    };
    match tokio::time::timeout(PATIENCE, heard(db, pool)).await {
        Ok(Ok(true)) => Finding::ok(NOTIFY, "what one connection says, another hears"),
        Ok(Ok(false)) => {
            silent(format!("nothing is heard within {} s: is a transaction pooler in between?", WAIT.as_secs()))
        }
        // The driver's words are not repeated.
        Ok(Err(_)) | Err(_) => silent("LISTEN or NOTIFY is refused or does not end".to_owned()),
    }
}

fn silent(found: String) -> Finding {
    let remedy = "Set DATABASE_URL to the server itself, or to a pool of sessions (PgBouncer: pool_mode = session). Until then \
        replicas look for work every sync.poll, relay.poll and tail.poll (1 s) instead of at once";
    Finding::warn(NOTIFY, found, remedy)
}

async fn heard(db: &Db, pool: &sqlx::PgPool) -> Result<bool, Box<dyn std::error::Error + Send + Sync>> {
    let channel = format!("clerk_sync_doctor_{}", Uuid::new_v4().simple());
    let mut listener = PgListener::connect_with(pool).await?;
    listener.listen(&channel).await?;
    let tx = super::reading(db).await?;
    Stmt::new(&tx, "select pg_catalog.pg_notify(").val(channel.as_str()).sql(", '')").exec(&tx).await?;
    tx.commit().await?;
    let heard = tokio::time::timeout(WAIT, listener.recv()).await;
    // Only our own channel: behind a pooler the session may be somebody else's by now.
    listener.unlisten(&channel).await?;
    Ok(matches!(heard, Ok(Ok(_))))
}
