//! A disk without space, or with errors: receipts are refused until a row was written and read back, and come back by
//! themselves.

use std::time::{Duration, Instant};

use super::bed::{Bed, LIVENESS};
use crate::support::{
    disk::{ALL, Failure, SYNCS, WRITES},
    volume::Volume,
};

/// The disk fails for a while, under load; what was acknowledged before, meanwhile and afterwards is there.
async fn outlives(failure: Failure, kinds: u64, word: &str) {
    let mut bed = Bed::start().await;
    bed.accepted(8).await;
    bed.disk.break_down(failure, kinds);
    let mut refused = 0;
    for _ in 0..6 {
        for sent in bed.burst(4).await {
            match sent.status {
                // Stored by an operation that needed none of those that fail.
                Some(200) => {}
                Some(503) => {
                    refused += 1;
                    assert!(sent.retry_after.is_some(), "503 says when to come again");
                }
                status => panic!("{status:?} while the disk fails"),
            }
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(bed.disk.failed() > 0, "the disk failed");
    assert!(refused >= 16, "receipts are refused while the disk fails: {refused}");
    let ready = bed.ready().await;
    assert_eq!(ready.status, 503, "{}", ready.text);
    assert_eq!(ready.json()["dependencies"]["storage"], word, "{}", ready.text);
    assert_eq!(bed.process.ended(Duration::ZERO).await, None, "the server goes on running");
    bed.disk.mend();
    bed.recovers(word).await;
    bed.refused_operation().await;
    bed.accepted(8).await;
    assert_eq!(bed.ready().await.status, 200);
    let lost = bed.lost().await;
    assert!(lost.is_empty(), "acknowledged, and seen by no other connection: {lost:?}");
    bed.whole("once the disk works").await;
    let alerts = "select count(*) from alerts where kind = 'storage.failed'";
    for _ in 0..LIVENESS.as_millis() / 50 {
        if bed.count(alerts).await == 1 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(bed.count(alerts).await, 1, "an alert tells of it");
    bed.restart().await;
    bed.whole("after a restart").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn p1_receipts_outlive_a_full_disk() {
    outlives(Failure::Full, WRITES, "full").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn p1_receipts_outlive_errors_of_the_disk() {
    outlives(Failure::Io, ALL, "failing").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn p1_receipts_outlive_a_disk_that_does_not_flush() {
    outlives(Failure::Io, SYNCS, "failing").await;
}

/// No simulation: a volume of its own, filled to the last page.
#[tokio::test(flavor = "multi_thread")]
async fn p1_receipts_outlive_a_volume_that_is_filled() {
    let folder = tempfile::tempdir().unwrap();
    let Some(volume) = Volume::mount(24, folder.path()) else { return };
    let url = format!("sqlite://{}", folder.path().join("test.db").display());
    let mut bed = Bed::on(&url, &[]).await;
    bed.accepted(8).await;
    let filler = volume.fill(200);
    let (started, mut refused) = (Instant::now(), 0);
    while refused < 20 {
        refused += bed.burst(8).await.iter().filter(|sent| sent.status == Some(503)).count();
        assert!(started.elapsed() < 4 * LIVENESS, "the volume does not fill up: {refused}");
    }
    drop(filler);
    bed.recovers("with space").await;
    bed.whole("with space").await;
    bed.restart().await;
    bed.whole("after a restart").await;
}
