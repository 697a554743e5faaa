//! The database: reached, as it should be, and with our tables.

use sea_orm::{DbBackend, DbErr};

use crate::{
    clock::Clock,
    config,
    db::{self, Db, LookError, Quiet},
};

use super::{PATIENCE, finding::Finding, notify, postgres, sqlite};

const DATABASE: &str = "database";
const MIGRATIONS: &str = "migrations";

/// What came of it.
pub(super) struct Examined {
    pub(super) findings: Vec<Finding>,
    /// The database, where its tables are those that this version reads.
    pub(super) ready: Option<Db>,
    /// How far its clock is ahead of ours.
    pub(super) skew: Option<chrono::Duration>,
}

impl Examined {
    fn unreachable(finding: Finding) -> Self {
        let skip = |check| Finding::skip(check, "the database is not there");
        Self { findings: vec![finding, skip(MIGRATIONS), skip("notify")], ready: None, skew: None }
    }
}

pub(super) async fn check(config: &config::Database, clock: &Clock) -> Examined {
    let db = match tokio::time::timeout(PATIENCE, db::look(config)).await {
        Err(_) => return Examined::unreachable(slow(config)),
        Ok(Err(error)) => return Examined::unreachable(not_there(config, &error)),
        Ok(Ok(db)) => db,
    };
    let looked = tokio::time::timeout(PATIENCE, async {
        match db.backend() {
            DbBackend::Postgres => postgres::check(&db, config, clock).await,
            _ => {
                let mut findings = sqlite::check(&db).await?;
                findings.push(sqlite::space(config.url.expose()));
                Ok((findings, None))
            }
        }
    });
    let (mut findings, skew) = match looked.await {
        Err(_) => return Examined::unreachable(slow(config)),
        Ok(Err(error)) => return Examined::unreachable(unreadable(&error)),
        Ok(Ok(looked)) => looked,
    };
    let steps = tokio::time::timeout(PATIENCE, migrations(&db, config)).await;
    let steps = steps.unwrap_or_else(|_| Ok(Finding::warn(MIGRATIONS, "no answer in time", "Run it again")));
    let steps = steps.unwrap_or_else(|error| unreadable(&error));
    let ready = steps.level == super::Level::Ok;
    findings.push(steps);
    findings.push(notify::check(&db).await);
    Examined { findings, ready: ready.then_some(db), skew }
}

async fn migrations(db: &Db, config: &config::Database) -> Result<Finding, DbErr> {
    let steps = db::steps(db).await?;
    let place = match db.backend() {
        DbBackend::Postgres => format!(" in the schema {}", config.schema),
        _ => String::new(),
    };
    let up = "Run `clerk-sync migrate up`; or start `clerk-sync serve` without --no-migrate, which does the same";
    Ok(match (steps.applied, steps.pending.as_slice(), steps.unknown.as_slice()) {
        (_, _, [first, ..]) => Finding::fail(
            MIGRATIONS,
            format!("the tables{place} are of a newer version, which has {first}"),
            "Use that version of clerk-sync, or a database of this one's (DATABASE_URL)",
        ),
        (0, _, _) => Finding::fail(MIGRATIONS, format!("there are no tables{place} yet"), up),
        (_, [first, ..], _) => Finding::fail(
            MIGRATIONS,
            format!(
                "{} of {} are pending{place}, the first is {first}",
                steps.pending.len(),
                steps.applied + steps.pending.len()
            ),
            up,
        ),
        (n, [], []) => Finding::ok(MIGRATIONS, format!("all {n} are applied{place}")),
    })
}

/// Where a URL leads, unless a password could be taken for a part of it.
fn place(config: &config::Database) -> String {
    let url = config.url.expose();
    let plain =
        |text: &str| !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || ".-_:[]".contains(c));
    let rest = url.split_once("://").map_or("", |(_, rest)| rest);
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    // With an @ behind it, what looks like a host may be a user and half a password.
    let tail = &rest[authority.len()..];
    let host = authority.rsplit('@').next().unwrap_or_default();
    // Without an @, user:password looks like host:port.
    let is_port = |port: &str| port.ends_with(']') || port.parse::<u16>().is_ok();
    let named = authority.contains('@') || host.rsplit_once(':').is_none_or(|(_, port)| is_port(port));
    if tail.contains('@') || !plain(host) || !named { "the server".to_owned() } else { host.to_owned() }
}

