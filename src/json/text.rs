//! JSON strings: decoding escapes, and writing them.

use std::borrow::Cow;

/// A string between its quotes, as it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Text<'a> {
    raw: &'a str,
    escaped: bool,
}

impl<'a> Text<'a> {
    /// From a text whose escapes are grammatical. `escaped`: whether it has any.
    pub(super) fn new(raw: &'a str, escaped: bool) -> Self {
        Self { raw, escaped }
    }

    /// Returns the text it stands for. U+0000 and lone surrogates become U+FFFD.
    pub fn decode(self) -> Cow<'a, str> {
        if self.escaped { Cow::Owned(decode(self.raw)) } else { Cow::Borrowed(self.raw) }
    }

    /// Whether it stands for `other`.
    pub fn is(self, other: &str) -> bool {
        if self.escaped { decode(self.raw) == other } else { self.raw == other }
    }
}

fn decode(raw: &str) -> String {
    let mut text = String::with_capacity(raw.len());
    let mut rest = raw;
    while let Some((plain, escape)) = rest.split_once('\\') {
        text.push_str(plain);
        let mut chars = escape.chars();
        match chars.next() {
            Some('u') => {
                let (decoded, after) = unit(escape);
                text.push(decoded);
                rest = after;
                continue;
            }
            Some('b') => text.push('\u{8}'),
            Some('f') => text.push('\u{c}'),
            Some('n') => text.push('\n'),
            Some('r') => text.push('\r'),
            Some('t') => text.push('\t'),
            Some(other) => text.push(other),
            None => {}
        }
        rest = chars.as_str();
    }
    text.push_str(rest);
    text
}

/// Decodes `uXXXX`, with the low half of a pair where one follows; returns the rest.
fn unit(escape: &str) -> (char, &str) {
    let Some((first, rest)) = code_unit(escape) else { return (char::REPLACEMENT_CHARACTER, "") };
    if (0xd800..0xdc00).contains(&first)
        && let Some((second, after)) = rest.strip_prefix('\\').and_then(code_unit)
        && (0xdc00..0xe000).contains(&second)
    {
        let code = 0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00);
        return (char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER), after);
    }
    let decoded = char::from_u32(first).filter(|decoded| *decoded != '\0');
    (decoded.unwrap_or(char::REPLACEMENT_CHARACTER), rest)
}

fn code_unit(escape: &str) -> Option<(u32, &str)> {
    let digits = escape.strip_prefix('u')?;
    Some((u32::from_str_radix(digits.get(..4)?, 16).ok()?, digits.get(4..)?))
}

/// Appends a string with its quotes and escapes.
pub(super) fn write(text: &str, out: &mut String) {
    out.push('"');
    let mut from = 0;
    for (at, byte) in text.bytes().enumerate() {
        let escape = match byte {
            b'"' => "\\\"",
            b'\\' => "\\\\",
            b'\n' => "\\n",
            b'\r' => "\\r",
            b'\t' => "\\t",
            0x8 => "\\b",
            0xc => "\\f",
            0..=0x1f => "",
            _ => continue,
        };
        out.push_str(text.get(from..at).unwrap_or_default());
        from = at + 1;
        if escape.is_empty() { out.push_str(&format!("\\u{byte:04x}")) } else { out.push_str(escape) }
    }
    out.push_str(text.get(from..).unwrap_or_default());
    out.push('"');
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lone_surrogates_and_nul_are_replaced() {
        for (raw, decoded) in [
            (r"half \ud83d", "half \u{fffd}"),
            (r"\ude00 low", "\u{fffd} low"),
            (r"\ud83d\ude00", "😀"),
            (r"\uD83D\u0041", "\u{fffd}A"),
            (r"\ud83d\ud83d\ude00", "\u{fffd}😀"),
            (r"\ud83d\n", "\u{fffd}\n"),
            (r"\u0000\u00e9\/\\\b", "\u{fffd}é/\\\u{8}"),
        ] {
            assert_eq!(Text::new(raw, true).decode(), decoded, "{raw}");
        }
    }

    proptest! {
        #[test]
        fn writes_what_another_parser_reads(text in any::<String>()) {
            let mut written = String::new();
            write(&text, &mut written);
            prop_assert_eq!(&written, &serde_json::to_string(&text).unwrap());
            let inner = &written[1..written.len() - 1];
            prop_assert_eq!(Text::new(inner, true).decode(), text.replace('\0', "\u{fffd}"));
        }
    }
}
