//! A disk that fails: a small library (`disk/shim.c`) that is loaded into the real binary and stands between SQLite and
//! the system. The test says which write, sync or truncation fails, and how; the operations are numbered, so a run that
//! was recorded is repeated with a fault at each of them.

use std::{
    fs::{File, OpenOptions},
    os::unix::fs::FileExt as _,
    path::Path,
    process::Command,
};

/// Kinds of operations; they are added up.
pub(crate) const WRITES: u64 = 1;
pub(crate) const SYNCS: u64 = 2;
pub(crate) const TRUNCATIONS: u64 = 4;
pub(crate) const ALL: u64 = WRITES | SYNCS | TRUNCATIONS;

/// What becomes of an operation that fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failure {
    /// No space is left (ENOSPC).
    Full,
    /// The device reports an error (EIO).
    Io,
    /// The process is killed in the middle of it (SIGKILL).
    Kill,
}

/// A disk under the files of one folder.
pub(crate) struct Disk {
    control: File,
    variables: [(String, String); 3],
}

impl Disk {
    /// A disk that works, under the files in `folder` whose path contains `name`.
    pub(crate) fn new(folder: &Path, name: &str) -> Self {
        let (source, library) = (folder.join("shim.c"), folder.join("shim.so"));
        std::fs::write(&source, include_str!("disk/shim.c")).unwrap();
        let compiled = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o"])
            .args([&library, &source])
            .arg("-ldl")
            .status()
            .unwrap();
        assert!(compiled.success(), "the library compiles");
        let path = folder.join("disk-control");
        let control = OpenOptions::new().create(true).truncate(false).read(true).write(true).open(&path).unwrap();
        control.set_len(48).unwrap();
        let text = |path: &Path| path.display().to_string();
        let variables = [
            ("LD_PRELOAD".to_owned(), text(&library)),
            ("DISK_CONTROL".to_owned(), text(&path)),
            ("DISK_MATCH".to_owned(), name.to_owned()),
        ];
        Self { control, variables }
    }

    /// The environment that puts it under a process.
    pub(crate) fn environment(&self) -> Vec<(&str, &str)> {
        self.variables.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
    }

    /// Has operations of these kinds fail: `count` numbers, beginning with the operation `after` from now (1: the next).
    pub(crate) fn fail(&self, failure: Failure, kinds: u64, after: u64, count: u64) {
        let action = match failure {
            Failure::Full => 28,
            Failure::Io => 5,
            Failure::Kill => 0x1_0000,
        };
        self.set(1, 0);
        self.set(5, 0);
        for (at, value) in [(0, kinds), (2, count), (3, action), (1, self.operations() + after)] {
            self.set(at, value);
        }
    }

    /// Every operation of these kinds fails, until it is mended.
    pub(crate) fn break_down(&self, failure: Failure, kinds: u64) {
        self.fail(failure, kinds, 1, u64::MAX);
    }

    /// Nothing fails any more.
    pub(crate) fn mend(&self) {
        self.set(1, 0);
    }

    /// How many operations there were.
    pub(crate) fn operations(&self) -> u64 {
        self.get(4)
    }

    /// How many failed since the last fault was set.
    pub(crate) fn failed(&self) -> u64 {
        self.get(5)
    }

    fn set(&self, at: u64, value: u64) {
        self.control.write_all_at(&value.to_ne_bytes(), at * 8).unwrap();
    }

    fn get(&self, at: u64) -> u64 {
        let mut bytes = [0; 8];
        self.control.read_exact_at(&mut bytes, at * 8).unwrap();
        u64::from_ne_bytes(bytes)
    }
}
