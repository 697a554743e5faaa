//! Degraded search: prefix lookups on the identity tables while the search index does not answer.
//!
//! Found is whoever has what was typed at the beginning of the first name, the last name, both in either order (CJK names
//! also without a space), the username, or a verified address, whatever its case. No typos are forgiven and diacritics
//! count.
//!
//! Invariant: bounded cost on tables of any size. Every lookup is a range of an index
//! (`m20261130_000025_name_prefixes`), their number is bounded ([`ranges`]), each is limited, and the statement has a
//! timeout.

mod ranges;

use std::{collections::HashSet, time::Duration};

use entity::Id;
use sea_orm::{ConnectionTrait as _, DbBackend, DbErr};
use uuid::Uuid;

use crate::db::{Db, Stmt, Transaction};

use ranges::Ranges;

use super::super::problem::Problem;

/// After this the statement is given up.
const TIMEOUT: Duration = Duration::from_secs(2);

/// The ids of the people whose names or addresses begin with `q`, whole names first.
pub(super) async fn find(db: &Db, q: &str, limit: usize) -> Result<Vec<Uuid>, Problem> {
    let late = |_| Problem::not_ready("Neither the search index nor the database answers in time.");
    // SQLite knows no timeout of a statement; there the limits alone bound its work.
    tokio::time::timeout(TIMEOUT * 2, lookup(db, q, limit)).await.map_err(late)?
}

async fn lookup(db: &Db, q: &str, limit: usize) -> Result<Vec<Uuid>, Problem> {
    let tx = begin(db).await?;
    let rows = statement(Stmt::new(&tx, ""), db.backend(), Ranges::of(q), limit).all(&tx).await?;
    tx.commit().await?;
    let ids: Vec<Id> = rows.iter().map(|row| row.try_get("", "id")).collect::<Result<_, _>>()?;
    let mut seen = HashSet::new();
    Ok(ids.into_iter().map(|id| id.0).filter(|id| seen.insert(*id)).take(limit).collect())
}

/// A transaction in which ranges are read in the order of their index, so that a limit ends the reading: a plan that was
/// made while the tables were small must not stay a scan, and a bitmap reads a range whole.
async fn begin(db: &Db) -> Result<Transaction, DbErr> {
    let tx = db.begin_read().await?;
    if db.backend() == DbBackend::Postgres {
        let settings = format!(
            "set local enable_seqscan = off; set local enable_bitmapscan = off; set local jit = off;
            set local statement_timeout = {}",
            TIMEOUT.as_millis()
        );
        tx.execute_unprepared(&settings).await?;
    }
    Ok(tx)
}

/// The ids in the ranges, those of the whole names first.
fn statement(begun: Stmt, backend: DbBackend, ranges: Ranges, limit: usize) -> Stmt {
    let Ranges { singles, pairs, addresses } = ranges;
    let arms = [
        (&pairs, Condition::FirstThenLast),
        (&pairs, Condition::LastThenFirst),
        (&singles, Condition::First),
        (&singles, Condition::Last),
        (&singles, Condition::Username),
        (&addresses, Condition::Address),
    ];
    // The same person may be in several ranges of one arm.
    let most = i64::try_from(limit).unwrap_or(i64::MAX).saturating_mul(2);
    let mut select = begun.sql("select id from (");
    for (place, (rows, condition)) in arms.into_iter().enumerate() {
        let (postgres, sqlite) = condition.sql();
        select = select.sql(if place == 0 { "" } else { " union all " });
        select = select.sql(&format!("select id, {place} as place from (select u.id from ")).rows(rows.clone());
        select = match backend {
            DbBackend::Postgres => {
                let select = select.sql(" cross join lateral (").sql(postgres).sql(" limit ").val(most);
                select.sql(") u limit ").val(most)
            }
            // The order of a cross join is kept: the ranges, then the index.
            _ => select.sql(" cross join ").sql(sqlite).sql(" limit ").val(most),
        };
        select = select.sql(&format!(") arm{place}"));
    }
    select.sql(") found order by place")
}

/// A lookup by one index.
#[derive(Debug, Clone, Copy)]
enum Condition {
    FirstThenLast,
    LastThenFirst,
    First,
    Last,
    Username,
    Address,
}

