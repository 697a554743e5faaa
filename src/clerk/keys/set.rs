//! A set of published keys (JWKS): what of it verifies session tokens. Pure. What is of another kind, size or use, or
//! cannot be read, is passed over: an instance may publish keys for other things beside ours.

use std::{collections::HashMap, sync::Arc};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, de::IgnoredAny};
use serde_json::value::RawValue;

use super::Key;

/// The most keys that a set may have. An instance has one, and two while it changes them.
const KEYS_MAX: usize = 64;

/// The longest name of a key, bytes.
const NAME_MAX: usize = 255;

/// The usable keys of a set, by name.
#[derive(Debug, PartialEq, Eq)]
pub struct KeySet(HashMap<Option<String>, Arc<Key>>);

#[derive(Deserialize)]
struct Set<'a> {
    #[serde(borrow)]
    keys: Vec<&'a RawValue>,
}

#[derive(Deserialize)]
struct Member {
    kty: String,
    kid: Option<String>,
    alg: Option<String>,
    #[serde(rename = "use")]
    purpose: Option<String>,
    key_ops: Option<Vec<String>>,
    n: String,
    e: String,
    /// Of a private key, which is nobody's any more once it is published.
    d: Option<IgnoredAny>,
}

impl KeySet {
    /// The usable keys of a set. Of several by one name the first.
    ///
    /// # Errors
    /// What is wrong with it, in words that hold nothing of it.
    pub fn parse(body: &[u8]) -> Result<Self, &'static str> {
        let set: Set<'_> = serde_json::from_slice(body).map_err(|_| "it is no set of keys")?;
        if set.keys.len() > KEYS_MAX {
            return Err("it has more keys than any instance");
        }
        let mut keys = HashMap::new();
        for member in set.keys {
            if let Ok(member) = serde_json::from_str::<Member>(member.get())
                && let Some(key) = member.key()
            {
                keys.entry(member.kid).or_insert(Arc::new(key));
            }
        }
        Ok(Self(keys))
    }

    /// The key of this name; none names the one that was published without.
    pub fn get(&self, kid: Option<&str>) -> Option<&Arc<Key>> {
        // A name that was made up costs a copy and a look.
        self.0.get(&kid.map(str::to_owned))
    }

    /// Returns the names of the usable keys that have one.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().filter_map(Option::as_deref)
    }

    /// How many keys of it are usable.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Member {
    /// The key, if it verifies RS256 signatures.
    fn key(&self) -> Option<Key> {
        let is = |given: &Option<String>, wanted: &str| given.as_deref().is_none_or(|given| given == wanted);
        let verifies = self.key_ops.as_ref().is_none_or(|all| all.iter().any(|one| one == "verify"));
        let named = self.kid.as_ref().is_none_or(|kid| kid.len() <= NAME_MAX);
        if self.kty != "RSA" || !is(&self.alg, "RS256") || !is(&self.purpose, "sig") || !verifies || !named {
            return None;
        }
        if self.d.is_some() {
            return None;
        }
        Key::from_components(&number(&self.n)?, &number(&self.e)?)
    }
}

