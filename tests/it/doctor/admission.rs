//! People whom the rules of entry refuse, in the log of `serve`: once a process, and at its start where some were before.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{
    process::{Process, free_port, post},
    server::person,
    services,
};

/// Runs `serve` until it has refused these people; its log.
async fn log_of(database: &str, people: &[&str], environment: &[(&str, &str)]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let log = std::fs::File::create(&path).unwrap();
    let environment = [environment, &[("RUST_LOG", "warn")]].concat();
    let process = Process::serve_logging_to(log.into(), free_port(), database, &environment).await;
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    for id in people {
        let nameless = person(id, 1, json!({"first_name": Value::Null, "last_name": Value::Null}));
        let status = post(&client, &process.url, &format!("msg_{id}"), nameless.to_string().as_bytes()).await;
        assert_eq!(status, Some(200));
    }
    let rejected = format!("clerk_sync_events_total{{event=\"user.updated\",outcome=\"rejected\"}} {}", people.len());
    let begun = Instant::now();
    loop {
        let text = client.get(format!("{}/metrics", process.url)).send().await.unwrap().text().await.unwrap();
        if text.lines().any(|line| line == rejected) {
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "{text}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(process.terminate());
    std::fs::read_to_string(path).unwrap()
}

#[tokio::test]
async fn a_refused_sign_up_is_logged_once_a_process_with_the_line_that_lets_it_in() {
    let (_folder, database) = services::sqlite();
    let about = |log: &str| -> Vec<String> {
        assert!(!log.contains("user_") && !log.contains("@example.com"), "{log}");
        log.lines().filter(|line| line.contains("entry.require_name")).map(str::to_owned).collect()
    };
    let first = about(&log_of(&database, &["user_a", "user_b"], &[]).await);
    assert_eq!(first.len(), 1, "{first:?}");
    assert!(first[0].contains("CLERK_SYNC__ENTRY__REQUIRE_NAME=false") && first[0].contains("replay"), "{first:?}");
    // At the next start they are counted, and the next refusal adds nothing.
    let second = about(&log_of(&database, &["user_c"], &[]).await);
    assert_eq!(second.len(), 1, "{second:?}");
    assert!(second[0].contains("CLERK_SYNC__ENTRY__REQUIRE_NAME=false"), "{second:?}");
    let off = about(&log_of(&database, &[], &[("CLERK_SYNC__ENTRY__REQUIRE_NAME", "false")]).await);
    assert!(off.len() == 1 && off[0].contains("is off now") && off[0].contains("people=3"), "{off:?}");
}
