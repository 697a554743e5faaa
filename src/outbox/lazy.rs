//! JSON of a row of the change feed, parsed when somebody first looks at it. Most of those who read rows look at the
//! subject alone.

use std::{ops::Deref, sync::OnceLock};

use sea_orm::{ColIdx, QueryResult, TryGetError, TryGetable};

use crate::json::Value;

/// A JSON text that reads as a [`Value`].
#[derive(Debug, Clone, Default)]
pub struct Lazy {
    text: String,
    value: OnceLock<Value>,
}

impl Lazy {
    /// How many bytes the text takes.
    pub fn len(&self) -> usize {
        self.text.len()
    }

    /// Whether nothing is there.
    pub fn is_empty(&self) -> bool {
        self.text.is_empty()
    }
}

impl Deref for Lazy {
    type Target = Value;

    /// A text that is no JSON, which the database keeps none of, reads as null.
    fn deref(&self) -> &Value {
        self.value.get_or_init(|| Value::stored(&self.text))
    }
}

impl From<serde_json::Value> for Lazy {
    fn from(value: serde_json::Value) -> Self {
        Self { text: value.to_string(), value: OnceLock::new() }
    }
}

impl PartialEq<serde_json::Value> for Lazy {
    fn eq(&self, other: &serde_json::Value) -> bool {
        **self == *other
    }
}

impl TryGetable for Lazy {
    fn try_get_by<I: ColIdx>(row: &QueryResult, index: I) -> Result<Self, TryGetError> {
        let text = String::try_get_by(row, index)?;
        Ok(Self { text, value: OnceLock::new() })
    }
}
