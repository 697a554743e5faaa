//! Ranges of a prefix lookup: the beginnings that what was typed may stand for, in the order of code points.
//!
//! Their number is bounded whatever was typed.

use unicode_normalization::UnicodeNormalization as _;

use crate::{
    backends::search::is_cjk,
    db::{Col, Rows, Type},
    domain::emails,
};

/// Characters of a name that the indexes hold.
const INDEXED: usize = 64;
/// Ranges of one kind that are looked up.
const RANGES: usize = 64;
/// Letters beyond ASCII whose case is tried in every combination.
const CASES: usize = 3;
/// Characters of a CJK name between which it is divided.
const DIVIDED: usize = 12;

/// What is looked up: texts that begin with something, also behind a whole other name.
#[derive(Debug)]
pub(super) struct Ranges {
    pub(super) singles: Rows,
    pub(super) pairs: Rows,
    pub(super) addresses: Rows,
}

impl Ranges {
    pub(super) fn of(q: &str) -> Self {
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
    use super::*;

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
}
