//! What is typed, as Meilisearch shall read it: in the compatibility form that names are indexed in, without the signs that are operators there (`"` asks for a
//! phrase, a leading `-` excludes a word) and without those that only separate words, because a separator at the end
//! makes the last word count as finished.

use unicode_normalization::UnicodeNormalization as _;

/// Characters of a query that are looked at.
const LONGEST: usize = 256;

/// The query, or nothing if there is no word in it (Meilisearch answers an empty query with everybody).
pub(super) fn plain(q: &str) -> Option<String> {
    let separates = |c: char| c.is_whitespace() || c.is_control() || is_separator(c);
    let plain: String =
        q.chars().take(LONGEST).nfkc().take(LONGEST).map(|c| if separates(c) { ' ' } else { c }).collect();
    let words: Vec<&str> = plain.split_whitespace().filter(|word| word.chars().any(char::is_alphanumeric)).collect();
    (!words.is_empty()).then(|| words.join(" "))
}

fn is_separator(c: char) -> bool {
    // Meilisearch takes these for parts of a word; all other ASCII punctuation separates.
    let part = matches!(c, '+' | '=' | '~' | '$' | '^' | '|' | '<' | '>' | '`');
    let typographic =
        matches!(c, '\u{2010}'..='\u{2015}' | '\u{2212}' | '\u{2018}'..='\u{201f}' | '«' | '»' | '＂' | '－');
    (c.is_ascii_punctuation() && !part) || typographic
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operators_become_words() {
        assert_eq!(plain("-anna \"b c\" d.e@f.g,").as_deref(), Some("anna b c d e f g"));
        assert_eq!(plain("“anna” –bob").as_deref(), Some("anna bob"));
        assert_eq!(plain("ｻﾄｳ\u{3000}Ａｎｎａ").as_deref(), Some("サトウ Anna"));
        assert_eq!(plain(" \t\0 \"\" -- 😀 * "), None);
        assert_eq!(plain(&"x".repeat(10_000)).map(|q| q.len()), Some(LONGEST));
    }
}