fn slow(config: &config::Database) -> Finding {
    let found = format!("{} does not answer within {} s", place(config), PATIENCE.as_secs());
    Finding::fail(DATABASE, found, "See that it runs, and that a firewall lets us through to it (DATABASE_URL)")
}

fn unreadable(error: &DbErr) -> Finding {
    let found = format!("it cannot be read: {}", Quiet(error));
    Finding::fail(DATABASE, found, "See that DATABASE_URL is right, and what the database's log says")
}

fn not_there(config: &config::Database, error: &LookError) -> Finding {
    let at = place(config);
    let (found, remedy) = match error {
        LookError::Url => (
            "database.url is neither sqlite://PATH nor postgres://USER:PASSWORD@HOST/DATABASE".to_owned(),
            "Set DATABASE_URL; signs such as @ / : # in a password are written as %40 %2F %3A %23",
        ),
        LookError::Memory => (
            "a database in memory keeps nothing: what was acknowledged would be lost".to_owned(),
            "Set DATABASE_URL=sqlite://PATH or postgres://…",
        ),
        LookError::Missing(path) => (
            missing(path),
            "Run `clerk-sync migrate up`, or start `clerk-sync serve`, which make it; or set DATABASE_URL to where it is",
        ),
        LookError::Connection(error) => connection(error, &at),
        LookError::Pooler(error) => (error.to_string(), error.remedy()),
        LookError::Pool(error) => return unreadable(error),
    };
    Finding::fail(DATABASE, found, remedy)
}

/// A path that holds signs of a URL may be one, with a password.
fn missing(path: &std::path::Path) -> String {
    let path = path.display().to_string();
    if path.contains(['@', ':', '#', '?']) {
        "there is no such file".to_owned()
    } else {
        format!("there is no file {path}")
    }
}

fn connection(error: &sqlx::Error, at: &str) -> (String, &'static str) {
    use std::io::ErrorKind;
    match error {
        sqlx::Error::Io(error) if error.kind() == ErrorKind::ConnectionRefused => {
            (format!("nothing listens at {at}"), "Start the database, or set DATABASE_URL to where it is")
        }
        sqlx::Error::Io(_) => (
            format!("{at} cannot be reached: its name is not known, or the connection broke"),
            "See that the host in DATABASE_URL is right and can be reached from here",
        ),
        sqlx::Error::Tls(_) => (
            format!("{at} and we find no common way to encrypt"),
            "Set sslmode= and sslrootcert= in DATABASE_URL as the server wants them",
        ),
        sqlx::Error::Database(error) => match error.code().as_deref() {
            Some("28P01" | "28000") => {
                (format!("{at} refuses the user or the password"), "Correct user and password in DATABASE_URL")
            }
            Some("3D000") => (
                format!("{at} has no database of that name"),
                "Make it (createdb NAME), or correct the name in DATABASE_URL",
            ),
            Some("53300") => (
                format!("{at} has no connection left"),
                "Raise max_connections of Postgres, or lower database.max_connections and database.max_read_connections",
            ),
            Some("57P03") => (format!("{at} is starting up or shutting down"), "Wait, and look at its log"),
            code => (
                format!("{at} refuses us: code {}", code.unwrap_or("unknown")),
                "Look the code up in Postgres' manual (Appendix A), and at the server's log",
            ),
        },
        _ => (format!("{at} does not speak as Postgres does"), "Set DATABASE_URL to a Postgres server"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Secret;

    #[test]
    fn a_place_is_no_part_of_a_password() {
        for (url, at) in [
            ("postgres://u:p@db.example.com:6543/x?sslmode=require", "db.example.com:6543"),
            ("postgres://db/x", "db"),
            ("postgres://db:5432/x", "db:5432"),
            ("postgres://app:S3CRET/x", "the server"),
            ("postgres://u:p@ss@db/x", "db"),
            ("postgres://u:12/34@db/x", "the server"),
            ("postgres://u:p#1@db/x", "db"),
            ("postgres:///x?host=/run", "the server"),
            ("nonsense", "the server"),
        ] {
            let url = Secret::from(url);
            let config = config::Database {
                url,
                schema: "s".into(),
                max_connections: 1,
                max_read_connections: 1,
                acquire_timeout: PATIENCE,
            };
            assert_eq!(place(&config), at);
        }
    }
}
