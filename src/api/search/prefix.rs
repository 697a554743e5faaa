//! Degraded search: prefix lookups on the identity tables while the search index does not answer.
//!
//! Found is whoever has what was typed at the beginning of the first name, the last name, both in either order (CJK names
//! also without a space), the username, or a verified address, whatever its case. No typos are forgiven and diacritics
//! count.
//!
//! Invariant: bounded cost on tables of any size. Every lookup is a range of an index
//! (`m20261130_000025_name_prefixes`), there are at most [`RANGES`] of them, each is limited, and the statement has a
//! timeout.

use std::{collections::HashSet, time::Duration};

use entity::Id;
use sea_orm::{ConnectionTrait as _, DbBackend};
use unicode_normalization::UnicodeNormalization as _;
use uuid::Uuid;

use crate::{
    backends::search::is_cjk,
    db::{Col, Db, Rows, Stmt, Type},
    domain::emails,
};

use super::super::problem::Problem;

/// Characters of a name that the indexes hold.
const INDEXED: usize = 64;
/// Ranges of one kind that are looked up.
const RANGES: usize = 64;
/// Letters beyond ASCII whose case is tried in every combination.
const CASES: usize = 3;
/// Characters of a CJK name between which it is divided.
const DIVIDED: usize = 12;
/// After this the statement is given up.
const TIMEOUT: Duration = Duration::from_secs(2);

/// The ids of the people whose names or addresses begin with `q`, whole names first.
pub(super) async fn find(db: &Db, q: &str, limit: usize) -> Result<Vec<Uuid>, Problem> {
    let late = |_| Problem::not_ready("Neither the search index nor the database answers in time.");
    // SQLite knows no timeout of a statement; there the limits alone bound its work.
    tokio::time::timeout(TIMEOUT * 2, lookup(db, q, limit)).await.map_err(late)?
}

async fn lookup(db: &Db, q: &str, limit: usize) -> Result<Vec<Uuid>, Problem> {
    let tx = db.begin_read().await?;
    if db.backend() == DbBackend::Postgres {
        // A plan made while the tables were small must not stay a scan.
        let settings = format!(
            "set local enable_seqscan = off; set local jit = off; set local statement_timeout = {}",
            TIMEOUT.as_millis()
        );
        tx.execute_unprepared(&settings).await?;
    }
    let rows = statement(Stmt::new(&tx, ""), db.backend(), Ranges::of(q), limit).all(&tx).await?;
    tx.commit().await?;
    let ids: Vec<Id> = rows.iter().map(|row| row.try_get("", "id")).collect::<Result<_, _>>()?;
    let mut seen = HashSet::new();
    Ok(ids.into_iter().map(|id| id.0).filter(|id| seen.insert(*id)).take(limit).collect())
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
                "select id from users where lower(left(first_name, 64)) = r.whole
                    and lower(left(last_name, 64)) ~>=~ r.low and lower(left(last_name, 64)) ~<~ r.high",
                "users u where lower(substr(u.first_name, 1, 64)) = r.whole
                    and lower(substr(u.last_name, 1, 64)) >= r.low and lower(substr(u.last_name, 1, 64)) < r.high",
            ),
            Self::LastThenFirst => (
                "select id from users where lower(left(last_name, 64)) = r.whole
                    and lower(left(first_name, 64)) ~>=~ r.low and lower(left(first_name, 64)) ~<~ r.high",
                "users u where lower(substr(u.last_name, 1, 64)) = r.whole
                    and lower(substr(u.first_name, 1, 64)) >= r.low and lower(substr(u.first_name, 1, 64)) < r.high",
            ),
            Self::First => (
                "select id from users where lower(left(first_name, 64)) ~>=~ r.low and lower(left(first_name, 64)) ~<~ r.high",
                "users u where lower(substr(u.first_name, 1, 64)) >= r.low and lower(substr(u.first_name, 1, 64)) < r.high",
            ),
            Self::Last => (
                "select id from users where lower(left(last_name, 64)) ~>=~ r.low and lower(left(last_name, 64)) ~<~ r.high",
                "users u where lower(substr(u.last_name, 1, 64)) >= r.low and lower(substr(u.last_name, 1, 64)) < r.high",
            ),
            Self::Username => (
                "select id from users where lower(left(username, 64)) ~>=~ r.low and lower(left(username, 64)) ~<~ r.high",
                "users u where lower(substr(u.username, 1, 64)) >= r.low and lower(substr(u.username, 1, 64)) < r.high",
            ),
            Self::Address => (
                "select user_id as id from email_addresses
                    where verified and normalised ~>=~ r.low and normalised ~<~ r.high",
                "(select user_id as id, normalised from email_addresses where verified) u
                    where u.normalised >= r.low and u.normalised < r.high",
            ),
        }
    }
}

