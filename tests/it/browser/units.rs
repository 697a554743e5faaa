//! The client alone: cases in `pages/`, run in a page over sockets and requests that answer what they are told to.

use serde_json::Value;

use super::{bed::Bed, page::Page};

#[tokio::test]
async fn the_client_keeps_its_promises_over_a_socket_that_says_anything() {
    let Some(bed) = Bed::start(60).await else { return };
    let service = bed.serve().await;
    let url = format!("{}/units.html?api={}", bed.site.origin, bed.api);
    let page = Page::open(&bed.browser, "units", &url).await;
    page.until("the cases are there", "window.results instanceof Promise").await;
    let results = page.get("window.results").await;
    page.picture("results").await;
    let results = results.as_array().unwrap();
    let failed = |result: &&Value| !result["failure"].is_null();
    for result in results {
        println!("{} {}", if result["failure"].is_null() { "ok  " } else { "FAIL" }, result["name"]);
    }
    let failures: Vec<String> = results
        .iter()
        .filter(failed)
        .map(|result| format!("{}\n  {}", result["name"].as_str().unwrap(), result["failure"].as_str().unwrap()))
        .collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    assert!(results.len() >= 60, "only {} cases", results.len());
    assert_eq!(page.complaints().await, [""; 0]);
    bed.browser.close().await;
    service.stop().await;
}
