//! Words: what is searched for and what is searched in, brought to the same plain form.
//!
//! A document is the words of a person's names and address, each between two spaces on either side
//! (`  anna  smith  `), so that even a single letter at the start of a word is a trigram of the index.
//! Case, diacritics and punctuation are gone; only a whole e-mail address keeps its dots and its `@`. Names in CJK scripts
//! also stand written together, as they are typed ([`spellings`]).

use unicode_normalization::{UnicodeNormalization as _, char::canonical_combining_class};

use super::{Doc, spellings};

/// Characters of a word that count; what follows is cut off, in documents and queries alike.
const WORD: usize = 64;
/// Words of one field. Names are short; a strange one costs no more and pushes no other field out.
const FIELD: usize = 12;
/// Characters and words of a query that are looked at.
const QUERY: (usize, usize) = (256, 8);

/// The text that is searched for this person. Earlier words weigh more in the order of results.
pub(super) fn document(doc: &Doc) -> String {
    let fields = [&doc.display_name, &doc.first_name, &doc.last_name, &doc.username, &doc.email];
    let fields: Vec<String> = fields.into_iter().flatten().map(|field| fold(field)).collect();
    let mut words = Vec::new();
    for field in &fields {
        words.extend(field.split_whitespace().filter_map(address).chain(plain_words(field)).take(FIELD));
    }
    let joined = spellings::joined(doc, fold);
    words.extend(joined.iter().map(String::as_str));
    let mut text = String::new();
    for (index, word) in words.iter().enumerate() {
        if !words[..index].contains(word) {
            text.push_str("  ");
            text.push_str(word);
        }
    }
    if !text.is_empty() {
        text.push_str("  ");
    }
    text
}

/// The words somebody searches for: every one of them must be found. A word that begins another one of them
/// asks for nothing more and is left out.
pub(super) fn query(text: &str) -> Vec<String> {
    let text = fold(&text.chars().take(QUERY.0).collect::<String>());
    let mut words: Vec<&str> = Vec::new();
    for part in text.split_whitespace() {
        match address(part) {
            Some(address) => words.push(address),
            None => words.extend(plain_words(part)),
        }
    }
    words.truncate(QUERY.1);
    let implied = |index: usize, word: &str| {
        words.iter().enumerate().any(|(other, longer)| {
            other != index && longer.starts_with(word) && (longer.len() > word.len() || other < index)
        })
    };
    words
        .iter()
        .enumerate()
        .filter(|(index, word)| !implied(*index, word))
        .map(|(_, word)| (*word).to_owned())
        .collect()
}

/// An e-mail address, also one that is still being typed (`anna.smith@exa`).
fn address(part: &str) -> Option<&str> {
    let part = part.trim_start_matches(|c: char| !c.is_alphanumeric());
    let part = part.trim_end_matches(|c: char| !c.is_alphanumeric() && c != '@');
    part.find('@').is_some_and(|at| at > 0).then(|| cut(part))
}

/// The words of a text, without punctuation.
pub(super) fn plain_words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).map(cut)
}

/// As much of a word as counts.
pub(super) fn cut(word: &str) -> &str {
    word.char_indices().nth(WORD).map_or(word, |(end, _)| &word[..end])
}

/// Lower case without diacritics; control characters become spaces.
fn fold(text: &str) -> String {
    let plain = text.nfkd().filter(|c| canonical_combining_class(*c) == 0).flat_map(char::to_lowercase);
    // Lowering can bring a mark of its own (Turkish İ).
    let plain = plain.filter(|c| canonical_combining_class(*c) == 0);
    let mut folded = String::with_capacity(text.len());
    for c in plain.nfc() {
        match c {
            // Latin letters that Unicode does not take apart, as people without the key write them.
            'ß' => folded.push_str("ss"),
            'æ' => folded.push_str("ae"),
            'œ' => folded.push_str("oe"),
            'þ' => folded.push_str("th"),
            'ø' => folded.push('o'),
            'ł' => folded.push('l'),
            'đ' | 'ð' => folded.push('d'),
            'ħ' => folded.push('h'),
            'ı' => folded.push('i'),
            c if c.is_control() => folded.push(' '),
            c => folded.push(c),
        }
    }
    folded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_and_diacritics_go() {
        assert_eq!(
            query("Zoë ŁUKASZ Ångström İzmir Straße ﬁn"),
            ["zoe", "lukasz", "angstrom", "izmir", "strasse", "fin"]
        );
        assert_eq!(query("Жанна 田中 한국"), ["жанна", "田中", "한국"]);
    }

    #[test]
    fn a_query_is_plain_text() {
        assert_eq!(query("\"anna\" AND -smith* NEAR(x%_\\)"), ["anna", "and", "smith", "near", "x"]);
        assert_eq!(query("o'brien a\0b"), ["o", "brien", "a"], "b begins brien and asks for nothing more");
        assert!(query(" \t\n\0 -- \"\" *").is_empty());
        assert_eq!(query(&"x".repeat(10_000)), ["x".repeat(WORD)]);
        assert_eq!(query(&"ab cd ".repeat(10_000)), ["ab", "cd"]);
    }

    #[test]
    fn addresses_stay_whole() {
        assert_eq!(query("<Anna.Smith@Example.com>,"), ["anna.smith@example.com"]);
        assert_eq!(query("anna@"), ["anna@"]);
        assert_eq!(query("@example"), ["example"]);
        assert_eq!(query("jo john jo"), ["john"]);
    }

    #[test]
    fn documents_name_each_word_once() {
        let doc = Doc {
            display_name: Some("Anna Smith".into()),
            first_name: Some("Anna".into()),
            last_name: Some("Smith".into()),
            username: Some("anna_s".into()),
            email: Some("Anna.Smith+x@example.com".into()),
            ..Doc::default()
        };
        assert_eq!(document(&doc), "  anna  smith  s  anna.smith+x@example.com  x  example  com  ");
        assert_eq!(document(&Doc::default()), "");
        let (first_name, last_name) = (Some("ﾊﾅｺ".into()), Some("佐藤".into()));
        let hanako = document(&Doc { first_name, last_name, ..Doc::default() });
        assert_eq!(hanako, "  ハナコ  佐藤  佐藤ハナコ  ハナコ佐藤  ");
        let long = Doc { display_name: Some("a b c d e f g h i j k l m n o p".into()), ..doc };
        assert!(
            document(&long).contains("  l  anna  smith  s  anna.smith+x@example.com  x  example  com  "),
            "{long:?}"
        );
    }
}