/// What is looked up: texts that begin with something, also behind a whole other name.
#[derive(Debug)]
struct Ranges {
    singles: Rows,
    pairs: Rows,
    addresses: Rows,
}

impl Ranges {
    fn of(q: &str) -> Self {
        const SINGLES: [Col; 2] = [Col("low", Type::Text), Col("high", Type::Text)];
        const PAIRS: [Col; 3] = [Col("whole", Type::Text), Col("low", Type::Text), Col("high", Type::Text)];
        let (mut singles, mut pairs) = (Rows::new(&SINGLES), Rows::new(&PAIRS));
        for spelling in spellings(q) {
            if singles.len() < RANGES {
                let (low, high) = range(&spelling);
                singles.push(vec![low.into(), high.into()]);
            }
            for (whole, begun) in divisions(&spelling) {
                if pairs.len() < RANGES {
                    let (low, high) = range(&begun);
                    pairs.push(vec![cut(&whole).into(), low.into(), high.into()]);
                }
            }
        }
        let mut addresses = Rows::new(&SINGLES);
        let (low, high) = range(&emails::normalise(q));
        addresses.push(vec![low.into(), high.into()]);
        Self { singles, pairs, addresses }
    }
}

/// Everything that begins with a text lies from the first to before the second, in the order of code points.
fn range(begun: &str) -> (String, String) {
    let low = cut(begun);
    let high = format!("{low}\u{10ffff}");
    (low, high)
}

fn cut(text: &str) -> String {
    text.chars().take(INDEXED).collect()
}

/// The ways in which a name that is typed so may stand in a table whose lower case may know ASCII only.
fn spellings(q: &str) -> Vec<String> {
    let mut spellings: Vec<String> = Vec::new();
    let forms: [String; 3] = [q.nfc().collect(), q.nfkc().collect(), q.nfd().collect()];
    for form in forms {
        let form = form.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase();
        for spelling in cases(&form) {
            if !spellings.contains(&spelling) {
                spellings.push(spelling);
            }
        }
    }
    spellings
}

/// A lower-case text, and the same with letters beyond ASCII in upper case: all combinations of a few; of more, the first
/// letter, the first of every word, and all.
fn cases(text: &str) -> Vec<String> {
    let upper = |c: char| {
        let mut upper = c.to_uppercase();
        upper.next().filter(|first| !c.is_ascii() && *first != c && upper.next().is_none())
    };
    let chars: Vec<char> = text.chars().collect();
    let cased: Vec<(usize, char)> = chars.iter().enumerate().filter_map(|(at, c)| Some((at, upper(*c)?))).collect();
    let initial = |at: usize| at == 0 || chars.get(at - 1) == Some(&' ');
    let raised: Vec<Vec<(usize, char)>> = match cased.len() {
        few @ 0..=CASES => (0..1_usize << few)
            .map(|set| cased.iter().enumerate().filter(|(bit, _)| set >> bit & 1 == 1).map(|(_, one)| *one).collect())
            .collect(),
        _ => vec![
            Vec::new(),
            cased.iter().copied().filter(|(at, _)| *at == 0).collect(),
            cased.iter().copied().filter(|(at, _)| initial(*at)).collect(),
            cased,
        ],
    };
    let spell = |raised: Vec<(usize, char)>| {
        let mut spelled = chars.clone();
        for (at, upper) in raised {
            spelled[at] = upper;
        }
        spelled.into_iter().collect()
    };
    raised.into_iter().map(spell).collect()
}

