//! A file that is no database any more: the process ends with a code and one sentence, and acknowledges nothing.

use std::{
    io::{Seek as _, SeekFrom, Write as _},
    time::Duration,
};

use super::bed::Bed;
use crate::support::process::run_on;

const PAGE: u64 = 4096;

/// Overwrites everything behind the first page, and empties the write-ahead log.
async fn damage(bed: &Bed) {
    // A write, so that the server's connections read again what they have in memory.
    bed.execute("create table damage (n int); drop table damage; pragma wal_checkpoint(truncate)").await;
    let mut file = std::fs::OpenOptions::new().write(true).open(bed.path("test.db")).unwrap();
    let length = file.metadata().unwrap().len();
    file.seek(SeekFrom::Start(PAGE)).unwrap();
    file.write_all(&vec![0xaa; usize::try_from(length - PAGE).unwrap()]).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_damaged_ends_the_process() {
    let mut bed = Bed::start().await;
    bed.accepted(8).await;
    bed.whole("before").await;
    damage(&bed).await;
    for sent in bed.burst(4).await {
        assert_ne!(sent.status, Some(200), "nothing is acknowledged");
    }
    assert_eq!(bed.process.ended(Duration::from_secs(10)).await, Some(1), "the process ends\n{}", bed.log());
    let log = bed.log();
    let sentences = log.lines().filter(|line| line.starts_with("error: ")).collect::<Vec<_>>();
    assert!(
        matches!(sentences.as_slice(), [one] if one.contains("is damaged") && one.contains("docs/recovery.md")),
        "{log}"
    );
}

#[test]
fn a_file_that_is_no_database_is_refused_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("test.db");
    std::fs::write(&path, vec![0xaa; 65536]).unwrap();
    let url = format!("sqlite://{}", path.display());
    let environment =
        [("CLERK_WEBHOOK_SIGNING_SECRET", crate::support::process::SECRET), ("PORT", "0"), ("RUST_LOG", "error")];
    let output = run_on(&url, &["serve"], &environment);
    assert_eq!(output.status.code(), Some(1));
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(error.starts_with("error: the database file is damaged"), "{error}");
}
