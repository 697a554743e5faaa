//! Meilisearch in trouble (the double): what is worth another try, what is not, and what is never said.

use std::time::Duration;

use clerk_sync::backends::search::{Doc, Search, SearchError};
use uuid::Uuid;

use super::beds::{Bed, config, person};
use crate::support::meili::{Double, KEY};

const INDEX: &str = "clerk_sync_users";

fn people(count: u128) -> Vec<Doc> {
    (1..=count).map(|id| person(id, "Jonas", "Lindqvist", "jlind", "jonas@example.com")).collect()
}

async fn bed() -> (Bed, Search) {
    let bed = Bed::double().await;
    let search = bed.search.clone();
    (bed, search)
}

fn double(bed: &Bed) -> &Double {
    bed.double.as_ref().unwrap()
}

/// Nobody's data is in what may reach a log.
fn says_nothing(error: &SearchError) {
    let mut text = format!("{error} {error:?}");
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        text.push_str(&format!("{error} {error:?}"));
        source = error.source();
    }
    for secret in ["onas", "example.com", "quoted", "quote what", KEY] {
        assert!(!text.contains(secret), "{text}");
    }
}

#[track_caller]
fn transient<T: std::fmt::Debug>(result: Result<T, SearchError>) -> SearchError {
    let error = result.unwrap_err();
    assert!(!error.is_permanent() && error.refused().is_empty(), "{error}");
    says_nothing(&error);
    error
}

#[tokio::test]
async fn one_task_for_all_documents_and_one_for_all_deletions() {
    let (bed, search) = bed().await;
    search.apply(people(300), vec![(Uuid::from_u128(900), 1), (Uuid::from_u128(901), 1)]).await.unwrap();
    let documents = format!("POST /indexes/{INDEX}/documents");
    assert_eq!(double(&bed).requests(), [format!("{documents}/delete-batch"), documents]);
    assert_eq!(double(&bed).documents(INDEX).len(), 300);
    search.apply(vec![], vec![]).await.unwrap();
    assert_eq!(double(&bed).requests(), [] as [&str; 0]);
}

#[tokio::test]
async fn settings_are_ours_also_after_a_rebuild() {
    let (bed, search) = bed().await;
    let ours = double(&bed).settings(INDEX);
    assert_eq!(ours["searchableAttributes"][0], "display_name");
    assert_eq!(ours["typoTolerance"]["minWordSizeForTypos"], serde_json::json!({"oneTypo": 5, "twoTypos": 255}));
    let rebuild = search.rebuild().await.unwrap();
    rebuild.add(people(3)).await.unwrap();
    rebuild.finish().await.unwrap();
    assert_eq!(double(&bed).settings(INDEX), ours);
    assert_eq!(double(&bed).indexes(), [INDEX], "the old one is gone");
    assert_eq!(double(&bed).documents(INDEX)[0]["status"], "active");
}

#[tokio::test]
async fn errors_of_the_server_are_worth_another_try() {
    let (bed, search) = bed().await;
    for (status, code) in [
        (500, "internal"),
        (502, "bad_gateway"),
        (503, "too_busy"),
        (429, "too_many_requests"),
        (408, "x"),
        (400, "bad_request"),
    ] {
        double(&bed).fail(|faults| faults.answer = Some((status, code)));
        let error = transient(search.apply(people(2), vec![]).await);
        assert!(error.to_string().contains(&status.to_string()) && error.to_string().contains(code), "{error}");
        transient(search.apply(vec![], vec![(Uuid::from_u128(1), 1)]).await);
        transient(search.search("jonas", 5).await);
        transient(search.prepare().await);
        transient(search.ping().await);
        transient(search.rebuild().await);
    }
    double(&bed).fail(|faults| faults.answer = None);
    search.apply(people(2), vec![]).await.unwrap();
    assert_eq!(bed.find("jonas").await.len(), 2);
}

#[tokio::test]
async fn a_refused_key_is_named() {
    let bed = Bed::double().await;
    for (key, status, code) in [("", 401, "missing_authorization_header"), ("wrong", 403, "invalid_api_key")] {
        let mut meili = config().meili;
        meili.url = double(&bed).url().into();
        meili.master_key = key.into();
        let search = Search::new(&bed.db, &meili).unwrap();
        for error in [
            transient(search.apply(people(1), vec![]).await),
            transient(search.search("jonas", 5).await),
            transient(search.prepare().await),
        ] {
            assert!(matches!(&error, SearchError::Key { status: s, code: c } if *s == status && c == code), "{error}");
            assert!(error.to_string().contains("meili.master_key"));
        }
    }
}

#[tokio::test]
async fn settings_that_cannot_be_used_are_named() {
    let bed = Bed::sqlite().await;
    let refused = |change: &dyn Fn(&mut clerk_sync::config::Meili)| {
        let mut meili = config().meili;
        meili.url = "http://127.0.0.1:7700".into();
        change(&mut meili);
        Search::new(&bed.db, &meili).unwrap_err().to_string()
    };
    assert!(refused(&|meili| meili.url = "localhost".into()).contains("meili.url"));
    assert!(refused(&|meili| meili.url = "ftp://localhost".into()).contains("meili.url"));
    assert!(refused(&|meili| meili.index = "a/b".into()).contains("meili.index"));
    assert!(refused(&|meili| meili.master_key = "a\nb".into()).contains("meili.master_key"));
}

