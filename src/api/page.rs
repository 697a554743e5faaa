//! Lists, a page at a time: `{"data":[…],"next_cursor":string|null}`. A cursor is opaque outside; inside it is the
//! list's name and the key of the last row shown, so that rows which come and go move nothing.

use std::fmt::Display;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

use crate::json::{Value, json};

use super::body::JsonBody;

/// A page; `next` is the key of its last row, where there is more.
pub fn list(name: &str, data: Vec<impl Into<Value>>, next: Option<impl Display>) -> JsonBody {
    let cursor = next.map(|key| URL_SAFE_NO_PAD.encode(format!("{name}:{key}")));
    let data: Value = data.into_iter().collect();
    JsonBody(json!({"data": data, "next_cursor": cursor}))
}

/// The key in a cursor of this list.
pub(super) fn key(name: &str, cursor: &str) -> Option<String> {
    let text = String::from_utf8(URL_SAFE_NO_PAD.decode(cursor).ok()?).ok()?;
    text.strip_prefix(name)?.strip_prefix(':').map(str::to_owned)
}

/// What to read, to know whether there is more.
pub fn one_more(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX).saturating_add(1)
}

/// Cuts rows that were read with one too many; answers whether that one was there.
pub fn cut<T>(rows: &mut Vec<T>, limit: usize) -> bool {
    let more = rows.len() > limit;
    rows.truncate(limit);
    more
}
