//! What a query finds, as Meilisearch does it: CJK text is cut into words by a dictionary, `"…"` is a phrase, a leading `-` excludes a word, the last word may
//! be unfinished, long words may have typos, of which one in the first letter counts twice. An empty query finds all.

use std::collections::BTreeMap;

use serde_json::Value;
use unicode_normalization::{UnicodeNormalization as _, char::is_combining_mark};

use super::engine::Index;

/// Typos, then the attribute and the place in it, then whether words are unfinished.
type Score = (usize, usize, usize, usize);

fn plain(text: &str) -> String {
    text.nfkd().filter(|c| !is_combining_mark(*c)).flat_map(char::to_lowercase).collect::<String>()
}

fn words(text: &str) -> Vec<String> {
    let plain: String = plain(text).nfc().collect();
    plain.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).flat_map(segments).collect()
}

/// The longest first: 王小明 stands there as one word, though 王 and 小明 are words too.
const DICTIONARY: [&str; 7] = ["王小明", "佐藤", "花子", "小明", "민수", "김", "林"];

/// The words of a text without spaces: those of the dictionary, of Han what is unknown one by one, and what is no CJK as it
/// is.
fn segments(text: &str) -> Vec<String> {
    let han = |c: char| matches!(c, '\u{3400}'..='\u{9fff}');
    let known = |rest: &str| DICTIONARY.iter().find(|word| rest.starts_with(**word)).map(|word| word.len());
    let (mut words, mut rest, mut open) = (Vec::new(), text, String::new());
    while let Some(c) = rest.chars().next() {
        let length = known(rest).or(han(c).then_some(c.len_utf8()));
        let (word, after) = rest.split_at(length.unwrap_or(c.len_utf8()));
        rest = after;
        if length.is_none() {
            open.push_str(word);
            continue;
        }
        words.extend(Some(std::mem::take(&mut open)).filter(|open| !open.is_empty()));
        words.push(word.to_owned());
    }
    words.extend(Some(open).filter(|open| !open.is_empty()));
    words
}

#[derive(Debug)]
struct Query {
    terms: Vec<String>,
    phrases: Vec<Vec<String>>,
    excluded: Vec<String>,
    unfinished: bool,
}

fn parse(q: &str) -> Query {
    let mut query = Query { terms: vec![], phrases: vec![], excluded: vec![], unfinished: false };
    for (index, part) in q.split('"').enumerate() {
        if index % 2 == 1 {
            query.phrases.extend(Some(words(part)).filter(|phrase| !phrase.is_empty()));
            query.unfinished = false;
            continue;
        }
        for word in part.split_whitespace() {
            match word.strip_prefix('-') {
                Some(word) if !word.is_empty() => query.excluded.extend(words(word)),
                _ => query.terms.extend(words(word)),
            }
        }
        query.unfinished = part.ends_with(char::is_alphanumeric);
    }
    // Ten words are looked at.
    query.terms.truncate(10);
    query
}

pub(super) fn search(index: &Index, q: &str, all: bool) -> Vec<Value> {
    let query = parse(q);
    let mut found: Vec<(Score, &Value)> = index
        .documents
        .values()
        .filter_map(|document| {
            let fields = document.searchable(index);
            let has = |word: &String| fields.iter().any(|field| field.contains(word));
            let phrase =
                |phrase: &Vec<String>| fields.iter().any(|field| field.windows(phrase.len()).any(|run| run == phrase));
            if query.excluded.iter().any(has) || !query.phrases.iter().all(phrase) {
                return None;
            }
            let mut total: Score = (0, 0, 0, 0);
            for (place, term) in query.terms.iter().enumerate() {
                let last = place + 1 == query.terms.len() && query.unfinished;
                match best(index, &fields, term, last) {
                    Some(score) => {
                        total = (total.0 + score.0, total.1 + score.1, total.2 + score.2, total.3 + score.3);
                    }
                    None if all || place == 0 => return None,
                    None => break,
                }
            }
            Some((total, &document.json))
        })
        .collect();
    found.sort_by_key(|(score, _)| *score);
    found.into_iter().map(|(_, document)| document.clone()).collect()
}

/// A document and the words of its fields.
#[derive(Debug, Clone)]
pub(super) struct Document {
    pub(super) json: Value,
    words: BTreeMap<String, Vec<String>>,
}

impl Document {
    pub(super) fn new(json: Value) -> Self {
        let fields = json.as_object().into_iter().flatten();
        let texts = |value: &Value| match value {
            Value::Array(values) => values.iter().filter_map(Value::as_str).flat_map(words).collect(),
            value => words(value.as_str().unwrap_or_default()),
        };
        let words = fields.map(|(name, value)| (name.clone(), texts(value))).collect();
        Self { json, words }
    }

    /// The words that may be searched, field by field in order of weight.
    fn searchable(&self, index: &Index) -> Vec<&[String]> {
        let field = |name: &str| self.words.get(name).map(Vec::as_slice).unwrap_or_default();
        match index.settings["searchableAttributes"].as_array() {
            Some(names) => names.iter().filter_map(Value::as_str).map(field).collect(),
            None => self.words.values().map(Vec::as_slice).collect(),
        }
    }
}

fn best(index: &Index, fields: &[&[String]], term: &str, unfinished: bool) -> Option<Score> {
    let sizes = &index.settings["typoTolerance"]["minWordSizeForTypos"];
    let size = |name: &str, default: u64| sizes[name].as_u64().unwrap_or(default);
    let allowed = match term.chars().count() as u64 {
        length if length >= size("twoTypos", 9) => 2,
        length if length >= size("oneTypo", 5) => 1,
        _ => 0,
    };
    let mut scores = Vec::new();
    for (attribute, words) in fields.iter().enumerate() {
        for (place, word) in words.iter().enumerate() {
            let as_typed = word == term || unfinished && word.starts_with(term);
            let typos = match allowed {
                _ if as_typed => 0,
                0 => continue,
                _ => typos(term, word, unfinished),
            };
            if typos <= allowed {
                scores.push((typos, attribute, place, usize::from(word != term)));
            }
        }
    }
    scores.into_iter().min()
}

/// Damerau's distance between the term and the word, or its nearest beginning.
fn typos(term: &str, word: &str, unfinished: bool) -> usize {
    let (term, word): (Vec<char>, Vec<char>) = (term.chars().collect(), word.chars().collect());
    let mut rows = vec![(0..=word.len()).collect::<Vec<usize>>()];
    for i in 1..=term.len() {
        let mut row = vec![i];
        for j in 1..=word.len() {
            let other = usize::from(term[i - 1] != word[j - 1]);
            let mut least = (rows[i - 1][j] + 1).min(row[j - 1] + 1).min(rows[i - 1][j - 1] + other);
            if i > 1 && j > 1 && term[i - 1] == word[j - 2] && term[i - 2] == word[j - 1] {
                least = least.min(rows[i - 2][j - 2] + 1);
            }
            row.push(least);
        }
        rows.push(row);
    }
    let last = &rows[term.len()];
    let distance = if unfinished { last.iter().copied().min() } else { last.last().copied() };
    let first = usize::from(term.first() != word.first() && distance > Some(0));
    distance.map_or(usize::MAX, |distance| distance + first)
}
