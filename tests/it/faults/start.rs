//! Faults while a server starts on an empty disk and makes its tables: it waits for space, or ends and can be started
//! again.

use std::{fs::File, process::Stdio, time::Duration};

use crate::support::{
    disk::{ALL, Disk, Failure, WRITES},
    process::{Process, free_port},
};

struct Start {
    folder: tempfile::TempDir,
    disk: Disk,
    port: u16,
}

impl Start {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let disk = Disk::new(folder.path(), "test.db");
        Self { folder, disk, port: free_port() }
    }

    /// The process, once it answers or has ended.
    async fn serve(&self) -> Result<Process, i32> {
        let mut process = self.launch();
        process.answers().await.map(|()| process)
    }

    fn launch(&self) -> Process {
        let url = format!("sqlite://{}", self.folder.path().join("test.db").display());
        let log = File::options().create(true).append(true).open(self.folder.path().join("log")).unwrap();
        Process::launch(&["serve"], Stdio::from(log), self.port, &url, &self.disk.environment())
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_on_a_full_disk_waits_for_space() {
    for after in [1, 40, 300] {
        let start = Start::new();
        start.disk.fail(Failure::Full, WRITES, after, u64::MAX);
        let mut process = start.launch();
        assert_eq!(process.ended(Duration::from_millis(1500)).await, None, "it waits\n{}", start.log());
        assert!(start.disk.failed() > 0);
        start.disk.mend();
        assert_eq!(process.answers().await, Ok(()), "operation {after}\n{}", start.log());
        assert!(process.terminate());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_that_failed_is_tried_again_without_a_trace() {
    let recorded = Start::new();
    assert!(recorded.serve().await.is_ok());
    let operations = recorded.disk.operations();
    let stride = usize::try_from(operations / 12).unwrap();
    for (number, after) in (1..operations).step_by(stride).enumerate() {
        let start = Start::new();
        let failure = if number % 2 == 0 { Failure::Io } else { Failure::Kill };
        start.disk.fail(failure, ALL, after, 1);
        if let Err(code) = start.serve().await {
            assert_ne!(code, 0);
            start.disk.mend();
            assert!(start.serve().await.is_ok(), "{failure:?} at operation {after}\n{}", start.log());
        }
    }
}
