//! The tree of a JSON text. Numbers are kept as they are written; members are sorted by name.
//!
//! There is no `Serialize` on purpose: by way of `serde_json::to_value` (and so `json!`) it would lose what this type is
//! there to keep, or fail. A value writes itself.

use std::{collections::BTreeMap, fmt, ops::Index};

use serde::{Serialize as _, Serializer, ser::Error as _};
use serde_json::value::RawValue;

use super::text;

/// The members of an object.
pub type Object = BTreeMap<String, Value>;

/// Any JSON value.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[expect(missing_docs, reason = "the names are JSON's")]
pub enum Value {
    #[default]
    Null,
    Bool(bool),
    Number(Number),
    String(String),
    Array(Vec<Value>),
    Object(Object),
}

/// A number as it is written: of any length and any size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Number(Box<str>);

impl Number {
    /// From a text that the lexer has found to be a number.
    pub(crate) fn written(text: &str) -> Self {
        Self(text.into())
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

static NULL: Value = Value::Null;

impl Value {
    /// The member of this name; none where this is no object.
    pub fn get(&self, name: &str) -> Option<&Self> {
        self.as_object()?.get(name)
    }

    /// The text, if this is one.
    pub fn as_str(&self) -> Option<&str> {
        if let Self::String(text) = self { Some(text) } else { None }
    }

    /// The truth, if this is one.
    pub fn as_bool(&self) -> Option<bool> {
        if let Self::Bool(truth) = self { Some(*truth) } else { None }
    }

    /// The number, if it is whole and fits.
    pub fn as_i64(&self) -> Option<i64> {
        if let Self::Number(number) = self { number.0.parse().ok() } else { None }
    }

    /// The nearest finite `f64`, if this is a number that has one.
    pub fn as_f64(&self) -> Option<f64> {
        let Self::Number(number) = self else { return None };
        number.0.parse().ok().filter(|nearest: &f64| nearest.is_finite())
    }

    /// The items, if this is an array.
    pub fn as_array(&self) -> Option<&Vec<Self>> {
        if let Self::Array(items) = self { Some(items) } else { None }
    }

    /// The members, if this is an object.
    pub fn as_object(&self) -> Option<&Object> {
        if let Self::Object(members) = self { Some(members) } else { None }
    }

    /// The members, if this is an object; else none.
    pub fn into_object(self) -> Object {
        if let Self::Object(members) = self { members } else { Object::new() }
    }

    /// Whether this is `null`.
    pub fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    fn write(&self, out: &mut String) {
        match self {
            Self::Null => out.push_str("null"),
            Self::Bool(true) => out.push_str("true"),
            Self::Bool(false) => out.push_str("false"),
            Self::Number(number) => out.push_str(&number.0),
            Self::String(string) => text::write(string, out),
            Self::Array(items) => {
                out.push('[');
                for (index, item) in items.iter().enumerate() {
                    if index > 0 {
                        out.push(',');
                    }
                    item.write(out);
                }
                out.push(']');
            }
            Self::Object(members) => write_object(members, out),
        }
    }
}

impl Value {
    fn write_lines(&self, level: usize, out: &mut String) {
        let (open, close, count) = match self {
            Self::Array(items) => ('[', ']', items.len()),
            Self::Object(members) => ('{', '}', members.len()),
            _ => return self.write(out),
        };
        out.push(open);
        let line = |index: usize, out: &mut String| {
            out.push_str(if index > 0 { ",\n" } else { "\n" });
            out.push_str(&"  ".repeat(level + 1));
        };
        for (index, item) in self.as_array().into_iter().flatten().enumerate() {
            line(index, out);
            item.write_lines(level + 1, out);
        }
        for (index, (name, value)) in self.as_object().into_iter().flatten().enumerate() {
            line(index, out);
            text::write(name, out);
            out.push_str(": ");
            value.write_lines(level + 1, out);
        }
        if count > 0 {
            out.push('\n');
            out.push_str(&"  ".repeat(level));
        }
        out.push(close);
    }
}

fn write_object(members: &Object, out: &mut String) {
    out.push('{');
    for (index, (name, value)) in members.iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        text::write(name, out);
        out.push(':');
        value.write(out);
    }
    out.push('}');
}

/// The text of an object, without blanks.
pub fn object_text(members: &Object) -> String {
    let mut out = String::new();
    write_object(members, &mut out);
    out
}

/// For `#[serde(serialize_with)]`: writes an object as it is. Only for serializers that write text.
///
/// # Errors
/// As the serializer's.
pub fn serialize_object<S: Serializer>(members: &Object, serializer: S) -> Result<S::Ok, S::Error> {
    RawValue::from_string(object_text(members)).map_err(S::Error::custom)?.serialize(serializer)
}

/// The same of any value.
///
/// # Errors
/// As the serializer's.
pub fn serialize<S: Serializer>(value: &Value, serializer: S) -> Result<S::Ok, S::Error> {
    RawValue::from_string(value.to_string()).map_err(S::Error::custom)?.serialize(serializer)
}

/// The text, without blanks; with `{:#}` one member or item a line.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = String::new();
        if f.alternate() {
            self.write_lines(0, &mut out)
        } else {
            self.write(&mut out)
        }
        f.write_str(&out)
    }
}

