//! A reference parser: `serde_json`'s grammar into a tree that keeps every member in its place.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{Error, IgnoredAny, MapAccess, SeqAccess, Visitor},
};

/// A JSON value; a number as it is written.
#[derive(Debug, Clone, PartialEq)]
pub enum Tree {
    Null,
    Bool(bool),
    Number(String),
    String(String),
    Array(Vec<Tree>),
    Object(Vec<(String, Tree)>),
}

/// Whether `serde_json` accepts the grammar of a text.
pub fn is_json(text: &str) -> bool {
    serde_json::from_str::<IgnoredAny>(text).is_ok()
}

/// The tree of a text; `None` where it is not JSON, or nested deeper than `serde_json` reads.
pub fn parse(text: &str) -> Option<Tree> {
    serde_json::from_str(&readable(text)).ok()
}

impl Tree {
    /// The last member of this name.
    pub fn last(&self, name: &str) -> Option<&Tree> {
        let Self::Object(members) = self else { return None };
        members.iter().rev().find(|(known, _)| known == name).map(|(_, value)| value)
    }

    pub fn as_text(&self) -> Option<&str> {
        if let Self::String(text) = self { Some(text) } else { None }
    }

    pub fn as_number(&self) -> Option<&str> {
        if let Self::Number(text) = self { Some(text) } else { None }
    }

    pub fn is_object(&self) -> bool {
        matches!(self, Self::Object(_))
    }

    /// Calls `visit` with every string that stands as a value.
    pub fn each_text<'a>(&'a self, visit: &mut impl FnMut(&'a str)) {
        match self {
            Self::String(text) => visit(text),
            Self::Array(items) => items.iter().for_each(|item| item.each_text(visit)),
            Self::Object(members) => members.iter().for_each(|(_, value)| value.each_text(visit)),
            Self::Null | Self::Bool(_) | Self::Number(_) => {}
        }
    }
}

/// The text without what `serde_json` cannot hold: numbers become strings, lone surrogates and U+0000 become U+FFFD. A
/// string that was a number begins with `n`, every other one with `s`.
fn readable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '"' => string(rest, &mut out),
            '-' | '0'..='9' => number(rest, &mut out),
            other => {
                out.push(other);
                other.len_utf8()
            }
        };
        rest = &rest[length..];
    }
    out
}

/// Copies a number as a string, if it is one; returns its length.
fn number(text: &str, out: &mut String) -> usize {
    let length = text.find(|c: char| !matches!(c, '-' | '+' | '.' | 'e' | 'E' | '0'..='9')).unwrap_or(text.len());
    let written = &text[..length];
    // What is no number must not become a string, which would be JSON.
    *out += &if is_json(written) { format!("\"n{written}\"") } else { written.to_owned() };
    length
}

/// Copies a string; returns its length with the quotes.
fn string(text: &str, out: &mut String) -> usize {
    let bytes = text.as_bytes();
    let unit = |at: usize| {
        let digits = text.get(at + 2..at + 6).filter(|_| bytes[at..].starts_with(b"\\u"))?;
        u32::from_str_radix(digits, 16).ok().filter(|_| digits.bytes().all(|digit| digit.is_ascii_hexdigit()))
    };
    *out += "\"s";
    let (mut at, mut from) = (1, 1);
    while at < bytes.len() && bytes[at] != b'"' {
        if bytes[at] != b'\\' {
            at += 1;
            continue;
        }
        let low = unit(at).filter(|high| (0xd800..0xdc00).contains(high)).and_then(|_| unit(at + 6));
        let length = match unit(at) {
            Some(_) if low.is_some_and(|low| (0xdc00..0xe000).contains(&low)) => 12,
            Some(0 | 0xd800..0xe000) => {
                *out += &text[from..at];
                *out += "\\ufffd";
                from = at + 6;
                6
            }
            Some(_) => 6,
            None => 1 + text[at + 1..].chars().next().map_or(0, char::len_utf8),
        };
        at += length;
    }
    at = (at + 1).min(bytes.len());
    *out += &text[from..at];
    at
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Values;
        impl<'de> Visitor<'de> for Values {
            type Value = Tree;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("JSON with marked strings")
            }

            fn visit_unit<E>(self) -> Result<Tree, E> {
                Ok(Tree::Null)
            }

            fn visit_bool<E>(self, truth: bool) -> Result<Tree, E> {
                Ok(Tree::Bool(truth))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Tree, E> {
                let number = text.strip_prefix('n').map(|number| Tree::Number(number.to_owned()));
                number.map_or_else(|| unmarked(text).map(Tree::String), Ok)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Tree, A::Error> {
                let mut all = Vec::new();
                while let Some(item) = items.next_element()? {
                    all.push(item);
                }
                Ok(Tree::Array(all))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Tree, A::Error> {
                let mut all = Vec::new();
                while let Some((name, value)) = members.next_entry::<String, Tree>()? {
                    all.push((unmarked(&name)?, value));
                }
                Ok(Tree::Object(all))
            }
        }
        deserializer.deserialize_any(Values)
    }
}

fn unmarked<E: Error>(text: &str) -> Result<String, E> {
    text.strip_prefix('s').map(str::to_owned).ok_or_else(|| E::custom("a number as a name"))
}
