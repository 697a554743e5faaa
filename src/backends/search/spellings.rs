//! Further spellings of a name under which people are looked for: CJK names are written without a space.
//!
//! `花子` and `佐藤` are written 佐藤花子 (and at times 花子佐藤), which is one word to the reader. Both orders are
//! indexed beside the names.

use unicode_normalization::UnicodeNormalization as _;

use super::{Doc, words};

/// Words of one name that are put together.
const WORDS: usize = 12;

/// The names of a person written together, family name first and given name first, where they hold a CJK character.
/// Names are brought to the form of the index by `fold` first.
pub(super) fn joined(doc: &Doc, fold: impl Fn(&str) -> String) -> Vec<String> {
    let split = |field: &Option<String>| {
        let folded = fold(field.as_deref().unwrap_or_default());
        words::plain_words(&folded).take(WORDS).map(str::to_owned).collect::<Vec<_>>()
    };
    let (given, family, display) = (split(&doc.first_name), split(&doc.last_name), split(&doc.display_name));
    // A whole name may stand in one field.
    let half = |side: usize| display.get(side..=side).filter(|_| display.len() == 2).unwrap_or_default();
    let orders = [
        [family.as_slice(), given.as_slice()],
        [given.as_slice(), family.as_slice()],
        [display.as_slice(), &[]],
        [half(1), half(0)],
    ];
    let mut joined: Vec<String> = Vec::new();
    for parts in orders {
        let parts = parts.concat();
        let name = parts.concat();
        let name = words::cut(&name);
        if parts.len() > 1 && name.contains(is_cjk) && !joined.iter().any(|known| known == name) {
            joined.push(name.to_owned());
        }
    }
    joined
}

/// What is indexed beside the names as they are: the names written together, and those whose compatibility form
/// (half-width, full-width, ligatures, combining marks) is another text.
pub(super) fn compatible(doc: &Doc) -> Vec<String> {
    let mut spellings = joined(doc, |text| text.nfkc().collect());
    for field in [&doc.display_name, &doc.first_name, &doc.last_name, &doc.username].into_iter().flatten() {
        let form: String = field.nfkc().collect();
        if form != *field && !spellings.contains(&form) {
            spellings.push(form);
        }
    }
    spellings
}

/// Whether a character is of a script that writes names without a space: Han, kana, bopomofo, hangul.
pub(crate) fn is_cjk(c: char) -> bool {
    matches!(c,
        '\u{1100}'..='\u{11ff}' | '\u{2e80}'..='\u{2fdf}' | '\u{3005}'..='\u{3007}' | '\u{3040}'..='\u{30ff}'
        | '\u{3100}'..='\u{318f}' | '\u{31a0}'..='\u{31bf}' | '\u{31f0}'..='\u{31ff}' | '\u{3400}'..='\u{4dbf}'
        | '\u{4e00}'..='\u{9fff}' | '\u{a960}'..='\u{a97f}' | '\u{ac00}'..='\u{d7ff}' | '\u{f900}'..='\u{faff}'
        | '\u{ff66}'..='\u{ffdc}' | '\u{20000}'..='\u{3ffff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(first: &str, last: &str) -> Doc {
        let given = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let display_name = given(format!("{first} {last}").trim());
        Doc { display_name, first_name: given(first), last_name: given(last), ..Doc::default() }
    }

    #[test]
    fn names_are_joined_in_both_orders_where_they_are_written_so() {
        let both = |first, last| joined(&named(first, last), str::to_owned);
        assert_eq!(both("花子", "佐藤"), ["佐藤花子", "花子佐藤"]);
        assert_eq!(both("민수", "김"), ["김민수", "민수김"]);
        assert_eq!(both("Anna", "佐藤"), ["佐藤Anna", "Anna佐藤"]);
        assert_eq!(both("佐藤\u{3000}花子", ""), ["佐藤花子", "花子佐藤"], "a whole name in one field");
        assert_eq!(both("マリア・テレサ", ""), ["マリアテレサ", "テレサマリア"]);
        assert_eq!(both("Anna", "Smith"), [""; 0]);
        assert_eq!(both("花子", ""), [""; 0]);
        let long = joined(&named(&"花 ".repeat(5_000), &"子".repeat(5_000)), str::to_owned);
        assert!(long.iter().all(|name| name.chars().count() <= 64), "{long:?}");
    }

    #[test]
    fn compatibility_forms_are_added_where_they_differ() {
        assert_eq!(compatible(&named("Anna", "Smith")), [""; 0]);
        assert_eq!(compatible(&named("ﾊﾅｺ", "")), ["ハナコ"]);
        assert_eq!(compatible(&named("Ａｎｎａ", "")), ["Anna"]);
        assert_eq!(
            compatible(
                &named("민수", "김")
                    .first_name
                    .map_or_else(Doc::default, |name| Doc { first_name: Some(name.nfd().collect()), ..Doc::default() })
            ),
            ["민수"]
        );
    }
}
