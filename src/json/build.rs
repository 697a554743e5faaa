//! Building values: the macro [`json`](crate::json::json) and what may stand in it.

use std::collections::BTreeMap;

use uuid::Uuid;

use super::value::Value;

/// Anything that has a JSON value. Takes a reference, so that building a value moves nothing.
pub trait ToJson {
    /// Returns the value.
    fn to_json(&self) -> Value;
}

macro_rules! to_json_by_clone {
    ($($ty:ty),*) => {$(
        impl ToJson for $ty {
            fn to_json(&self) -> Value { Value::from(self.clone()) }
        }
    )*};
}
to_json_by_clone!(bool, i32, i64, u32, u64, usize, String, Value);

impl ToJson for str {
    fn to_json(&self) -> Value {
        self.into()
    }
}

impl ToJson for Uuid {
    fn to_json(&self) -> Value {
        self.to_string().into()
    }
}

impl<T: ToJson + ?Sized> ToJson for &T {
    fn to_json(&self) -> Value {
        (**self).to_json()
    }
}

impl<T: ToJson> ToJson for Option<T> {
    fn to_json(&self) -> Value {
        self.as_ref().map_or(Value::Null, ToJson::to_json)
    }
}

impl<T: ToJson> ToJson for [T] {
    fn to_json(&self) -> Value {
        self.iter().map(ToJson::to_json).collect()
    }
}

impl<T: ToJson> ToJson for Vec<T> {
    fn to_json(&self) -> Value {
        self.as_slice().to_json()
    }
}

impl<T: ToJson> ToJson for BTreeMap<String, T> {
    fn to_json(&self) -> Value {
        Value::Object(self.iter().map(|(name, value)| (name.clone(), value.to_json())).collect())
    }
}

impl<T: ToJson, const N: usize> ToJson for [T; N] {
    fn to_json(&self) -> Value {
        self.as_slice().to_json()
    }
}

/// A [`Value`] as it would be written: an object, an array, or one expression that is [`ToJson`]. Values in it are
/// expressions; an object inside another is a `json!` of its own.
macro_rules! json {
    ({ $($name:literal : $value:expr),* $(,)? }) => {
        $crate::json::Value::Object([$(($name.to_owned(), $crate::json::ToJson::to_json(&$value))),*].into_iter().collect())
    };
    ([ $($item:expr),* $(,)? ]) => {
        $crate::json::Value::Array(vec![$($crate::json::ToJson::to_json(&$item)),*])
    };
    ($value:expr) => {
        $crate::json::ToJson::to_json(&$value)
    };
}
pub(crate) use json;