impl Condition {
    /// For the two databases. The expressions are those of the indexes, character by character.
    fn sql(self) -> (&'static str, &'static str) {
        match self {
            Self::FirstThenLast => (
                "select id from clerk_sync.users where lower(left(first_name, 64)) = r.whole
                    and lower(left(last_name, 64)) ~>=~ r.low and lower(left(last_name, 64)) ~<~ r.high",
                "users u where lower(substr(u.first_name, 1, 64)) = r.whole
                    and lower(substr(u.last_name, 1, 64)) >= r.low and lower(substr(u.last_name, 1, 64)) < r.high",
            ),
            Self::LastThenFirst => (
                "select id from clerk_sync.users where lower(left(last_name, 64)) = r.whole
                    and lower(left(first_name, 64)) ~>=~ r.low and lower(left(first_name, 64)) ~<~ r.high",
                "users u where lower(substr(u.last_name, 1, 64)) = r.whole
                    and lower(substr(u.first_name, 1, 64)) >= r.low and lower(substr(u.first_name, 1, 64)) < r.high",
            ),
            Self::First => (
                "select id from clerk_sync.users where lower(left(first_name, 64)) ~>=~ r.low and lower(left(first_name, 64)) ~<~ r.high",
                "users u where lower(substr(u.first_name, 1, 64)) >= r.low and lower(substr(u.first_name, 1, 64)) < r.high",
            ),
            Self::Last => (
                "select id from clerk_sync.users where lower(left(last_name, 64)) ~>=~ r.low and lower(left(last_name, 64)) ~<~ r.high",
                "users u where lower(substr(u.last_name, 1, 64)) >= r.low and lower(substr(u.last_name, 1, 64)) < r.high",
            ),
            Self::Username => (
                "select id from clerk_sync.users where lower(left(username, 64)) ~>=~ r.low and lower(left(username, 64)) ~<~ r.high",
                "users u where lower(substr(u.username, 1, 64)) >= r.low and lower(substr(u.username, 1, 64)) < r.high",
            ),
            Self::Address => (
                "select user_id as id from clerk_sync.email_addresses
                    where verified and normalised ~>=~ r.low and normalised ~<~ r.high",
                "(select user_id as id, normalised from clerk_sync.email_addresses where verified) u
                    where u.normalised >= r.low and u.normalised < r.high",
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use sea_orm::Database;

    use super::*;
    use crate::config;

    /// P11: on either database, whatever the size of the tables.
    #[tokio::test]
    async fn every_lookup_is_a_range_of_an_index() {
        let folder = tempfile::tempdir().unwrap();
        let mut config = config::load(None, HashMap::new()).unwrap();
        config.database.url = format!("sqlite://{}/prefix.db", folder.path().display()).as_str().into();
        let plan = plan(&config.database, "explain query plan ", "detail").await;
        assert!(!plan.contains("SCAN u") && !plan.contains("SCAN email"), "{plan}");
        assert_eq!(plan.matches("USING INDEX").count() + plan.matches("USING COVERING INDEX").count(), 6, "{plan}");
        let Ok(server) = std::env::var("TEST_POSTGRES_URL") else { return };
        let name = format!("t_prefix_{}", std::process::id());
        let admin = Database::connect(&server).await.unwrap();
        admin.execute_unprepared(&format!("create database {name}")).await.unwrap();
        let mut url = reqwest::Url::parse(&server).unwrap();
        url.set_path(&name);
        config.database.url = url.as_str().into();
        let plan = self::plan(&config.database, "explain ", "QUERY PLAN").await;
        admin.execute_unprepared(&format!("drop database {name} with (force)")).await.unwrap();
        assert!(!plan.contains("Seq Scan"), "{plan}");
        assert_eq!(plan.matches("Index").count() - plan.matches("Index Cond").count(), 6, "{plan}");
    }

    /// The plan of the statement on empty tables.
    async fn plan(config: &config::Database, explain: &'static str, column: &str) -> String {
        let db = crate::db::connect(config).await.unwrap();
        crate::db::migrate(&db).await.unwrap();
        let tx = begin(&db).await.unwrap();
        let statement = statement(Stmt::new(&tx, explain), db.backend(), Ranges::of("佐藤花子"), 20);
        let rows = statement.all(&tx).await.unwrap();
        let lines: Vec<String> = rows.iter().map(|row| row.try_get("", column).unwrap()).collect();
        tx.rollback().await.unwrap();
        lines.join("\n")
    }
}
