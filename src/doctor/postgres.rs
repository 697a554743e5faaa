//! Postgres: whether it takes writes, keeps them, knows every character, keeps what a session sets, and has room for our
//! connections.

use sea_orm::{DbErr, FromQueryResult};

use crate::{
    clock::{Clock, Time},
    config,
    db::{Db, Stmt, connections},
};

use super::{clocks, finding::Finding, reading};

const DATABASE: &str = "database";
const CONNECTIONS: &str = "connections";

#[derive(Debug, Clone, FromQueryResult)]
struct Server {
    version: String,
    encoding: String,
    read_only: String,
    standby: bool,
    fsync: String,
    commits: String,
    may_write: bool,
    most: i64,
    reserved: i64,
    of_role: i64,
    of_database: i64,
    at: Time,
}

/// What was found, and how far the server's clock is ahead of ours.
pub(super) async fn check(
    db: &Db,
    config: &config::Database,
    clock: &Clock,
) -> Result<(Vec<Finding>, Option<chrono::Duration>), DbErr> {
    let tx = reading(db).await?;
    let before = clock.now();
    // The right to make a schema is wanted by `create schema if not exists`, also where it is there already.
    let server: Option<Server> = Stmt::new(
        &tx,
        "select current_setting('server_version') as version, current_setting('server_encoding') as encoding,
            current_setting('default_transaction_read_only') as read_only, pg_is_in_recovery() as standby,
            current_setting('fsync') as fsync, current_setting('synchronous_commit') as commits,
            current_setting('max_connections')::bigint as most,
            current_setting('superuser_reserved_connections')::bigint as reserved,
            coalesce((select rolconnlimit::bigint from pg_roles where rolname = current_user), -1) as of_role,
            coalesce((select datconnlimit::bigint from pg_database where datname = current_database()), -1) as of_database,
            clock_timestamp() as at,
            has_database_privilege(current_database(), 'create') and coalesce((select has_schema_privilege(n.oid, 'usage')
                from pg_namespace n where n.oid = to_regnamespace(",
    )
    .val(config.schema.as_str())
    .sql(")), true) as may_write")
    .one_as(&tx)
    .await?;
    let after = clock.now();
    tx.commit().await?;
    let server = server.ok_or_else(|| DbErr::RecordNotFound("settings".into()))?;
    let skew = clocks::skew(before, server.at, after, chrono::Duration::zero());
    Ok((vec![itself(&server, &config.schema), room(&server, connections(config).into())], Some(skew)))
}

fn itself(server: &Server, schema: &str) -> Finding {
    let version = server.version.split(' ').next().unwrap_or_default();
    if server.standby || server.read_only == "on" {
        let what = if server.standby {
            "is a replica that only reads"
        } else {
            "takes no writes (default_transaction_read_only)"
        };
        let remedy = "Set DATABASE_URL to the primary, or default_transaction_read_only = off for our user";
        return Finding::fail(DATABASE, format!("Postgres {version} {what}"), remedy);
    }
    if !server.may_write {
        return Finding::fail(
            DATABASE,
            format!("our user may not make tables in the schema {schema}"),
            format!(
                "As the owner: grant create on database NAME to OUR_USER; grant usage, create on schema {schema} to OUR_USER"
            ),
        );
    }
    if server.encoding != "UTF8" {
        return Finding::fail(
            DATABASE,
            format!("Postgres {version} keeps this database in {}: it cannot hold every name", server.encoding),
            "Make one with createdb --encoding=UTF8 --template=template0, and set DATABASE_URL to it",
        );
    }
    if server.fsync == "off" {
        return Finding::warn(
            DATABASE,
            format!("Postgres {version} with fsync = off: what was acknowledged is lost when the machine fails"),
            "Set fsync = on in postgresql.conf",
        );
    }
    if server.commits == "off" {
        return Finding::note(
            DATABASE,
            format!("Postgres {version}; synchronous_commit is off by default, and on where we promise something"),
            "Nothing for us; your own tables' commits may be lost when the server fails",
        );
    }
    Finding::ok(DATABASE, format!("Postgres {version}"))
}

fn room(server: &Server, need: i64) -> Finding {
    let limits = [server.most - server.reserved, server.of_role, server.of_database];
    let most = limits.into_iter().filter(|limit| *limit >= 0).min().unwrap_or(0);
    let found = format!("a process opens up to {need} of the {most} that we may have");
    if need > most {
        let remedy = "Raise max_connections of Postgres (or the user's or the database's connection limit), or lower \
            CLERK_SYNC__DATABASE__MAX_CONNECTIONS and CLERK_SYNC__DATABASE__MAX_READ_CONNECTIONS";
        return Finding::warn(CONNECTIONS, found, remedy);
    }
    Finding::ok(CONNECTIONS, found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{clock::from_millis, doctor::Level};

    fn server() -> Server {
        Server {
            version: "17.2 (Debian 17.2-1)".into(),
            encoding: "UTF8".into(),
            read_only: "off".into(),
            standby: false,
            fsync: "on".into(),
            commits: "on".into(),
            may_write: true,
            most: 100,
            reserved: 3,
            of_role: -1,
            of_database: -1,
            at: from_millis(0).unwrap(),
        }
    }

    #[test]
    fn what_a_server_may_have_against_us() {
        let judged = |change: fn(&mut Server)| {
            let mut server = server();
            change(&mut server);
            itself(&server, "clerk_sync")
        };
        assert_eq!(judged(|_| ()), Finding::ok(DATABASE, "Postgres 17.2"));
        assert_eq!(judged(|s| s.standby = true).level, Level::Fail);
        assert_eq!(judged(|s| s.read_only = "on".into()).level, Level::Fail);
        assert!(judged(|s| s.may_write = false).remedy.unwrap().contains("grant usage, create on schema clerk_sync"));
        assert_eq!(judged(|s| s.encoding = "LATIN1".into()).level, Level::Fail);
        assert_eq!(judged(|s| s.fsync = "off".into()).level, Level::Warn);
        assert_eq!(judged(|s| s.commits = "off".into()).level, Level::Note);
    }

    #[test]
    fn the_smallest_limit_counts() {
        let level = |need, of_role, of_database| room(&Server { of_role, of_database, ..server() }, need).level;
        assert_eq!((level(97, -1, -1), level(98, -1, -1)), (Level::Ok, Level::Warn));
        assert_eq!((level(24, 24, -1), level(24, 23, -1), level(24, -1, 20)), (Level::Ok, Level::Warn, Level::Warn));
    }
}
