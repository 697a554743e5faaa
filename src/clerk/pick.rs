//! Single members of an object, as their text, without building the rest.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

/// The members of these names; of two with one name the last, as in a built value.
///
/// # Errors
/// Where the text is no JSON, or no object.
pub(super) fn pick<'a, const N: usize>(
    text: &'a str,
    names: [&str; N],
) -> Result<[Option<&'a RawValue>; N], serde_json::Error> {
    let mut reader = serde_json::Deserializer::from_str(text);
    let found = reader.deserialize_map(Pick(names))?;
    reader.end()?;
    Ok(found)
}

struct Pick<'n, const N: usize>([&'n str; N]);

impl<'de, const N: usize> Visitor<'de> for Pick<'_, N> {
    type Value = [Option<&'de RawValue>; N];

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
        let mut found = [None; N];
        while let Some(at) = members.next_key_seed(Place(&self.0))? {
            match at.and_then(|at| found.get_mut(at)) {
                Some(member) => *member = Some(members.next_value()?),
                None => _ = members.next_value::<IgnoredAny>()?,
            }
        }
        Ok(found)
    }
}

/// Where a name stands among those that are looked for.
struct Place<'n>(&'n [&'n str]);

impl<'de> DeserializeSeed<'de> for Place<'_> {
    type Value = Option<usize>;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<Self::Value, D::Error> {
        reader.deserialize_str(self)
    }
}

impl Visitor<'_> for Place<'_> {
    type Value = Option<usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
        Ok(self.0.iter().position(|looked_for| *looked_for == name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_the_last_of_a_name_however_it_is_written() {
        let text = r#" {"a":1,"b":{"a":2},"\u0061":[3, 4],"c":null} "#;
        let [a, c, d] = pick(text, ["a", "c", "d"]).unwrap();
        assert_eq!((a.map(RawValue::get), c.map(RawValue::get), d.is_none()), (Some("[3, 4]"), Some("null"), true));
        assert!(pick("[]", ["a"]).unwrap_err().is_data() && pick("{} x", ["a"]).unwrap_err().is_syntax());
    }
}
