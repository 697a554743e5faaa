//! Failpoints: places between two effects at which a test has the process fail. Only debug builds have them, and only if
//! `FAILPOINTS` names a folder; in a release build [`reach`] is empty.
//!
//! A file in that folder, named after the failpoint, says what happens there: `error`, `panic`, `kill`, or `delay` and
//! milliseconds. The file is removed by the first that reaches it.

use sea_orm::DbErr;

/// A place between two effects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failpoint {
    /// A group of receipts is gathered; nothing is written.
    ReceiptsGathered,
    /// A group of receipts is committed; nobody is answered.
    ReceiptsCommitted,
    /// A batch is read and decoded; it is not being applied.
    BatchRead,
    /// The state of a batch is loaded under the commit lock; nothing is written.
    BatchLoaded,
    /// The plan's rows are written; the events have not ended.
    PlanWritten,
    /// The events have ended in the transaction; it is not committed.
    BatchWritten,
    /// A batch is committed; nothing is woken.
    BatchCommitted,
    /// A sink has taken changes; its cursor stands before them.
    SinkDelivered,
}

impl Failpoint {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::ReceiptsGathered,
        Self::ReceiptsCommitted,
        Self::BatchRead,
        Self::BatchLoaded,
        Self::PlanWritten,
        Self::BatchWritten,
        Self::BatchCommitted,
        Self::SinkDelivered,
    ];

    /// Its name, that of its file.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ReceiptsGathered => "receipts-gathered",
            Self::ReceiptsCommitted => "receipts-committed",
            Self::BatchRead => "batch-read",
            Self::BatchLoaded => "batch-loaded",
            Self::PlanWritten => "plan-written",
            Self::BatchWritten => "batch-written",
            Self::BatchCommitted => "batch-committed",
            Self::SinkDelivered => "sink-delivered",
        }
    }
}

/// Does what the failpoint's file says, if there is one.
///
/// # Errors
/// Where the file says `error`: that of a connection which broke, so worth another try.
#[cfg(not(debug_assertions))]
#[inline(always)]
pub async fn reach(_: Failpoint) -> Result<(), DbErr> {
    Ok(())
}

/// Does what the failpoint's file says, if there is one.
///
/// # Errors
/// Where the file says `error`: that of a connection which broke, so worth another try.
///
/// # Panics
/// Where the file says `panic`.
#[cfg(debug_assertions)]
pub async fn reach(failpoint: Failpoint) -> Result<(), DbErr> {
    let Some(action) = take(failpoint) else { return Ok(()) };
    let (word, number) = action.trim().split_once(' ').unwrap_or((action.trim(), ""));
    match word {
        "delay" => {
            tokio::time::sleep(std::time::Duration::from_millis(number.parse().unwrap_or_default())).await;
            Ok(())
        }
        "panic" => panic!("failpoint {}", failpoint.as_str()),
        "kill" => {
            let pid = std::process::id().to_string();
            let _ = std::process::Command::new("kill").args(["-KILL", &pid]).status();
            std::future::pending().await
        }
        _ => Err(DbErr::Conn(sea_orm::RuntimeErr::SqlxError(std::sync::Arc::new(sqlx::Error::Io(
            std::io::Error::other("failpoint"),
        ))))),
    }
}

/// The action, taken by exactly one of those that reach the failpoint at the same time.
#[cfg(debug_assertions)]
fn take(failpoint: Failpoint) -> Option<String> {
    static FOLDER: std::sync::LazyLock<Option<std::path::PathBuf>> =
        std::sync::LazyLock::new(|| std::env::var_os("FAILPOINTS").map(Into::into));
    let path = FOLDER.as_ref()?.join(failpoint.as_str());
    let action = std::fs::read_to_string(&path).ok()?;
    std::fs::remove_file(&path).ok().map(|()| action)
}
