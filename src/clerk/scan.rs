//! One walk through a body without building it: the people whom it names, and whether it holds what must not be stored.

use std::{collections::BTreeSet, fmt};

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::private::{METADATA, SECRET_MEMBERS};

/// What was found.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    /// Every `user_…` id that stands as a value, whatever it is the value of.
    pub(super) user_ids: BTreeSet<String>,
    /// Whether a secret member is there.
    pub(super) secrets: bool,
}

/// Walks through a text.
///
/// # Errors
/// Where the text is no JSON, or holds a number that no value can hold.
pub(super) fn scan(text: &str) -> Result<Found, serde_json::Error> {
    let mut found = Found::default();
    let mut reader = serde_json::Deserializer::from_str(text);
    Walk { found: &mut found, metadata: false }.deserialize(&mut reader)?;
    reader.end()?;
    Ok(found)
}

/// Whether a text is an id of a person.
pub(super) fn is_user_id(text: &str) -> bool {
    let plain = |rest: &str| !rest.is_empty() && rest.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    text.len() <= 255 && text.strip_prefix("user_").is_some_and(plain)
}

/// One value; answers whether it is null.
struct Walk<'f> {
    found: &'f mut Found,
    /// Within metadata nothing is Clerk's to be a secret.
    metadata: bool,
}

/// The name of a member.
enum Name {
    Secret,
    Metadata,
    Other,
}

impl<'de> DeserializeSeed<'de> for Walk<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<bool, D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Walk<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<bool, E> {
        Ok(true)
    }

    fn visit_bool<E>(self, _: bool) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_i64<E>(self, _: i64) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_u64<E>(self, _: u64) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_f64<E>(self, _: f64) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<bool, E> {
        if is_user_id(text) && !self.found.user_ids.contains(text) {
            self.found.user_ids.insert(text.to_owned());
        }
        Ok(false)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<bool, A::Error> {
        while items.next_element_seed(Walk { found: &mut *self.found, metadata: self.metadata })?.is_some() {}
        Ok(false)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<bool, A::Error> {
        while let Some(name) = members.next_key_seed(NameOf)? {
            let metadata = self.metadata || matches!(name, Name::Metadata);
            let null = members.next_value_seed(Walk { found: &mut *self.found, metadata })?;
            self.found.secrets |= matches!(name, Name::Secret) && !self.metadata && !null;
        }
        Ok(false)
    }
}

struct NameOf;

impl<'de> DeserializeSeed<'de> for NameOf {
    type Value = Name;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<Name, D::Error> {
        reader.deserialize_str(self)
    }
}

impl Visitor<'_> for NameOf {
    type Value = Name;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E>(self, name: &str) -> Result<Name, E> {
        Ok(match name {
            name if SECRET_MEMBERS.contains(&name) => Name::Secret,
            name if METADATA.contains(&name) => Name::Metadata,
            _ => Name::Other,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::clerk::private;

    /// The same by way of the built value.
    fn built(mut value: Value) -> Found {
        fn collect(value: &Value, found: &mut BTreeSet<String>) {
            match value {
                Value::String(text) if is_user_id(text) => drop(found.insert(text.clone())),
                Value::Array(items) => items.iter().for_each(|value| collect(value, found)),
                Value::Object(members) => members.values().for_each(|value| collect(value, found)),
                _ => {}
            }
        }
        let mut user_ids = BTreeSet::new();
        collect(&value, &mut user_ids);
        Found { user_ids, secrets: private::strip(&mut value) }
    }

    fn values() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(json!(null)),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            prop::sample::select(vec!["user_1", "user_", "user_a-b", "user_Zz_9", "org_1", "\"\\\u{1}é"])
                .prop_map(Value::from),
        ];
        let names = ["nonce", "backup_codes", "public_metadata", "unsafe_metadata", "id", "a\"b"];
        leaf.prop_recursive(4, 24, 4, move |inner| {
            let member = (prop::sample::select(names.to_vec()), inner.clone());
            prop_oneof![
                prop::collection::vec(inner, 0..4).prop_map(Value::from),
                prop::collection::vec(member, 0..4)
                    .prop_map(|all| all.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()),
            ]
        })
    }

    proptest! {
        #[test]
        fn finds_what_the_built_value_holds(value in values()) {
            prop_assert_eq!(scan(&value.to_string()).unwrap(), built(value));
        }
    }

    #[test]
    fn a_name_that_is_escaped_is_the_same_name() {
        assert!(scan(r#"{"data":{"\u006eonce":"s3cr3t"}}"#).unwrap().secrets);
        assert!(!scan(r#"{"data":{"nonce":null,"public_metadata":{"nonce":"theirs"}}}"#).unwrap().secrets);
        assert!(scan(r#"{"a":1e999}"#).is_err());
    }
}
