//! Readings as the two databases want them: LIKE patterns for pg_trgm; for FTS5 a MATCH text, which only narrows
//! down, and GLOB patterns, which decide. Whatever a user typed is quoted here, and nowhere else becomes part of a
//! query language.

use super::typos::{Beginning, INDEXED, Reading};
use crate::db::{Cell, Col, Rows, Type};

/// Characters of a part that the trigram index is asked about where another part narrows down more.
const PART: usize = 8;

/// One LIKE pattern an indexed word.
pub(super) fn postgres(readings: Vec<Reading>) -> Rows {
    const COLS: [Col; INDEXED] =
        [Col("a", Type::Text), Col("b", Type::Text), Col("c", Type::Text), Col("d", Type::Text)];
    let mut rows = Rows::new(&COLS);
    for reading in readings {
        rows.push(columns(&reading, like));
    }
    rows
}

/// What the trigram index is asked, and one GLOB pattern an indexed word.
pub(super) fn sqlite(readings: Vec<Reading>) -> Rows {
    const COLS: [Col; INDEXED + 1] =
        [Col("a", Type::Text), Col("b", Type::Text), Col("c", Type::Text), Col("d", Type::Text), Col("m", Type::Text)];
    let mut rows = Rows::new(&COLS);
    for reading in readings {
        let mut row = columns(&reading, glob);
        row.push(phrases(&reading).into());
        rows.push(row);
    }
    rows
}

/// A pattern for every column: a reading with fewer words repeats its last.
fn columns(reading: &Reading, pattern: impl Fn(&Beginning) -> String) -> Vec<Cell> {
    (0..INDEXED).map(|at| reading.get(at).or(reading.last()).map_or(Cell::Null, |word| pattern(word).into())).collect()
}

fn like(word: &Beginning) -> String {
    let plain = |text: &str| text.replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_");
    format!("%  {}{}{}%", plain(&word.before), if word.any { "_" } else { "" }, plain(&word.after))
}

fn glob(word: &Beginning) -> String {
    let plain = |text: &str| text.replace('[', "[[]").replace('*', "[*]").replace('?', "[?]");
    format!("*  {}{}{}*", plain(&word.before), if word.any { "?" } else { "" }, plain(&word.after))
}

/// Parts of the reading's words, long enough to hold a trigram, each as a quoted phrase.
fn phrases(reading: &Reading) -> String {
    let slip = reading.iter().any(|word| word.any);
    let mut phrases = Vec::new();
    let mut ask = |part: &str| {
        if part.chars().count() >= 3 {
            phrases.push(format!("\"{}\"", part.replace('"', "\"\"")));
        }
    };
    for word in reading {
        let before = format!("  {}", word.before);
        if word.any {
            ask(cut(&word.after));
        }
        ask(if slip && !word.any { cut(&before) } else { &before });
    }
    phrases.join(" AND ")
}

fn cut(part: &str) -> &str {
    part.char_indices().nth(PART).map_or(part, |(end, _)| &part[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slip(before: &str, after: &str) -> Beginning {
        Beginning { before: before.into(), any: true, after: after.into() }
    }

    #[test]
    fn what_was_typed_is_quoted() {
        let word = slip("a%_\\*?[\"", "b'\"%d");
        assert_eq!(like(&word), "%  a\\%\\_\\\\*?[\"_b'\"\\%d%");
        assert_eq!(glob(&word), "*  a%_\\[*][?][[]\"?b'\"%d*");
        assert_eq!(phrases(&vec![slip("\"a", "b\"c\"d")]), r#""b""c""d" AND "  ""a""#);
    }

    #[test]
    fn the_index_is_asked_for_what_it_can_hold() {
        assert_eq!(phrases(&vec![slip("", "onas")]), r#""onas""#);
        assert_eq!(phrases(&vec![slip("jo", "as")]), r#""  jo""#);
        assert_eq!(phrases(&vec![slip("jonathan", "lindqvist")]), r#""lindqvis" AND "  jonathan""#);
        let other = Beginning { before: "lindqvist".into(), any: false, after: String::new() };
        assert_eq!(phrases(&vec![slip("jo", "athan"), other.clone()]), r#""athan" AND "  jo" AND "  lindqv""#);
        assert_eq!(phrases(&vec![other]), r#""  lindqvist""#);
    }

    #[test]
    fn a_short_reading_fills_all_columns() {
        let columns = columns(&vec![slip("a", "b"), slip("c", "d")], glob);
        assert_eq!(columns, ["*  a?b*", "*  c?d*", "*  c?d*", "*  c?d*"].map(Cell::from));
    }
}
