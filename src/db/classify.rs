//! Error classification: whether an error of the database is about the state of the server, so that the same statement
//! may succeed later, or about the data of the statement, so that repeating it cannot help.
//!
//! The list is of what is transient. Whatever is not on it is about data: a trigger of the application's own that raises,
//! a right that was revoked, a value too large for an index, a stored row that cannot be read.

use sea_orm::{DbErr, RuntimeErr};

/// What the applier does with an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disposition {
    /// The state of the server: try the same again.
    Retry,
    /// The data: split the batch until the offending event is alone; alone it ends `dead`.
    Dead,
}

/// SQLSTATE classes of transient errors.
const TRANSIENT_CLASSES: [&str; 9] = [
    "08", // connection and protocol
    "25", // state of the transaction: a server that became read-only (25006), a transaction that was ended by a timeout
    "26", // a prepared statement that the session does not have
    "28", // authentication, while a connection is opened
    "40", // serialisation and deadlock
    "53", // resources: disk, memory, connections
    "55", // locks
    "57", // operator intervention, cancelled statements
    "58", // the system below the server
];

/// SQLite's primary result codes of transient errors. A corrupt file (11, 26) is no event's fault either.
const TRANSIENT_CODES: [u32; 12] = [
    5,  // busy
    6,  // locked
    7,  // no memory
    8,  // read-only
    9,  // interrupted
    10, // input or output
    11, // corrupt
    13, // full
    14, // cannot open
    15, // locking protocol
    17, // the schema changed
    26, // not a database
];

/// Classifies an error of the database.
pub fn disposition(error: &DbErr) -> Disposition {
    let inner = match error {
        // No connection could be had; no statement was sent.
        DbErr::Conn(_) | DbErr::ConnectionAcquire(_) => return Disposition::Retry,
        DbErr::Exec(RuntimeErr::SqlxError(inner)) | DbErr::Query(RuntimeErr::SqlxError(inner)) => inner,
        _ => return Disposition::Dead,
    };
    let transient = match inner.as_ref() {
        sqlx::Error::Database(error) => match error.code() {
            // SQLite's extended codes: the low byte is the primary code.
            Some(code) if error.try_downcast_ref::<sqlx::sqlite::SqliteError>().is_some() => {
                code.parse::<u32>().is_ok_and(|code| TRANSIENT_CODES.contains(&(code & 0xff)))
            }
            Some(code) => TRANSIENT_CLASSES.iter().any(|class| code.starts_with(class)),
            None => false,
        },
        sqlx::Error::Configuration(_)
        | sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::Protocol(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed
        | sqlx::Error::BeginFailed => true,
        _ => false,
    };
    if transient { Disposition::Retry } else { Disposition::Dead }
}

/// Whether an error is about the data of a statement.
pub fn is_data_error(error: &DbErr) -> bool {
    disposition(error) == Disposition::Dead
}

/// Whether an error is about the values of a statement, so that the same request is refused whatever the operator does:
/// narrower than [`is_data_error`], which also holds for a table or a right that is missing for a while.
pub fn is_about_values(error: &DbErr) -> bool {
    let (DbErr::Exec(inner) | DbErr::Query(inner)) = error else { return is_data_error(error) };
    let RuntimeErr::SqlxError(inner) = inner else { return false };
    let sqlx::Error::Database(error) = inner.as_ref() else { return false };
    match error.code() {
        // SQLite's constraint, too big, mismatch.
        Some(code) if error.try_downcast_ref::<sqlx::sqlite::SqliteError>().is_some() => {
            code.parse::<u32>().is_ok_and(|code| matches!(code & 0xff, 18..=20))
        }
        Some(code) => ["22", "23", "54"].iter().any(|class| code.starts_with(class)),
        None => false,
    }
}

/// Returns a short name of an error for comparison and for alerts: the database's code, or the kind of failure. Holds no
/// values of a statement.
pub fn error_code(error: &DbErr) -> String {
    let (DbErr::Conn(inner) | DbErr::Exec(inner) | DbErr::Query(inner)) = error else {
        return match disposition(error) {
            Disposition::Retry => "connection".to_owned(),
            Disposition::Dead => "value".to_owned(),
        };
    };
    let RuntimeErr::SqlxError(inner) = inner else { return "driver".to_owned() };
    match inner.as_database_error().and_then(|error| error.code()) {
        Some(code) => code.into_owned(),
        None if disposition(error) == Disposition::Retry => "connection".to_owned(),
        None => "value".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::{borrow::Cow, error::Error, fmt, sync::Arc};

    use super::*;

    /// A database's error of this code.
    #[derive(Debug)]
    struct Coded(&'static str);

    impl fmt::Display for Coded {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }
    }

    impl Error for Coded {}

    impl sqlx::error::DatabaseError for Coded {
        fn message(&self) -> &str {
            self.0
        }

        fn code(&self) -> Option<Cow<'_, str>> {
            Some(self.0.into())
        }

        fn as_error(&self) -> &(dyn Error + Send + Sync + 'static) {
            self
        }

        fn as_error_mut(&mut self) -> &mut (dyn Error + Send + Sync + 'static) {
            self
        }

        fn into_error(self: Box<Self>) -> Box<dyn Error + Send + Sync + 'static> {
            self
        }

        fn kind(&self) -> sqlx::error::ErrorKind {
            sqlx::error::ErrorKind::Other
        }
    }

    fn coded(code: &'static str) -> DbErr {
        DbErr::Query(RuntimeErr::SqlxError(Arc::new(sqlx::Error::Database(Box::new(Coded(code))))))
    }

    #[test]
    fn transient_errors_are_listed_and_all_others_are_about_data() {
        for code in ["08006", "25006", "26000", "28P01", "40001", "40P01", "53100", "55P03", "57014", "57P01", "58030"]
        {
            assert_eq!(disposition(&coded(code)), Disposition::Retry, "{code}");
        }
        for code in ["22P05", "23505", "42501", "42P01", "42804", "54000", "P0001", "XX000", "0A000", "AB123"] {
            assert_eq!(disposition(&coded(code)), Disposition::Dead, "{code}");
            assert_eq!(error_code(&coded(code)), code);
        }
        let driver = |error| DbErr::Exec(RuntimeErr::SqlxError(Arc::new(error)));
        assert_eq!(disposition(&driver(sqlx::Error::PoolTimedOut)), Disposition::Retry);
        assert_eq!(error_code(&driver(sqlx::Error::WorkerCrashed)), "connection");
        assert_eq!(disposition(&driver(sqlx::Error::RowNotFound)), Disposition::Dead);
        assert_eq!(disposition(&DbErr::Type("a column".into())), Disposition::Dead);
        assert_eq!(error_code(&DbErr::Type("a column".into())), "value");
    }
}
