//! From text to tree. Objects and arrays that are nested deeper than a limit become `null`; nothing else is refused, and
//! of members of one name the last one stands.

use super::{
    lexer::{Lexer, SyntaxError, Token},
    value::{Number, Object, Value},
};

/// What a delivery may nest: deeper values become `null`. Nothing of Clerk's comes near it.
pub const DELIVERY_DEPTH: usize = 64;

/// What we read of our own texts, which hold parts of deliveries in few more levels.
pub const STORED_DEPTH: usize = 128;

/// Reads values from a lexer.
#[derive(Debug)]
pub struct Parser<'l, 'a> {
    lexer: &'l mut Lexer<'a>,
    max_depth: usize,
    /// Whether a value was replaced because it was nested too deep.
    pub too_deep: bool,
}

impl<'l, 'a> Parser<'l, 'a> {
    /// Containers at more than `max_depth`, counted from the beginning of the lexer's text, become `null`.
    pub fn new(lexer: &'l mut Lexer<'a>, max_depth: usize) -> Self {
        Self { lexer, max_depth, too_deep: false }
    }

    /// Reads the value that begins with the next token.
    ///
    /// # Errors
    /// [`SyntaxError`].
    pub fn value(&mut self) -> Result<Value, SyntaxError> {
        let first = self.token()?;
        self.value_from(first)
    }

    fn value_from(&mut self, first: Token<'a>) -> Result<Value, SyntaxError> {
        if matches!(first, Token::ObjectStart | Token::ArrayStart) && self.lexer.depth() > self.max_depth {
            self.too_deep = true;
            self.lexer.skip_value(first)?;
            return Ok(Value::Null);
        }
        Ok(match first {
            Token::Null => Value::Null,
            Token::Bool(truth) => Value::Bool(truth),
            Token::Number(text) => Value::Number(Number::written(text)),
            Token::String(text) => Value::String(text.decode().into_owned()),
            Token::ArrayStart => {
                let mut items = Vec::new();
                loop {
                    match self.token()? {
                        Token::ArrayEnd => break,
                        first => items.push(self.value_from(first)?),
                    }
                }
                Value::Array(items)
            }
            Token::ObjectStart => Value::Object(self.members()?),
            Token::ObjectEnd | Token::ArrayEnd | Token::Name(_) => return Err(self.unexpected()),
        })
    }

    /// The members of an object that was just opened, up to its end.
    fn members(&mut self) -> Result<Object, SyntaxError> {
        let mut members = Object::new();
        while let Token::Name(name) = self.token()? {
            let value = self.value()?;
            members.insert(name.decode().into_owned(), value);
        }
        Ok(members)
    }

    fn token(&mut self) -> Result<Token<'a>, SyntaxError> {
        self.lexer.next_token()?.ok_or_else(|| self.unexpected())
    }

    fn unexpected(&self) -> SyntaxError {
        SyntaxError { at: self.lexer.span().1 }
    }
}

impl Value {
    /// Reads a text of our own.
    ///
    /// # Errors
    /// [`SyntaxError`] where it is not JSON.
    pub fn parse(text: &str) -> Result<Self, SyntaxError> {
        let mut lexer = Lexer::new(text);
        let value = Parser::new(&mut lexer, STORED_DEPTH).value()?;
        match lexer.next_token()? {
            None => Ok(value),
            Some(_) => Err(SyntaxError { at: lexer.span().0 }),
        }
    }

    /// Reads a text that the database keeps. One that is not JSON, which no database of ours keeps, reads as `null`: a row
    /// that cannot be read must harm no other.
    pub fn stored(text: &str) -> Self {
        Self::parse(text).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parsed(text: &str) -> Value {
        Value::parse(text).unwrap()
    }

    #[test]
    fn digits_come_out_as_they_went_in() {
        for number in [
            "117.63331139400017",
            "123456789012345678901234567890",
            "1e400",
            "1.7976931348623157e308",
            "-0",
            "0.10",
            "1E-7",
        ] {
            assert_eq!(parsed(number).to_string(), number);
        }
        assert_eq!((parsed("1e400").as_f64(), parsed("12").as_i64(), parsed("1e2").as_i64()), (None, Some(12), None));
    }

    #[test]
    fn no_name_of_a_member_is_special() {
        for name in ["$serde_json::private::RawValue", "$serde_json::private::Number", "__proto__", ""] {
            let text = format!(r#"{{"{name}":"{{"}}"#);
            assert_eq!(parsed(&text).to_string(), text);
        }
    }

    #[test]
    fn what_is_nested_too_deep_becomes_null() {
        let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        let at_limit = nested(STORED_DEPTH);
        assert_eq!(parsed(&at_limit).to_string(), at_limit);
        assert!(parsed(&nested(STORED_DEPTH + 1)).to_string().ends_with(&format!("[null{}", "]".repeat(STORED_DEPTH))));
        let far = format!("[{},1]", nested(300_000));
        assert_eq!(parsed(&far)[1].as_i64(), Some(1));
    }

    #[test]
    fn members_are_sorted_and_the_last_of_a_name_stands() {
        assert_eq!(parsed(r#" {"b":1, "a" : [ ], "\u0062":2} "#).to_string(), r#"{"a":[],"b":2}"#);
        assert!(Value::parse("{} {}").is_err() && Value::stored("{").is_null());
    }

    /// Any value that both parsers can hold.
    fn values() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<bool>().prop_map(Into::into),
            any::<i64>().prop_map(Into::into),
            any::<f64>().prop_map(Into::into),
            any::<String>().prop_map(|text| text.replace('\0', "").into()),
        ];
        leaf.prop_recursive(4, 32, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Into::into),
                prop::collection::vec(("[a-c\"\\\\é]{0,3}", inner), 0..4)
                    .prop_map(|members| members.into_iter().collect::<serde_json::Map<_, _>>().into()),
            ]
        })
    }

    proptest! {
        #[test]
        fn reads_and_writes_what_another_parser_does(value in values()) {
            let text = value.to_string();
            prop_assert_eq!(&parsed(&text), &value);
            prop_assert_eq!(parsed(&text).to_string(), text);
            let pretty = serde_json::to_string_pretty(&value).unwrap();
            prop_assert_eq!(&format!("{:#}", parsed(&pretty)), &pretty);
            prop_assert_eq!(parsed(&pretty), value);
        }
    }
}
