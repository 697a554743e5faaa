//! Lexical walk over a signed body: the event's type and subject, the users that it names, the places of secret members.
//!
//! It builds no tree and follows no recursion, so that nothing a user can write (lone surrogates, huge numbers, deep
//! nesting, odd names) keeps the subject, the users, the times or the secrets from being found.

use std::{borrow::Cow, collections::BTreeSet};

use crate::json::{Lexer, SyntaxError, Token};

use super::private::{METADATA, SECRET_MEMBERS};

/// What was found. Of two members of one name the last one counts, as in a parsed tree.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Found<'a> {
    /// `type`, if it is a string.
    pub(super) event_type: Option<Cow<'a, str>>,
    /// Whether `data` is an object.
    pub(super) has_data: bool,
    /// `instance_id`, if it is a string.
    pub(super) instance_id: Option<Cow<'a, str>>,
    /// `timestamp`, if it is a number, as it is written.
    pub(super) timestamp: Option<&'a str>,
    /// Members of `data` that name subjects, where they are strings.
    pub(super) ids: Ids<'a>,
    /// Every `user_…` id that stands as a value, whatever it is the value of.
    pub(super) user_ids: BTreeSet<String>,
    /// Where secret members stand: from the beginning of the name to the end of the value, in bytes.
    pub(super) secrets: Vec<(usize, usize)>,
}

/// Ids of the object and of those it is about.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Ids<'a> {
    pub(super) id: Option<Cow<'a, str>>,
    pub(super) user_id: Option<Cow<'a, str>>,
    pub(super) organization_id: Option<Cow<'a, str>>,
    pub(super) public_user_data_user_id: Option<Cow<'a, str>>,
}

/// The names of the members that lead to a value, as far as they matter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Root,
    Type,
    Data,
    InstanceId,
    Timestamp,
    Id,
    UserId,
    Organization,
    OrganizationId,
    PublicUserData,
    PublicUserDataUserId,
    Other,
}

impl Place {
    /// The place of a member of an object that stands here.
    fn member(self, name: &str) -> Self {
        match (self, name) {
            (Self::Root, "type") => Self::Type,
            (Self::Root, "data") => Self::Data,
            (Self::Root, "instance_id") => Self::InstanceId,
            (Self::Root, "timestamp") => Self::Timestamp,
            (Self::Data, "id") => Self::Id,
            (Self::Data, "user_id") => Self::UserId,
            (Self::Data, "organization") => Self::Organization,
            (Self::Data, "public_user_data") => Self::PublicUserData,
            (Self::Organization, "id") => Self::OrganizationId,
            (Self::PublicUserData, "user_id") => Self::PublicUserDataUserId,
            _ => Self::Other,
        }
    }
}

/// Walks through a body.
///
/// # Errors
/// [`SyntaxError`] where it is not JSON.
pub(super) fn walk(body: &str) -> Result<Found<'_>, SyntaxError> {
    let mut lexer = Lexer::new(body);
    let mut found = Found::default();
    // Of each open object its place; of each open array `Other`.
    let mut open: Vec<Place> = Vec::new();
    let mut next = Place::Root;
    // How many containers were open where metadata, or a secret member, began; and where that member's name begins.
    let mut metadata: Option<usize> = None;
    let mut secret: Option<(usize, usize)> = None;
    while let Some(token) = lexer.next_token()? {
        let span = lexer.span();
        match token {
            Token::Name(name) => {
                let name = name.decode();
                next = open.last().map_or(Place::Other, |place| place.member(&name));
                if metadata.is_none() && secret.is_none() {
                    if SECRET_MEMBERS.contains(&&*name) {
                        secret = Some((open.len(), span.0));
                    } else if METADATA.contains(&&*name) {
                        metadata = Some(open.len());
                    }
                }
                continue;
            }
            Token::ObjectStart | Token::ArrayStart => {
                found.note_value(next, token);
                open.push(if token == Token::ObjectStart { next } else { Place::Other });
                next = Place::Other;
                continue;
            }
            Token::ObjectEnd | Token::ArrayEnd => _ = open.pop(),
            Token::String(text) => {
                found.note_value(next, token);
                let text = text.decode();
                if is_user_id(&text) && !found.user_ids.contains(&*text) {
                    found.user_ids.insert(text.into_owned());
                }
            }
            Token::Number(_) | Token::Bool(_) | Token::Null => found.note_value(next, token),
        }
        // A value has ended.
        next = Place::Other;
        if metadata == Some(open.len()) {
            metadata = None;
        }
        if let Some((_, from)) = secret.filter(|(depth, _)| *depth == open.len()) {
            secret = None;
            if token != Token::Null {
                found.secrets.push((from, span.1));
            }
        }
    }
    Ok(found)
}

impl<'a> Found<'a> {
    fn note_value(&mut self, place: Place, token: Token<'a>) {
        let text = if let Token::String(text) = token { Some(text.decode()) } else { None };
        let ids = &mut self.ids;
        match place {
            Place::Type => self.event_type = text,
            Place::Data => {
                self.has_data = token == Token::ObjectStart;
                *ids = Ids::default();
            }
            Place::InstanceId => self.instance_id = text,
            Place::Timestamp => self.timestamp = if let Token::Number(number) = token { Some(number) } else { None },
            Place::Id => ids.id = text,
            Place::UserId => ids.user_id = text,
            Place::Organization => ids.organization_id = None,
            Place::OrganizationId => ids.organization_id = text,
            Place::PublicUserData => ids.public_user_data_user_id = None,
            Place::PublicUserDataUserId => ids.public_user_data_user_id = text,
            Place::Root | Place::Other => {}
        }
    }
}