/// A number as keys have it. Some writers pad it, or begin it with zeros.
fn number(text: &str) -> Option<Vec<u8>> {
    let bytes = URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).ok()?;
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    Some(bytes[zeros..].to_vec())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// A modulus of so many bits. Nobody asks whether it has two prime factors.
    fn modulus(bits: usize) -> String {
        let mut bytes = vec![0xA5; bits / 8];
        *bytes.last_mut().unwrap() = 1;
        URL_SAFE_NO_PAD.encode(bytes)
    }

    fn member(changes: Value) -> Value {
        let mut member =
            json!({"kty": "RSA", "kid": "ins_1", "alg": "RS256", "use": "sig", "n": modulus(2048), "e": "AQAB"});
        for (name, value) in changes.as_object().unwrap() {
            member[name] = value.clone();
        }
        member.as_object_mut().unwrap().retain(|_, value| !value.is_null());
        member
    }

    fn parse(members: Vec<Value>) -> Result<KeySet, &'static str> {
        KeySet::parse(json!({"keys": members}).to_string().as_bytes())
    }

    #[test]
    fn a_key_for_signatures_is_had_by_its_name() {
        for changes in [
            json!({}),
            json!({"alg": null, "use": null}),
            json!({"key_ops": ["verify"], "x5c": ["AAAA"], "something": {"new": 1}}),
            json!({"n": modulus(4096)}),
            json!({"n": modulus(8192)}),
            json!({"n": format!("{}==", modulus(2048))}),
            json!({"e": "Aw"}),
            json!({"e": "AAEAAQ"}),
        ] {
            let set = parse(vec![member(changes.clone())]).unwrap();
            assert_eq!(set.len(), 1, "{changes}");
            assert!(set.get(Some("ins_1")).is_some() && set.get(Some("ins_2")).is_none() && set.get(None).is_none());
        }
        let set = parse(vec![member(json!({"kid": null}))]).unwrap();
        assert!(set.get(None).is_some() && set.get(Some("")).is_none());
    }

    #[test]
    fn what_is_no_key_for_our_signatures_is_passed_over() {
        let good = member(json!({"kid": "ins_good"}));
        for (what, other) in [
            ("of another kind", json!({"kty": "EC", "crv": "P-256", "x": "AAAA", "y": "AAAA", "kid": "ins_1"})),
            ("a secret", json!({"kty": "oct", "k": "AAAA", "kid": "ins_1"})),
            ("for encryption", member(json!({"use": "enc"}))),
            ("for another algorithm", member(json!({"alg": "RS512"}))),
            ("for another padding", member(json!({"alg": "PS256"}))),
            ("for signing alone", member(json!({"key_ops": ["sign"]}))),
            ("too short", member(json!({"n": modulus(1024)}))),
            ("a little too short", member(json!({"n": modulus(2040)}))),
            ("too long", member(json!({"n": modulus(8200)}))),
            (
                "long by its zeros alone",
                member(json!({"n": URL_SAFE_NO_PAD.encode([&[0; 200][..], &[0xA5; 55]].concat())})),
            ),
            ("an exponent of one", member(json!({"e": "AQ"}))),
            ("an even exponent", member(json!({"e": "Ag"}))),
            ("an exponent of nothing", member(json!({"e": ""}))),
            ("no modulus", member(json!({"n": null}))),
            ("no base64", member(json!({"n": "+/+/"}))),
            ("private", member(json!({"d": "AAAA"}))),
            ("a name that is none", member(json!({"kid": 7}))),
            ("a name without end", member(json!({"kid": "x".repeat(300)}))),
            ("nothing", Value::Null),
            ("a text", json!("ins_1")),
        ] {
            let set = parse(vec![other, good.clone()]).unwrap();
            assert_eq!(set.len(), 1, "{what}");
            assert!(set.get(Some("ins_good")).is_some(), "{what}");
        }
    }

    #[test]
    fn a_set_is_an_object_with_keys_and_not_too_many() {
        for wrong in ["", "{}", "[]", "null", "{\"keys\":{}}", "<html>", "{\"keys\":[]", "{\"keys\":[],\"keys\":[]}"] {
            assert!(KeySet::parse(wrong.as_bytes()).is_err(), "{wrong}");
        }
        assert!(KeySet::parse(b"\xff\xfe").is_err());
        assert!(parse(vec![json!({}); KEYS_MAX]).unwrap().is_empty());
        assert!(parse(vec![json!({}); KEYS_MAX + 1]).is_err());
        // A name that stands twice means the first.
        let set = parse(vec![member(json!({})), member(json!({"n": modulus(3072)}))]).unwrap();
        assert_eq!(set.len(), 1);
    }
}