/// A member by name; `null` where there is none.
impl Index<&str> for Value {
    type Output = Self;

    fn index(&self, name: &str) -> &Self {
        self.get(name).unwrap_or(&NULL)
    }
}

/// An item by place; `null` where there is none.
impl Index<usize> for Value {
    type Output = Self;

    fn index(&self, place: usize) -> &Self {
        self.as_array().and_then(|items| items.get(place)).unwrap_or(&NULL)
    }
}

impl PartialEq<str> for Value {
    fn eq(&self, other: &str) -> bool {
        self.as_str() == Some(other)
    }
}

impl PartialEq<&str> for Value {
    fn eq(&self, other: &&str) -> bool {
        self.as_str() == Some(other)
    }
}

impl PartialEq<serde_json::Value> for Value {
    #[expect(clippy::cmp_owned, reason = "for tests; the other value has to be converted to be compared")]
    fn eq(&self, other: &serde_json::Value) -> bool {
        *self == Self::from(other.clone())
    }
}

macro_rules! from_whole {
    ($($ty:ty),*) => {$(
        impl From<$ty> for Value {
            fn from(number: $ty) -> Self { Self::Number(Number(number.to_string().into())) }
        }
    )*};
}
from_whole!(i32, i64, u32, u64, usize);

impl From<bool> for Value {
    fn from(truth: bool) -> Self {
        Self::Bool(truth)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::String(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::String(text)
    }
}

impl From<Object> for Value {
    fn from(members: Object) -> Self {
        Self::Object(members)
    }
}

impl<T: Into<Self>> FromIterator<T> for Value {
    fn from_iter<I: IntoIterator<Item = T>>(items: I) -> Self {
        Self::Array(items.into_iter().map(Into::into).collect())
    }
}

/// What another parser has read, with the loss that it has.
impl From<serde_json::Value> for Value {
    fn from(value: serde_json::Value) -> Self {
        match value {
            serde_json::Value::Null => Self::Null,
            serde_json::Value::Bool(truth) => Self::Bool(truth),
            serde_json::Value::Number(number) => Self::Number(Number(number.to_string().into())),
            serde_json::Value::String(text) => Self::String(text),
            serde_json::Value::Array(items) => items.into_iter().collect(),
            serde_json::Value::Object(members) => Self::Object(object(members)),
        }
    }
}

/// The same of an object.
pub fn object(members: serde_json::Map<String, serde_json::Value>) -> Object {
    members.into_iter().map(|(name, value)| (name, value.into())).collect()
}

impl From<Number> for Value {
    fn from(number: Number) -> Self {
        Self::Number(number)
    }
}