/// Whether a text is an id of a user.
pub(super) fn is_user_id(text: &str) -> bool {
    let plain = |rest: &str| !rest.is_empty() && rest.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'_');
    text.len() <= 255 && text.strip_prefix("user_").is_some_and(plain)
}

/// Cuts members out of a text, each with one of the commas beside it. Everything else stays as it is written.
pub(super) fn cut(body: &str, members: &[(usize, usize)]) -> String {
    let mut left = String::with_capacity(body.len());
    let mut from = 0;
    for (start, end) in members {
        left.push_str(body.get(from..*start).unwrap_or_default());
        from = *end;
        let rest = body.get(from..).unwrap_or_default();
        if let Some(after) = rest.trim_start_matches([' ', '\t', '\n', '\r']).strip_prefix(',') {
            from = body.len() - after.len();
        } else {
            // The last member: the comma before it goes.
            let kept = left.trim_end_matches([' ', '\t', '\n', '\r']);
            if let Some(kept) = kept.strip_suffix(',') {
                left.truncate(kept.len());
            }
        }
    }
    left.push_str(body.get(from..).unwrap_or_default());
    left
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::json::{Object, Value};

    /// The same by way of the tree.
    fn collect(value: &Value, user_ids: &mut BTreeSet<String>) {
        match value {
            Value::String(text) if is_user_id(text) => _ = user_ids.insert(text.clone()),
            Value::Array(items) => items.iter().for_each(|value| collect(value, user_ids)),
            Value::Object(members) => members.values().for_each(|value| collect(value, user_ids)),
            _ => {}
        }
    }

    fn strip(value: &mut Value) {
        match value {
            Value::Object(members) => {
                members.retain(|name, value| value.is_null() || !SECRET_MEMBERS.contains(&name.as_str()));
                let others = members.iter_mut().filter(|(name, _)| !METADATA.contains(&name.as_str()));
                others.for_each(|(_, value)| strip(value));
            }
            Value::Array(items) => items.iter_mut().for_each(strip),
            _ => {}
        }
    }

    fn values() -> impl Strategy<Value = Value> {
        let numbers = prop::sample::select(vec!["1e400", "0.10", "-0", "123456789012345678901234567890"]);
        let texts = vec!["user_1", "user_", "user_a-b", "user_Zz_9", "org_1", "\"\\\u{1}é", "{", "},"];
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            numbers.prop_map(|number| Value::parse(number).unwrap()),
            prop::sample::select(texts).prop_map(Value::from),
        ];
        let names = ["nonce", "backup_codes", "public_metadata", "unsafe_metadata", "id", "a\"b", "user_id"];
        leaf.prop_recursive(4, 24, 4, move |inner| {
            let member = (prop::sample::select(names.to_vec()), inner.clone());
            prop_oneof![
                prop::collection::vec(inner, 0..4).prop_map(|items| items.into_iter().collect()),
                prop::collection::vec(member, 0..4).prop_map(|all| {
                    all.into_iter().map(|(name, value)| (name.to_owned(), value)).collect::<Object>().into()
                }),
            ]
        })
    }

    /// The same text with blanks between its tokens.
    fn spaced(text: &str) -> String {
        let (mut lexer, mut out) = (Lexer::new(text), String::new());
        let mut from = 0;
        while let Ok(Some(_)) = lexer.next_token() {
            let (_, end) = lexer.span();
            out.push_str(&text[from..end]);
            out.push_str(" \n");
            from = end;
        }
        out
    }

    proptest! {
        #[test]
        fn finds_and_cuts_what_the_tree_holds(mut value in values(), blanks in any::<bool>()) {
            let text = if blanks { spaced(&value.to_string()) } else { value.to_string() };
            let found = walk(&text).unwrap();
            let left = cut(&text, &found.secrets);
            strip(&mut value);
            prop_assert_eq!(Value::parse(&left).unwrap(), value.clone());
            let again = walk(&left).unwrap();
            prop_assert!(again.secrets.is_empty());
            let mut user_ids = BTreeSet::new();
            collect(&value, &mut user_ids);
            prop_assert_eq!(again.user_ids, user_ids);
        }

        #[test]
        fn no_text_makes_it_panic(text in r#"[\[\]{},:"\\u0-9a-e \xe9]{0,40}"#) {
            if let Ok(found) = walk(&text) {
                cut(&text, &found.secrets);
            }
        }
    }

    #[test]
    fn a_name_that_is_escaped_is_the_same_name() {
        let secrets = |text: &str| walk(text).unwrap().secrets.len();
        assert_eq!(secrets(r#"{"data":{"\u006eonce":"s3cr3t"}}"#), 1);
        assert_eq!(secrets(r#"{"data":{"nonce":null,"public_metadata":{"nonce":"theirs"}}}"#), 0);
        assert_eq!(secrets(r#"{"data":{"nonce":{"nonce":1,"public_metadata":{}},"totp_secret":[1e999]}}"#), 2);
    }

    #[test]
    fn the_last_member_of_a_name_counts() {
        let found =
            walk(r#"{"data":{"id":"a"},"type":1,"data":{"id":"b","id":"c"},"type":"x","timestamp":1e3}"#).unwrap();
        assert_eq!((found.ids.id.as_deref(), found.event_type.as_deref()), (Some("c"), Some("x")));
        assert_eq!((found.has_data, found.timestamp), (true, Some("1e3")));
        let found = walk(r#"{"data":{"id":"a"},"data":[{"id":"b"}]}"#).unwrap();
        assert_eq!((found.has_data, found.ids.id), (false, None));
        let inner =
            walk(r#"{"data":{"organization":{"id":"o"},"x":{"organization":{"id":"p"}},"organization":[{"id":"q"}]}}"#);
        assert_eq!(inner.unwrap().ids.organization_id, None);
    }
}