/// Where a full name may be divided: between words, and in a CJK name without a space anywhere.
fn divisions(name: &str) -> Vec<(String, String)> {
    let parts = |at: usize, skip: usize| Some((name.get(..at)?.to_owned(), name.get(at + skip..)?.to_owned()));
    if name.contains(' ') {
        return name.match_indices(' ').filter_map(|(at, _)| parts(at, 1)).collect();
    }
    if !name.contains(is_cjk) {
        return Vec::new();
    }
    name.char_indices().skip(1).take(DIVIDED).filter_map(|(at, _)| parts(at, 0)).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::config;

    #[test]
    fn letters_beyond_ascii_are_tried_in_both_cases() {
        assert_eq!(spellings("  ADA   Quill "), ["ada quill"]);
        assert_eq!(spellings("Zoë")[..2], ["zoë", "zoË"]);
        assert_eq!(cases("łukasz"), ["łukasz", "Łukasz"]);
        assert_eq!(cases("éàü").len(), 8);
        assert_eq!(spellings("жанна иванова"), ["жанна иванова", "Жанна иванова", "Жанна Иванова", "ЖАННА ИВАНОВА"]);
        assert_eq!(cases("straße"), ["straße"], "no single letter is its upper case");
        assert!(spellings("Ａｎｎａ\u{3000}佐藤").contains(&"anna 佐藤".to_owned()), "the compatibility form");
    }

    #[test]
    fn names_are_divided_where_they_may_be() {
        let divided = |name: &str| divisions(name).into_iter().map(|(a, b)| format!("{a}|{b}")).collect::<Vec<_>>();
        assert_eq!(divided("佐藤花子"), ["佐|藤花子", "佐藤|花子", "佐藤花|子"]);
        assert_eq!(divided("van der berg"), ["van|der berg", "van der|berg"]);
        assert_eq!(divided("ada"), [""; 0]);
        assert!(divisions(&"佐".repeat(256)).len() <= DIVIDED);
    }

    #[test]
    fn the_number_of_ranges_is_bounded() {
        for q in ["é".repeat(256), "é 佐".repeat(60), "佐".repeat(256), "a ".repeat(128)] {
            let Ranges { singles, pairs, addresses } = Ranges::of(&q);
            assert!(singles.len() <= RANGES && pairs.len() <= RANGES && addresses.len() == 1, "{q}");
        }
    }

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
        config.database.url = server.as_str().into();
        config.database.schema = format!("prefix_{}", std::process::id());
        let plan = self::plan(&config.database, "explain ", "QUERY PLAN").await;
        assert!(!plan.contains("Seq Scan"), "{plan}");
        assert_eq!(plan.matches("Index").count() - plan.matches("Index Cond").count(), 6, "{plan}");
    }

    /// The plan of the statement; on Postgres the schema is removed again.
    async fn plan(config: &config::Database, explain: &'static str, column: &str) -> String {
        let db = crate::db::connect(config).await.unwrap();
        crate::db::migrate(&db).await.unwrap();
        let tx = db.begin_read().await.unwrap();
        if db.backend() == DbBackend::Postgres {
            tx.execute_unprepared("set local enable_seqscan = off; set local enable_bitmapscan = off").await.unwrap();
        }
        let statement = statement(Stmt::new(&tx, explain), db.backend(), Ranges::of("佐藤花子"), 20);
        let rows = statement.all(&tx).await.unwrap();
        let lines: Vec<String> = rows.iter().map(|row| row.try_get("", column).unwrap()).collect();
        tx.rollback().await.unwrap();
        if db.backend() == DbBackend::Postgres {
            db.write.execute_unprepared(&format!("drop schema {} cascade", config.schema)).await.unwrap();
        }
        lines.join("\n")
    }
}
