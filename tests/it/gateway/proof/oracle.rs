//! What each client may see, read off the rows of the feed.

use std::collections::BTreeMap;

use clerk_sync::db::{Db, Stmt};

/// A row of the feed.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) seq: i64,
    pub(super) event: String,
    pub(super) topic: String,
    pub(super) subject: String,
    routing: Vec<String>,
}

/// All of them, and who is meant by which id.
#[derive(Debug)]
pub(super) struct Oracle {
    rows: Vec<Row>,
    ids: BTreeMap<String, String>,
}

/// What may be seen of a topic: parts, one a membership. All but the last were ended, and whoever was not quick enough
/// never gets the end of such a part: rights are those at delivery.
#[derive(Debug, Default)]
pub(super) struct Expected {
    parts: Vec<Vec<i64>>,
    /// Whether the last part has no end.
    lasts: bool,
}

/// How what was seen compares.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Complete,
    /// So far all is well.
    Lacking,
    Wrong(String),
}

impl Oracle {
    pub(super) async fn read(db: &Db) -> Self {
        let rows = Stmt::new(
            &db.read,
            "select seq, event, topic, subject, cast(routing as text) as routing from clerk_sync.outbox order by seq",
        );
        let rows = rows.all(&db.read).await.unwrap().into_iter().map(|row| {
            let text = |name: &str| row.try_get::<String>("", name).unwrap();
            Row {
                seq: row.try_get("", "seq").unwrap(),
                event: text("event"),
                topic: text("topic"),
                subject: text("subject"),
                routing: serde_json::from_str(&text("routing")).unwrap(),
            }
        });
        let rows = rows.collect();
        let ids = "select clerk_id, cast(id as text) as id from clerk_sync.users union all select clerk_id, cast(id as text) as id from clerk_sync.organizations";
        let ids = Stmt::new(&db.read, ids).all(&db.read).await.unwrap().into_iter();
        let text = |row: &sea_orm::QueryResult, name: &str| row.try_get::<String>("", name).unwrap();
        let ids = ids.map(|row| (text(&row, "clerk_id"), text(&row, "id"))).collect();
        Self { rows, ids }
    }

    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    pub(super) fn row(&self, seq: i64) -> Option<&Row> {
        self.rows.binary_search_by_key(&seq, |row| row.seq).ok().map(|index| &self.rows[index])
    }

    /// What somebody may see of a topic by its word: an operator everything, a person (by Clerk's id) themselves, and an
    /// organisation while they are a member.
    pub(super) fn expected(&self, word: &str, person: Option<&str>) -> Expected {
        let word = match person {
            Some(person) if word == "user:me" => format!("user:{person}"),
            _ => word.to_owned(),
        };
        // Ids are Clerk's in words, and ours in the rows.
        let routed = word
            .split_once(':')
            .map(|(kind, clerk_id)| self.ids.get(clerk_id).map(|id| format!("{kind}:{id}")).unwrap_or_default());
        let reaches = |row: &&Row| {
            row.topic != "internal" && routed.as_ref().map_or(row.topic == word, |routed| row.routing.contains(routed))
        };
        let reaches: Vec<&Row> = self.rows.iter().filter(reaches).collect();
        match (word.split_once(':'), person) {
            (Some(("org", organization)), Some(person)) => as_member(&reaches, organization, person),
            _ => Expected { parts: vec![reaches.iter().map(|row| row.seq).collect()], lasts: true },
        }
    }
}

/// The parts of a topic for a member of the organisation.
fn as_member(reaches: &[&Row], organization: &str, person: &str) -> Expected {
    let pair = format!("{organization}/{person}");
    let (mut parts, mut inside) = (Vec::<Vec<i64>>::new(), false);
    for row in reaches {
        match row.event.as_str() {
            "membership.created" if row.subject == pair => {
                assert!(!inside, "{pair} joined twice");
                parts.push(Vec::new());
                inside = true;
            }
            // Who leaves is told so, and no more of the organisation: not even this.
            "membership.deleted" if row.subject == pair => inside = false,
            "organization.deleted" => inside = false,
            _ => {}
        }
        if inside && let Some(part) = parts.last_mut() {
            part.push(row.seq);
        }
    }
    Expected { parts, lasts: inside }
}

impl Expected {
    /// How this compares, in the order in which it was seen.
    pub(super) fn compare(&self, seen: &[i64]) -> Verdict {
        let (mut rest, mut lacking) = (seen, false);
        for (index, part) in self.parts.iter().enumerate() {
            let run = rest.iter().zip(part).take_while(|(seen, row)| seen == row).count();
            rest = &rest[run..];
            lacking = self.lasts && index + 1 == self.parts.len() && run < part.len();
        }
        match rest.first() {
            Some(wrong) => {
                let before = &seen[..seen.len() - rest.len()];
                Verdict::Wrong(format!("{wrong} is not what comes after {:?}", before.last()))
            }
            None if lacking => Verdict::Lacking,
            None => Verdict::Complete,
        }
    }

    /// How many rows are of memberships that ended.
    pub(super) fn ended(&self) -> usize {
        let ended = if self.lasts { self.parts.len().saturating_sub(1) } else { self.parts.len() };
        self.parts[..ended].iter().map(Vec::len).sum()
    }
}

#[test]
fn what_the_oracle_takes_for_right() {
    let expected = |lasts| Expected { parts: vec![vec![1, 2, 5], vec![8, 9]], lasts };
    let wrong = |lasts, seen: &[i64]| matches!(expected(lasts).compare(seen), Verdict::Wrong(_));
    for seen in [&[1, 2, 5, 8, 9][..], &[1, 8, 9], &[8, 9]] {
        assert_eq!(expected(true).compare(seen), Verdict::Complete, "{seen:?}");
    }
    for seen in [&[][..], &[1, 2], &[1, 2, 5, 8], &[8]] {
        assert_eq!(expected(true).compare(seen), Verdict::Lacking, "{seen:?}");
        assert_eq!(expected(false).compare(seen), Verdict::Complete, "{seen:?}");
    }
    // A gap, a repetition, another order, what is nobody's business, what was before they joined.
    for seen in [&[1, 5, 8, 9][..], &[1, 1, 2], &[2, 1], &[1, 2, 3], &[1, 2, 5, 9], &[8, 9, 10], &[8, 1]] {
        assert!(wrong(true, seen) && wrong(false, seen), "{seen:?}");
    }
    assert_eq!((expected(true).ended(), expected(false).ended()), (3, 5));
}
