//! What browsers are given: the client that pages import. The same for everybody, so without credentials and for pages
//! of every origin; whoever keeps a copy asks before using it, and so has the version that this server speaks with.

use axum::{
    Router,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use sha2::{Digest, Sha256};

/// A file that is compiled in.
#[derive(Debug, Clone, Copy)]
struct File {
    path: &'static str,
    kind: &'static str,
    text: &'static str,
}

/// The routes.
pub(crate) fn routes<S: Clone + Send + Sync + 'static>() -> Router<S> {
    let files = [
        File {
            path: "/client.js",
            kind: "text/javascript; charset=utf-8",
            text: include_str!("console/client/clerk-sync.js"),
        },
        File {
            path: "/client.d.ts",
            kind: "application/typescript; charset=utf-8",
            text: include_str!("console/client/clerk-sync.d.ts"),
        },
    ];
    files.into_iter().fold(Router::new(), |router, file| {
        let (path, tag) = (file.path, tag(file.text));
        let serve = move |headers: HeaderMap| std::future::ready(answer(&file, &tag, &headers));
        router.route(path, get(serve))
    })
}

/// A strong tag, of the content.
fn tag(text: &str) -> String {
    let digest = Sha256::digest(text.as_bytes());
    let hex: String = digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    format!("\"{hex}\"")
}

fn answer(file: &File, tag: &str, headers: &HeaderMap) -> Response {
    let known = headers.get_all(header::IF_NONE_MATCH).iter().any(|given| given.to_str().is_ok_and(|v| names(v, tag)));
    let mut response = if known { StatusCode::NOT_MODIFIED.into_response() } else { file.text.into_response() };
    let headers = response.headers_mut();
    if known {
        headers.remove(header::CONTENT_TYPE);
    } else {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(file.kind));
    }
    if let Ok(tag) = HeaderValue::from_str(tag) {
        headers.insert(header::ETAG, tag);
    }
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// Whether an `If-None-Match` names the tag; weakly, as that header compares.
fn names(given: &str, tag: &str) -> bool {
    given.trim() == "*" || given.split(',').any(|given| given.trim().trim_start_matches("W/") == tag)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_that_of_the_content_and_is_found_in_its_forms() {
        let one = tag("one");
        assert_eq!((one.len(), one == tag("one"), one == tag("two")), (34, true, false));
        for given in [one.clone(), format!("W/{one}"), "*".to_owned(), format!("\"x\", {one}")] {
            assert!(names(&given, &one), "{given}");
        }
        for given in ["", "\"x\"", "W/\"x\"", one.trim_matches('"')] {
            assert!(!names(given, &one), "{given}");
        }
    }
}