#[tokio::test]
async fn a_connection_that_breaks_is_worth_another_try() {
    let (bed, search) = bed().await;
    double(&bed).fail(|faults| faults.close = true);
    let error = transient(search.search("jonas", 5).await);
    assert!(matches!(error, SearchError::Unreachable("the connection broke")), "{error}");
    transient(search.apply(people(1), vec![]).await);
    let Bed { double, .. } = bed;
    drop(double);
    tokio::task::yield_now().await;
    let error = transient(search.ping().await);
    assert!(matches!(error, SearchError::Unreachable(_)), "{error}");
}

#[tokio::test]
async fn guilty_documents_are_named_and_the_others_indexed() {
    let (bed, search) = bed().await;
    let guilty = [Uuid::from_u128(3), Uuid::from_u128(17)];
    double(&bed).fail(|faults| faults.refused = guilty.iter().map(Uuid::to_string).collect());
    let error = search.apply(people(20), vec![]).await.unwrap_err();
    assert!(error.is_permanent());
    assert_eq!(error.refused(), guilty);
    assert!(error.to_string().contains("invalid_document_id"));
    says_nothing(&error);
    assert_eq!(double(&bed).documents(INDEX).len(), 18);
    assert!(double(&bed).requests().len() < 20, "halves, not one by one");
    let rebuild = search.rebuild().await.unwrap();
    let error = rebuild.add(people(20)).await.unwrap_err();
    assert_eq!(error.refused(), guilty, "a rebuild says so and goes on");
    rebuild.finish().await.unwrap();
    assert_eq!(double(&bed).documents(INDEX).len(), 18);
}

#[tokio::test]
async fn a_refused_document_keeps_nobody_findable() {
    let (bed, search) = bed().await;
    search.apply(people(2), vec![]).await.unwrap();
    double(&bed).fail(|faults| faults.refused = [Uuid::from_u128(1).to_string()].into());
    search.apply(people(1), vec![(Uuid::from_u128(2), 2)]).await.unwrap_err();
    assert_eq!(bed.find("jonas").await, [1]);
}

#[tokio::test]
async fn too_much_at_once_is_sent_in_parts() {
    let (bed, search) = bed().await;
    double(&bed).fail(|faults| faults.payload = Some(1_000));
    search.apply(people(20), vec![]).await.unwrap();
    assert_eq!(double(&bed).documents(INDEX).len(), 20);
    let mut long = people(3);
    long[1].image_url = Some("x".repeat(2_000));
    let error = search.apply(long, vec![]).await.unwrap_err();
    assert_eq!(error.refused(), [Uuid::from_u128(2)]);
}

#[tokio::test]
async fn a_task_that_fails_for_another_reason_is_worth_another_try() {
    let (bed, search) = bed().await;
    for code in ["internal", "no_space_left_on_device", "index_not_found", "io_error"] {
        double(&bed).fail(|faults| faults.task_code = Some(code));
        let error = transient(search.apply(people(2), vec![]).await);
        assert!(matches!(&error, SearchError::Task { code: said, .. } if said == code), "{error}");
    }
    double(&bed).fail(|faults| faults.task_code = Some("internal"));
    transient(search.apply(vec![], vec![(Uuid::from_u128(1), 2)]).await);
    double(&bed).fail(|faults| faults.task_code = None);
    search.apply(people(2), vec![]).await.unwrap();
}

#[tokio::test]
async fn a_slow_task_is_waited_for() {
    let (bed, search) = bed().await;
    double(&bed).fail(|faults| faults.task_delay = Duration::from_millis(300));
    search.apply(people(2), vec![]).await.unwrap();
    assert_eq!(double(&bed).documents(INDEX).len(), 2, "done when it says so");
}

#[tokio::test]
async fn a_task_that_takes_too_long_is_given_up() {
    let bed = Bed::double().await;
    let mut meili = config().meili;
    meili.url = double(&bed).url().into();
    meili.master_key = KEY.into();
    meili.task_timeout = Duration::from_millis(100);
    let search = Search::new(&bed.db, &meili).unwrap();
    double(&bed).fail(|faults| faults.task_delay = Duration::from_secs(30));
    let error = transient(search.apply(people(2), vec![]).await);
    assert!(matches!(error, SearchError::Slow { .. }), "{error}");
    assert!(error.to_string().contains("meili.task_timeout"));
}

#[tokio::test]
async fn a_lost_index_stops_no_deletion_and_comes_back() {
    let (bed, search) = bed().await;
    search.apply(people(2), vec![]).await.unwrap();
    double(&bed).lose(INDEX);
    search.apply(vec![], vec![(Uuid::from_u128(1), 2)]).await.unwrap();
    let error = transient(search.search("jonas", 5).await);
    assert!(error.to_string().contains("index_not_found"));
    let rebuild = search.rebuild().await.unwrap();
    rebuild.add(people(2)).await.unwrap();
    rebuild.finish().await.unwrap();
    assert_eq!(bed.find("jonas").await.len(), 2);
}
