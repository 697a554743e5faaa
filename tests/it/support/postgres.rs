//! A Postgres server of a test's own, to be stopped and started, on a volume that can be filled.

use std::{
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use tempfile::TempDir;

use super::{
    process::free_port,
    volume::{Filler, Volume},
};

/// A server with one cluster; ended and removed when dropped.
pub(crate) struct Server {
    programs: PathBuf,
    port: u16,
    /// That of its data, where it has one of its own. Before the folder that it is mounted in.
    volume: Option<Volume>,
    folder: TempDir,
}

/// The folder of the server's programs; `None` where `tests/run` did not name one.
fn programs() -> Option<PathBuf> {
    super::services::service("TEST_POSTGRES_BIN", "the programs of a Postgres server").map(PathBuf::from)
}

impl Server {
    /// A new cluster, started; `None` where there are no programs.
    pub(crate) fn start() -> Option<Self> {
        Self::open(None)
    }

    /// The same on a volume of so many MiB; `None` also where volumes cannot be mounted.
    pub(crate) fn start_on_volume(mib: u32) -> Option<Self> {
        Self::open(Some(mib))
    }

    fn open(mib: Option<u32>) -> Option<Self> {
        let programs = programs()?;
        let folder = tempfile::Builder::new().prefix("clerk-sync-postgres.").tempdir_in("/tmp").unwrap();
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o711)).unwrap();
        let mut server = Self { folder, programs, port: free_port(), volume: None };
        let place = server.place();
        std::fs::create_dir(&place).unwrap();
        if let Some(mib) = mib {
            server.volume = Some(Volume::mount(mib, &place)?);
        }
        if is_root() {
            assert!(Command::new("chown").arg("postgres:").arg(&place).status().unwrap().success());
        }
        let data = server.data();
        let options = ["--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync"];
        server.run("initdb", &[&["--pgdata", &data, "--wal-segsize=1"], options.as_slice()].concat());
        server.start_again();
        Some(server)
    }

    /// The connection string.
    pub(crate) fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port)
    }

    /// Ends it at once, without a checkpoint, as a crash does.
    pub(crate) fn stop_immediately(&self) {
        self.run("pg_ctl", &["--pgdata", &self.data(), "--mode", "immediate", "--wait", "--silent", "stop"]);
    }

    /// Starts it if it does not run.
    pub(crate) fn start_again(&self) {
        if self.command("pg_ctl", &["--pgdata", &self.data(), "status"]).status().unwrap().success() {
            return;
        }
        let options = format!(
            "-p {} -k {} -c listen_addresses=127.0.0.1 -c max_wal_size=4MB -c min_wal_size=2MB",
            self.port,
            self.place().display()
        );
        let log = self.place().join("log").display().to_string();
        self.run(
            "pg_ctl",
            &["--pgdata", &self.data(), "--log", &log, "--wait", "--silent", "--options", &options, "start"],
        );
    }

    /// Takes all space of its volume but so many KiB; gives it back when the value is dropped.
    pub(crate) fn fill(&self, leave: u64) -> Filler {
        self.volume.as_ref().unwrap().fill(leave)
    }

    fn place(&self) -> PathBuf {
        self.folder.path().join("place")
    }

    fn data(&self) -> String {
        self.place().join("data").display().to_string()
    }

    fn command(&self, program: &str, arguments: &[&str]) -> Command {
        let program = self.programs.join(program);
        let mut command = if is_root() { Command::new("runuser") } else { Command::new(&program) };
        if is_root() {
            // Postgres refuses to run as root.
            command.args(["-u", "postgres", "--"]).arg(&program);
        }
        command
            .args(arguments)
            .current_dir(self.place())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command
    }

    fn run(&self, program: &str, arguments: &[&str]) {
        let done = self.command(program, arguments).status().unwrap();
        let log = std::fs::read_to_string(self.place().join("log")).unwrap_or_default();
        assert!(done.success(), "{program} {arguments:?}\n{log}");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let data = self.data();
        if Path::new(&data).exists() {
            let stop = ["--pgdata", data.as_str(), "--mode", "immediate", "--wait", "--silent", "stop"];
            let _ = self.command("pg_ctl", &stop).status();
        }
    }
}

fn is_root() -> bool {
    let output = Command::new("id").arg("-u").output().unwrap();
    output.stdout.trim_ascii() == b"0"
}
