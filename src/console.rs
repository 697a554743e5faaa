//! What browsers are given: the client that pages import. The same for everybody, so without credentials and for pages
//! of every origin; whoever keeps a copy asks before using it, and so has the version that this server speaks with.

use axum::{
    Router,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::Response,
    routing::get,
};

use crate::api::tag::Tag;

/// A file that is compiled in.
#[derive(Debug, Clone, Copy)]
struct File {
    path: &'static str,
    kind: &'static str,
    text: &'static str,
}

const FILES: [File; 2] = [
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

/// The routes.
pub(crate) fn routes<S: Clone + Send + Sync + 'static>() -> Router<S> {
    FILES.into_iter().fold(Router::new(), |router, file| {
        let tag = Tag::content(file.text);
        let serve = move |headers: HeaderMap| std::future::ready(file.answer(&tag, &headers));
        router.route(file.path, get(serve))
    })
}

impl File {
    fn answer(self, tag: &Tag, asked: &HeaderMap) -> Response {
        let mut response = tag.answer(asked, self.text.to_owned());
        let has_text = response.status() == StatusCode::OK;
        let headers = response.headers_mut();
        if has_text {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(self.kind));
        }
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        response
    }
}
