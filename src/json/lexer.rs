//! Pull lexer for JSON (RFC 8259): checks the whole grammar and holds one byte a level of nesting, nothing else.

use super::text::Text;

/// A grammatical unit. Commas and colons are checked and passed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Token<'a> {
    /// `{`
    ObjectStart,
    /// `}`
    ObjectEnd,
    /// `[`
    ArrayStart,
    /// `]`
    ArrayEnd,
    /// The name of a member; its value follows.
    Name(Text<'a>),
    /// A string as a value.
    String(Text<'a>),
    /// A number as it is written.
    Number(&'a str),
    /// `true` or `false`.
    Bool(bool),
    /// `null`
    Null,
}

/// The text is not JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not JSON at byte {at}")]
pub struct SyntaxError {
    /// Offset in bytes.
    pub at: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Container {
    Object,
    Array,
}

/// What the grammar allows next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expected {
    Value,
    ValueOrEnd,
    Name,
    NameOrEnd,
    CommaOrEnd,
}

/// Reads one JSON text token by token.
#[derive(Debug, Clone)]
pub struct Lexer<'a> {
    source: &'a str,
    at: usize,
    start: usize,
    containers: Vec<Container>,
    expected: Expected,
}

impl<'a> Lexer<'a> {
    /// Reads `source` from its beginning.
    pub fn new(source: &'a str) -> Self {
        Self { source, at: 0, start: 0, containers: Vec::new(), expected: Expected::Value }
    }

    /// How many objects and arrays are open.
    pub fn depth(&self) -> usize {
        self.containers.len()
    }

    /// Where the last token begins and ends, in bytes.
    pub fn span(&self) -> (usize, usize) {
        (self.start, self.at)
    }

    /// Returns the next token, or `None` after the end of the text.
    ///
    /// # Errors
    /// [`SyntaxError`] where the grammar is broken, text after the value included.
    pub fn next_token(&mut self) -> Result<Option<Token<'a>>, SyntaxError> {
        self.skip_blanks();
        if self.expected == Expected::CommaOrEnd {
            match (self.peek(), self.containers.last()) {
                (None, None) => return Ok(None),
                (Some(b','), Some(container)) => {
                    self.at += 1;
                    self.expected = match container {
                        Container::Object => Expected::Name,
                        Container::Array => Expected::Value,
                    };
                    self.skip_blanks();
                }
                (Some(b'}'), Some(Container::Object)) => return Ok(Some(self.close(Token::ObjectEnd))),
                (Some(b']'), Some(Container::Array)) => return Ok(Some(self.close(Token::ArrayEnd))),
                _ => return Err(self.error()),
            }
        }
        self.start = self.at;
        let byte = self.peek().ok_or(self.error())?;
        match (self.expected, byte) {
            (Expected::NameOrEnd, b'}') => return Ok(Some(self.close(Token::ObjectEnd))),
            (Expected::ValueOrEnd, b']') => return Ok(Some(self.close(Token::ArrayEnd))),
            (Expected::Name | Expected::NameOrEnd, b'"') => return self.name().map(Some),
            (Expected::Name | Expected::NameOrEnd, _) => return Err(self.error()),
            _ => {}
        }
        let token = match byte {
            b'{' => {
                self.open(Container::Object, Expected::NameOrEnd);
                return Ok(Some(Token::ObjectStart));
            }
            b'[' => {
                self.open(Container::Array, Expected::ValueOrEnd);
                return Ok(Some(Token::ArrayStart));
            }
            b'"' => Token::String(self.string()?),
            b't' => self.word("true", Token::Bool(true))?,
            b'f' => self.word("false", Token::Bool(false))?,
            b'n' => self.word("null", Token::Null)?,
            b'-' | b'0'..=b'9' => Token::Number(self.number()?),
            _ => return Err(self.error()),
        };
        self.expected = Expected::CommaOrEnd;
        Ok(Some(token))
    }

    /// Passes over the rest of the value that `first` begins.
    ///
    /// # Errors
    /// As [`Self::next_token`].
    pub fn skip_value(&mut self, first: Token<'a>) -> Result<(), SyntaxError> {
        if !matches!(first, Token::ObjectStart | Token::ArrayStart) {
            return Ok(());
        }
        let outside = self.depth().saturating_sub(1);
        while self.depth() > outside {
            self.next_token()?.ok_or(self.error())?;
        }
        Ok(())
    }

    fn open(&mut self, container: Container, expected: Expected) {
        self.at += 1;
        self.containers.push(container);
        self.expected = expected;
    }

    fn close(&mut self, token: Token<'a>) -> Token<'a> {
        self.start = self.at;
        self.at += 1;
        self.containers.pop();
        self.expected = Expected::CommaOrEnd;
        token
    }

    fn name(&mut self) -> Result<Token<'a>, SyntaxError> {
        let name = self.string()?;
        let end = self.at;
        self.skip_blanks();
        if self.peek() != Some(b':') {
            return Err(self.error());
        }
        self.at += 1;
        self.expected = Expected::Value;
        debug_assert!(end <= self.at);
        Ok(Token::Name(name))
    }

    fn string(&mut self) -> Result<Text<'a>, SyntaxError> {
        self.at += 1;
        let (from, mut escaped) = (self.at, false);
        loop {
            match self.peek().ok_or(self.error())? {
                b'"' => break,
                b'\\' => {
                    escaped = true;
                    self.at += 1;
                    self.escape()?;
                }
                0..=0x1f => return Err(self.error()),
                _ => self.at += 1,
            }
        }
        let raw = self.source.get(from..self.at).ok_or(self.error())?;
        self.at += 1;
        Ok(Text::new(raw, escaped))
    }

    fn escape(&mut self) -> Result<(), SyntaxError> {
        match self.peek().ok_or(self.error())? {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => self.at += 1,
            b'u' => {
                let digits = self.source.as_bytes().get(self.at + 1..self.at + 5).ok_or(self.error())?;
                if !digits.iter().all(u8::is_ascii_hexdigit) {
                    return Err(self.error());
                }
                self.at += 5;
            }
            _ => return Err(self.error()),
        }
        Ok(())
    }

    fn word(&mut self, word: &str, token: Token<'a>) -> Result<Token<'a>, SyntaxError> {
        if !self.rest().starts_with(word.as_bytes()) {
            return Err(self.error());
        }
        self.at += word.len();
        Ok(token)
    }

    fn number(&mut self) -> Result<&'a str, SyntaxError> {
        let from = self.at;
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        match self.peek() {
            // No digit may follow a leading zero.
            Some(b'0') => self.at += 1,
            _ => self.digits()?,
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits()?;
        }
        self.source.get(from..self.at).ok_or(self.error())
    }

    fn digits(&mut self) -> Result<(), SyntaxError> {
        let from = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        if self.at == from { Err(self.error()) } else { Ok(()) }
    }

    fn skip_blanks(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn peek(&self) -> Option<u8> {
        self.source.as_bytes().get(self.at).copied()
    }

    fn rest(&self) -> &'a [u8] {
        self.source.as_bytes().get(self.at..).unwrap_or_default()
    }

    fn error(&self) -> SyntaxError {
        SyntaxError { at: self.at }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Whether the grammar accepts a text.
    fn accepts(text: &str) -> bool {
        let mut lexer = Lexer::new(text);
        loop {
            match lexer.next_token() {
                Ok(Some(_)) => {}
                Ok(None) => return true,
                Err(_) => return false,
            }
        }
    }

    fn accepted_by_serde(text: &str) -> bool {
        serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok()
    }

    #[test]
    fn accepts_the_grammar_and_nothing_else() {
        for text in [
            "null",
            " true ",
            "-0",
            "0.0",
            "1E+5",
            "1e400",
            "[]",
            "{}",
            "[1,[2],{\"a\":[]}]",
            r#""\ud83d""#,
            r#""\/""#,
            r#"{"a":1,"a":{"b":null}}"#,
            "\"\u{7f}\"",
            "123456789012345678901234567890",
        ] {
            assert!(accepts(text) && accepted_by_serde(text), "{text}");
        }
        for text in [
            "",
            " ",
            "01",
            "-",
            "1.",
            ".5",
            "1e",
            "+1",
            "nul",
            "True",
            "[1,]",
            "[,1]",
            "{\"a\"}",
            "{\"a\":}",
            "{,}",
            "{\"a\":1,}",
            "{a:1}",
            "[1 2]",
            "{} x",
            "[}",
            "]",
            "\"\u{1}\"",
            r#""\x""#,
            r#""\u12g4""#,
            "\"a",
            "[",
            "{\"a\":1",
            "'a'",
            "1 2",
            "\u{feff}{}",
            "NaN",
            "-Infinity",
            "//x\n1",
        ] {
            assert!(!accepts(text) && !accepted_by_serde(text), "{text}");
        }
        let deep = "[".repeat(500_000) + &"]".repeat(500_000);
        assert!(accepts(&deep) && !accepts(&deep[1..]));
    }

    proptest! {
        #[test]
        fn accepts_what_another_parser_accepts(text in r#"[\[\]{},:"\\/bu0-9a-fe.+\- tn\x01é]{0,24}"#) {
            prop_assert_eq!(accepts(&text), accepted_by_serde(&text));
        }
    }
}
