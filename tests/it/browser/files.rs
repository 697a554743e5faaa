//! What is served of the client, to everybody, and what is packed of it.

use std::path::Path;

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::server::{Server, answer};

fn read(name: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/console/client").join(name)).unwrap()
}

#[tokio::test]
async fn the_client_is_served_to_pages_of_every_origin_and_asked_about_before_it_is_used_again() {
    let server = Server::start(&[("gateway.origins", "https://app.example.com")]).await;
    for (path, file, kind) in [
        ("/client.js", "clerk-sync.js", "text/javascript"),
        ("/client.d.ts", "clerk-sync.d.ts", "application/typescript"),
    ] {
        let get = || server.request(Method::GET, path, "").header("origin", "https://elsewhere.example");
        let first = answer(get()).await;
        assert_eq!((first.status, first.text.as_str()), (200, read(file).as_str()), "{path}");
        let headers = |name: &str| first.header(name).to_owned();
        assert_eq!(headers("content-type"), format!("{kind}; charset=utf-8"));
        assert_eq!(headers("cache-control"), "no-cache");
        assert_eq!(headers("access-control-allow-origin"), "*");
        assert_eq!(headers("x-content-type-options"), "nosniff");
        assert_eq!((headers("access-control-allow-credentials"), headers("set-cookie")), Default::default());
        let tag = headers("etag");
        assert!(tag.starts_with("W/\"") && tag.len() > 20, "{tag}");
        for known in [tag.clone(), format!("\"other\", {tag}"), "*".to_owned()] {
            let again = answer(get().header("if-none-match", &known)).await;
            assert_eq!((again.status, again.text.as_str(), again.header("etag")), (304, "", tag.as_str()), "{known}");
            assert_eq!(again.header("access-control-allow-origin"), "*");
        }
        let changed = answer(get().header("if-none-match", "\"other\"")).await;
        assert_eq!(changed.status, 200);
        answer(server.request(Method::POST, path, "")).await.is_problem(405, "method_not_allowed", path);
    }
}

/// A package that can be made from the folder as it is, of the version that the server is of.
#[test]
fn the_package_names_what_is_there() {
    let package: Value = serde_json::from_str(&read("package.json")).unwrap();
    assert_eq!(package["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!((&package["type"], &package["sideEffects"]), (&json!("module"), &json!(false)));
    assert_eq!(package["license"], env!("CARGO_PKG_LICENSE"));
    assert!(package["dependencies"].is_null());
    let named =
        [&package["main"], &package["types"], &package["exports"]["."]["types"], &package["exports"]["."]["default"]];
    for name in package["files"].as_array().unwrap().iter().chain(named) {
        assert!(!read(name.as_str().unwrap()).is_empty(), "{name}");
    }
}

/// Everything that the module exports and answers is typed, and every option explained.
#[test]
fn what_pages_get_is_typed_and_explained() {
    let (code, types, text) = (read("clerk-sync.js"), read("clerk-sync.d.ts"), read("README.md"));
    assert_eq!(code.matches("\nexport ").count(), 1);
    let client = types.split("export interface Client {").nth(1).unwrap();
    for name in ["subscribe", "liveList", "onNotice", "onStatus", "close", "status", "epoch"] {
        assert!(client.contains(name) && code.split("\n  return {").nth(1).unwrap().contains(name), "{name}");
    }
    for option in
        ["url", "getToken", "onStatus", "backoff", "WebSocket", "fetch", "after", "topic", "path", "key", "sort"]
    {
        assert!(types.contains(&format!("  {option}")) || types.contains(&format!("{option}?:")), "{option}");
        assert!(text.contains(&format!("`{option}")) || text.contains(option), "{option}");
    }
    // Every reason that the code gives stands in the README.
    let reasons = code.split('\'').skip(1).step_by(2).filter(|word| word.contains('_') && !word.contains(' '));
    let missing: Vec<_> = reasons.filter(|reason| !text.contains(&format!("`{reason}`"))).collect();
    assert!(missing.is_empty(), "{missing:?}");
}
