//! One run of some forty deliveries, repeated with a fault at every operation of the disk that it has.

use std::path::PathBuf;

use super::bed::Bed;
use crate::support::disk::{ALL, Failure, SYNCS, WRITES};

/// The deliveries of a run: bursts, so that groups of receipts and batches of the applier overlap.
const BURSTS: [u64; 6] = [1, 8, 4, 12, 2, 13];

/// What fails, and for how many operations.
const FAULTS: [(&str, Failure, u64, u64); 5] = [
    ("killed at", Failure::Kill, ALL, 1),
    ("one error at", Failure::Io, ALL, 1),
    ("no flush at", Failure::Io, SYNCS, 3),
    ("full for a moment from", Failure::Full, WRITES, 8),
    ("full from", Failure::Full, WRITES, u64::MAX),
];

async fn run(bed: &mut Bed) {
    for burst in BURSTS {
        bed.burst(burst).await;
    }
}

/// A database with its tables and some users, as a server leaves it.
async fn template(folder: &std::path::Path) -> PathBuf {
    let mut bed = Bed::start().await;
    bed.accepted(10).await;
    bed.whole("the template").await;
    let path = folder.join("template.db");
    bed.copy_to(&path).await;
    path
}

async fn faulted(template: &PathBuf, (what, failure, kinds, count): (&str, Failure, u64, u64), at: u64) {
    let what = format!("{what} operation {at}");
    let mut bed = Bed::start_with(&[], Some(template)).await;
    bed.skip(10);
    bed.disk.fail(failure, kinds, at, count);
    run(&mut bed).await;
    bed.disk.mend();
    if failure == Failure::Kill {
        bed.crash().await;
    } else {
        assert_eq!(
            bed.process.ended(std::time::Duration::ZERO).await,
            None,
            "{what}: the server goes on\n{}",
            bed.log()
        );
        bed.recovers(&what).await;
        bed.refused_operation().await;
        bed.burst(3).await;
        let lost = bed.lost().await;
        assert!(lost.is_empty(), "{what}: acknowledged, and seen by no other connection: {lost:?}");
        bed.whole(&what).await;
        if at.is_multiple_of(2) { bed.restart().await } else { bed.crash().await }
    }
    bed.accepted(2).await;
    bed.whole(&format!("{what}, then restarted")).await;
}

/// How many operations a run has.
async fn recorded(template: &PathBuf) -> u64 {
    let mut bed = Bed::start_with(&[], Some(template)).await;
    bed.skip(10);
    let before = bed.disk.operations();
    run(&mut bed).await;
    bed.whole("the recorded run").await;
    bed.disk.operations() - before
}

/// Some twelve operations of the run, each kind of fault in turn: after a kill work goes on once the lease has run out.
#[tokio::test(flavor = "multi_thread")]
async fn p1_p2_a_fault_at_an_operation_of_the_disk_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let template = template(folder.path()).await;
    let operations = recorded(&template).await;
    let stride = (operations / 12).max(1);
    let mut kind = 0;
    for at in (1..=operations).step_by(usize::try_from(stride).unwrap()) {
        faulted(&template, FAULTS[kind % FAULTS.len()], at).await;
        kind += 1;
    }
    assert!(kind >= 10, "the walk has steps: {kind} of {operations} operations");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "minutes: tests/run --long"]
async fn p1_p2_a_fault_at_any_operation_of_the_disk_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let template = template(folder.path()).await;
    let operations = recorded(&template).await;
    for fault in FAULTS {
        for at in 1..=operations {
            faulted(&template, fault, at).await;
        }
    }
}
