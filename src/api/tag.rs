//! Entity tags of single objects, and of files: whoever has the present state already is not sent it again (304). Asked only once the
//! caller's rights were checked, so that a tag from elsewhere opens nothing.
//!
//! Tags are weak (`W/"…"`): fields that move at every sign-in are written without a new `rev`, so two answers of one tag
//! may differ in them.

use axum::{
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use sha2::{Digest, Sha256};

/// Names a state of an object, for one audience.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tag(String);

impl Tag {
    /// Of an object as everybody gets it who gets it whole.
    ///
    /// The epoch is part of it: a database that lost commits gives a `rev` again, to another state.
    pub(super) fn whole(rev: i64, epoch: &str) -> Self {
        let epoch: String = epoch.chars().take(8).collect();
        Self(format!("W/\"{rev}-{epoch}\""))
    }

    /// Of what a public profile shows: it depends on the caller's organisations, too, which no `rev` tells of.
    pub(super) fn profile(body: &str) -> Self {
        let digest = Sha256::digest(body.as_bytes());
        Self(format!("W/\"profile-{}\"", URL_SAFE_NO_PAD.encode(&digest[..12])))
    }

    /// Of what is the same for everybody.
    pub(crate) fn content(text: &str) -> Self {
        Self(format!("W/\"{}\"", URL_SAFE_NO_PAD.encode(Sha256::digest(text.as_bytes()))))
    }

    /// The object, or that the caller has it already.
    pub(crate) fn answer(&self, asked: &HeaderMap, body: String) -> Response {
        let mut given = asked.get_all(header::IF_NONE_MATCH).iter();
        let known = given.any(|value| value.to_str().is_ok_and(|value| self.is_among(value)));
        let mut response = if known {
            StatusCode::NOT_MODIFIED.into_response()
        } else {
            ([(header::CONTENT_TYPE, "application/json")], body).into_response()
        };
        if let Ok(tag) = HeaderValue::from_str(&self.0) {
            response.headers_mut().insert(header::ETAG, tag);
        }
        response
    }

    /// Whether an `If-None-Match` names it, in the weak comparison that the header asks for.
    fn is_among(&self, given: &str) -> bool {
        let bare = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
        given.trim() == "*" || given.split(',').any(|given| bare(given) == bare(&self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_found_in_its_forms_and_among_others() {
        for given in ["W/\"7-e1\"", "\"7-e1\"", "*", "\"6-e1\", W/\"7-e1\"", " \"7-e1\" "] {
            assert!(Tag::whole(7, "e1").is_among(given), "{given}");
        }
        for given in ["", "7", "\"77-e1\"", "W/\"6-e1\"", "\"6-e1\",\"8-e1\"", "W/\"7-e2\"", "W/\"7\""] {
            assert!(!Tag::whole(7, "e1").is_among(given), "{given}");
        }
    }

    #[test]
    fn each_profile_has_a_tag_of_its_own_that_is_no_revs() {
        let (one, two) = (Tag::profile("{\"role\":\"a\"}"), Tag::profile("{\"role\":\"b\"}"));
        assert_ne!(one, two);
        assert_eq!(one, Tag::profile("{\"role\":\"a\"}"));
        assert!(one.0.starts_with("W/\"profile-") && one.0.ends_with('"') && one.0.is_ascii());
    }
}
