//! Detection of a transaction pooler between this process and Postgres (PgBouncer `pool_mode = transaction`, Supavisor,
//! `-pooler` hosts), by proof: two clients that are given one server session share it, whatever the URL looks like.
//!
//! Behind a pooler that carries prepared statements everything works but LISTEN. One that does not breaks statements at
//! random, so it is refused before anything is written.

use std::time::{Duration, Instant};

use sqlx::{Connection as _, PgConnection, postgres::PgConnectOptions};

/// How often the proof is tried: other clients of the pooler may take the session that would show it.
const ROUNDS: usize = 3;

/// Clients beside the first, each in a transaction, so that each keeps its session.
const HOLDERS: usize = 2;

/// How long after a failure the first connection is tried again.
const RETRY_EVERY: Duration = Duration::from_millis(100);

/// After this a pooler is taken to have no further session.
const TIMEOUT: Duration = Duration::from_secs(5);

/// What is between this process and the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pooling {
    /// A connection is one session of the server for as long as it lives.
    Sessions,
    /// Each transaction may run in another session; prepared statements are carried along.
    Transactions,
}

/// The server cannot be used through what is in between.
#[derive(Debug, thiserror::Error)]
pub enum PoolerError {
    /// No first connection.
    #[error("no connection")]
    Unreachable(#[source] sqlx::Error),
    /// A statement prepared on one session was not found on the next.
    #[error("a transaction pooler that does not carry prepared statements is in between")]
    Statements,
    /// No second session while a transaction is open.
    #[error("a pooler that gives no second session while a transaction is open is in between")]
    Sessions,
}

impl PoolerError {
    /// What the operator can do about it.
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::Unreachable(_) => "Set DATABASE_URL to where the server is",
            Self::Statements => {
                "Set DATABASE_URL to the server itself, to a pool in session mode, or to a pooler that carries them \
                 (PgBouncer 1.21 or later with max_prepared_statements above 0, Supavisor)"
            }
            Self::Sessions => {
                "Enlarge its pool (PgBouncer: default_pool_size), or set DATABASE_URL to the server itself"
            }
        }
    }
}

/// Finds out what is between this process and the server that `options` lead to. A server that is just starting is waited
/// for, `patience` at most.
///
/// # Errors
/// [`PoolerError`].
pub(super) async fn detect(options: &PgConnectOptions, patience: Duration) -> Result<Pooling, PoolerError> {
    // Poolers refuse start parameters that they do not know.
    let options = options.clone().extra_float_digits(None);
    let mut client = first_client(&options, patience).await.map_err(PoolerError::Unreachable)?;
    for _ in 0..ROUNDS {
        if let Some(found) = round(&mut client, &options).await? {
            return Ok(found);
        }
    }
    let _ = client.close().await;
    Ok(Pooling::Sessions)
}

async fn first_client(options: &PgConnectOptions, patience: Duration) -> Result<PgConnection, sqlx::Error> {
    let started = Instant::now();
    loop {
        let tried = tokio::time::timeout(patience.max(TIMEOUT * 2), PgConnection::connect_with(options)).await;
        match tried.unwrap_or(Err(sqlx::Error::PoolTimedOut)) {
            Err(error) if is_starting(&error) && started.elapsed() < patience => {
                tokio::time::sleep(RETRY_EVERY).await;
            }
            tried => return tried,
        }
    }
}

/// Whether a server that is about to answer fails like this.
fn is_starting(error: &sqlx::Error) -> bool {
    use std::io::ErrorKind::{ConnectionRefused, ConnectionReset, NotFound};
    match error {
        sqlx::Error::Io(error) => matches!(error.kind(), ConnectionRefused | ConnectionReset | NotFound),
        // cannot_connect_now
        sqlx::Error::Database(error) => error.code().as_deref() == Some("57P03"),
        _ => false,
    }
}

async fn round(client: &mut PgConnection, options: &PgConnectOptions) -> Result<Option<Pooling>, PoolerError> {
    let before = session(client).await?;
    let mut held = Vec::new();
    let mut seen = Vec::new();
    for _ in 0..HOLDERS {
        // A server that has no room for one more is not a pooler that has none.
        let connected = tokio::time::timeout(TIMEOUT, PgConnection::connect_with(options)).await;
        let Ok(Ok(mut holder)) = connected else { break };
        let begun = sqlx::Executor::execute(&mut holder, sqlx::raw_sql("begin read only"));
        match tokio::time::timeout(TIMEOUT, begun).await {
            Err(_) => return Err(PoolerError::Sessions),
            Ok(Err(_)) => break,
            Ok(Ok(_)) => seen.push(session(&mut holder).await?),
        }
        held.push(holder);
    }
    // A session that a holder has cannot answer the first client: another does, where sessions are shared.
    let after = session(client).await?;
    for mut holder in held {
        let _ = sqlx::Executor::execute(&mut holder, sqlx::raw_sql("rollback")).await;
        let _ = holder.close().await;
    }
    Ok((after != before || seen.contains(&before)).then_some(Pooling::Transactions))
}

/// The server's process that answers, asked by a statement that is prepared once a client.
async fn session(client: &mut PgConnection) -> Result<i32, PoolerError> {
    let asked = sqlx::query_scalar("select pg_catalog.pg_backend_pid()").fetch_one(client);
    match tokio::time::timeout(TIMEOUT, asked).await {
        Err(_) => Err(PoolerError::Sessions),
        Ok(Ok(pid)) => Ok(pid),
        // A server that was reached just now neither forgets a statement nor has one of that name already.
        Ok(Err(_)) => Err(PoolerError::Statements),
    }
}
