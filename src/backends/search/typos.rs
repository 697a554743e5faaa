//! How a word of the document may begin to be what somebody meant: exactly as typed, or with one slip of
//! the keyboard (a letter wrong, missing, too many, or two swapped). The first letter must be right, as in Meilisearch.
//!
//! A slip leaves what stands before it and what stands after it as they are, and both parts are trigrams the
//! index knows. So every candidate comes from an index, and [`near`] judges them all by the same rule.

/// Words shorter than this must be typed right, as Meilisearch has it.
pub(super) const FORGIVING: usize = 5;
/// Slips are looked for in so many characters of a word.
const POSITIONS: usize = 24;
/// Words that the index is asked about; the others are only checked on what it finds.
pub(super) const INDEXED: usize = 4;
/// Ways of reading one query that the index is asked about.
const READINGS: usize = 192;

/// A word of the document begins with `before`, then (if `any`) one character whatever it is, then `after`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Beginning {
    pub(super) before: String,
    pub(super) any: bool,
    pub(super) after: String,
}

/// One way of reading a query: for each of its words how a word of the document begins.
pub(super) type Reading = Vec<Beginning>;

impl Beginning {
    fn exact(word: &str) -> Self {
        Self { before: word.to_owned(), any: false, after: String::new() }
    }

    fn whole(word: &str) -> Self {
        // The two spaces that end every word of a document.
        Self { before: format!("{word}  "), any: false, after: String::new() }
    }
}

/// The words that tell most about where to look: the longest.
fn indexed(words: &[String]) -> Vec<&str> {
    let mut words: Vec<&str> = words.iter().map(String::as_str).collect();
    words.sort_by_key(|word| std::cmp::Reverse(word.chars().count()));
    words.truncate(INDEXED);
    words
}

/// The words as they were typed: first as whole words, then as beginnings.
pub(super) fn as_typed(words: &[String]) -> Vec<Reading> {
    let words = indexed(words);
    vec![
        words.iter().map(|word| Beginning::whole(word)).collect(),
        words.iter().map(|word| Beginning::exact(word)).collect(),
    ]
}

/// The words with one slip in one of them. If something was `found` as typed, then an address is meant as it was typed.
pub(super) fn with_a_slip(words: &[String], found: bool) -> Vec<Reading> {
    let words = indexed(words);
    let mut readings = Vec::new();
    for (index, word) in words.iter().enumerate() {
        if found && word.contains('@') {
            continue;
        }
        for slip in slips(word) {
            let others = words.iter().enumerate().filter(|(other, _)| *other != index);
            readings.push(std::iter::once(slip).chain(others.map(|(_, word)| Beginning::exact(word))).collect());
        }
    }
    readings.truncate(READINGS);
    readings
}

fn slips(word: &str) -> Vec<Beginning> {
    let chars: Vec<char> = word.chars().collect();
    let mut slips: Vec<Beginning> = Vec::new();
    if chars.len() < FORGIVING {
        return slips;
    }
    let text = |chars: &[char]| chars.iter().collect::<String>();
    for at in 1..chars.len().min(POSITIONS) {
        let (before, after) = (text(&chars[..at]), text(&chars[at + 1..]));
        let too_many = Beginning::exact(&format!("{before}{after}"));
        let missing = Beginning { before: before.clone(), any: true, after: text(&chars[at..]) };
        for slip in [Beginning { before, any: true, after }, missing] {
            // What is left is too short for the index, unless the word ends there.
            if matches!(slip.after.chars().count(), 1 | 2) {
                slips.push(Beginning { after: format!("{}  ", slip.after), ..slip.clone() });
            }
            slips.push(slip);
        }
        slips.push(too_many);
        if at + 1 < chars.len() {
            let mut swapped = chars.clone();
            swapped.swap(at, at + 1);
            slips.push(Beginning::exact(&text(&swapped)));
        }
    }
    // Doubled letters make the same reading twice.
    let mut once: Vec<Beginning> = Vec::with_capacity(slips.len());
    slips.into_iter().for_each(|slip| {
        if !once.contains(&slip) && slip.before != word {
            once.push(slip)
        }
    });
    once
}

/// How well a word of a document fits a typed one. Less is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fit {
    Whole,
    Beginning,
    SlipWhole,
    SlipBeginning,
}

