//! Errors of the database in words that hold no data: a server's message may quote the values of a statement (P8).

use std::fmt;

use sea_orm::{DbErr, RuntimeErr};

/// An error of the database, shown without the server's message: its code, and what kind of failure it was.
#[derive(Debug, Clone, Copy)]
pub struct Quiet<'a>(pub &'a DbErr);

impl fmt::Display for Quiet<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let runtime = match self.0 {
            DbErr::Conn(error) | DbErr::Exec(error) | DbErr::Query(error) => error,
            DbErr::ConnectionAcquire(error) => return write!(f, "no connection: {error}"),
            DbErr::RecordNotFound(_) => return f.write_str("a row is missing"),
            _ => return f.write_str("a value is not what the statement expects"),
        };
        let RuntimeErr::SqlxError(error) = runtime else { return f.write_str("the driver failed") };
        match error.as_ref() {
            sqlx::Error::Database(error) => {
                write!(f, "code {}", error.code().as_deref().unwrap_or("unknown"))?;
                if let Some(condition) = super::Condition::of(self.0) {
                    write!(f, " (the storage is {})", condition.as_str())?;
                }
                error.constraint().map_or(Ok(()), |constraint| write!(f, ", constraint {constraint}"))
            }
            sqlx::Error::ColumnDecode { index, .. } => write!(f, "column {index} cannot be read"),
            sqlx::Error::Decode(_) | sqlx::Error::Encode(_) => f.write_str("a value cannot be read or written"),
            sqlx::Error::Io(error) => write!(f, "no connection: {}", error.kind()),
            sqlx::Error::Tls(_) => f.write_str("no common way to encrypt"),
            sqlx::Error::PoolTimedOut => f.write_str("no connection was free in time"),
            sqlx::Error::PoolClosed => f.write_str("the connections are closed"),
            sqlx::Error::RowNotFound => f.write_str("a row is missing"),
            // Its text may quote parts of the URL.
            sqlx::Error::Configuration(_) => f.write_str("an option of the URL cannot be used"),
            // So may what a server says that is no database.
            _ => f.write_str("the driver failed"),
        }
    }
}