/// Whether `word` is, or begins with, what was `typed`, one slip allowed in words that are long enough.
pub(super) fn near(typed: &str, word: &str) -> Option<Fit> {
    if let Some(rest) = word.strip_prefix(typed) {
        return Some(if rest.is_empty() { Fit::Whole } else { Fit::Beginning });
    }
    let (typed, word): (Vec<char>, Vec<char>) = (typed.chars().collect(), word.chars().collect());
    if typed.len() < FORGIVING {
        return None;
    }
    // Both are the same up to here, so here is the slip.
    let at = typed.iter().zip(&word).take_while(|(a, b)| a == b).count();
    if at == 0 {
        return None;
    }
    let (typed, word) = (&typed[at..], &word[at..]);
    let rest = |word: Option<&[char]>, typed: Option<&[char]>| word?.strip_prefix(typed?).map(<[char]>::len);
    let swapped = matches!((typed, word), ([a, b, ..], [c, d, ..]) if a == d && b == c);
    let rests = [
        rest(word.get(1..), typed.get(1..)),
        rest(word.get(1..), Some(typed)),
        rest(Some(word), typed.get(1..)),
        if swapped { rest(word.get(2..), typed.get(2..)) } else { None },
    ];
    rests.into_iter().flatten().min().map(|rest| if rest == 0 { Fit::SlipWhole } else { Fit::SlipBeginning })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn begins(beginning: &Beginning, word: &str) -> bool {
        let Some(rest) = word.strip_prefix(&beginning.before) else { return false };
        let rest =
            if beginning.any { rest.get(rest.chars().next().map_or(usize::MAX, char::len_utf8)..) } else { Some(rest) };
        rest.is_some_and(|rest| rest.starts_with(&beginning.after))
    }

    /// The least number of slips that make some beginning of `word` what was typed, by the book; the first letter kept.
    fn distance(typed: &[char], word: &[char]) -> usize {
        if typed.first() != word.first() {
            return usize::MAX;
        }
        let mut rows = vec![(0..=word.len()).collect::<Vec<_>>()];
        for i in 1..=typed.len() {
            let mut row = vec![i];
            for j in 1..=word.len() {
                let cost = usize::from(typed[i - 1] != word[j - 1]);
                let mut best = (rows[i - 1][j] + 1).min(row[j - 1] + 1).min(rows[i - 1][j - 1] + cost);
                if i > 1 && j > 1 && typed[i - 1] == word[j - 2] && typed[i - 2] == word[j - 1] {
                    best = best.min(rows[i - 2][j - 2] + 1);
                }
                row.push(best);
            }
            rows.push(row);
        }
        rows[typed.len()].iter().copied().min().unwrap_or(usize::MAX)
    }

    proptest! {
        #[test]
        fn near_means_one_slip(typed in "[abc]{1,9}", word in "[abcd]{0,10}") {
            let (a, b): (Vec<char>, Vec<char>) = (typed.chars().collect(), word.chars().collect());
            let allowed = usize::from(a.len() >= FORGIVING);
            prop_assert_eq!(near(&typed, &word).is_some(), distance(&a, &b) <= allowed);
        }

        #[test]
        fn whatever_is_near_is_looked_for(typed in "[abc]{1,9}", word in "[abcd]{0,10}") {
            let words = vec![typed.clone()];
            let found = |readings: Vec<Reading>| readings.iter().any(|reading| begins(&reading[0], &word));
            match near(&typed, &word) {
                Some(Fit::Whole | Fit::Beginning) => prop_assert!(found(as_typed(&words))),
                Some(_) => prop_assert!(found(with_a_slip(&words, false))),
                None => prop_assert!(!found(as_typed(&words)) && !found(with_a_slip(&words, false))),
            }
        }
    }

    #[test]
    fn what_fits_better_counts_less() {
        assert_eq!(near("jonas", "jonas"), Some(Fit::Whole));
        assert_eq!(near("jona", "jonas"), Some(Fit::Beginning));
        assert_eq!(near("joans", "jonas"), Some(Fit::SlipWhole));
        assert_eq!(near("jonatahn", "jonathan"), Some(Fit::SlipWhole));
        assert_eq!(near("jonax", "jonathan"), Some(Fit::SlipBeginning));
        assert_eq!(near("jnhn", "john"), None);
        assert_eq!(near("xxxxx", "jonas"), None);
    }
}
