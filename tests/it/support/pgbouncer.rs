//! Debian's PgBouncer, in front of one database of the tests.

use std::{
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use tempfile::TempDir;

use super::{process::free_port, services};

/// A PgBouncer under test; killed when dropped.
pub(crate) struct PgBouncer {
    child: Child,
    url: String,
    _folder: TempDir,
}

impl PgBouncer {
    /// With this `pool_mode`; `None` where it is not installed.
    pub(crate) async fn start(postgres: &str, mode: &str) -> Option<Self> {
        let program = services::pgbouncer()?;
        let (_, rest) = postgres.split_once('@').unwrap();
        let (server, database) = rest.split_once('/').unwrap();
        let (host, port) = server.split_once(':').unwrap();
        let folder = tempfile::tempdir().unwrap();
        let (listen, file) = (free_port(), folder.path().join("pgbouncer.ini"));
        let users = folder.path().join("users.txt");
        std::fs::write(&users, "\"postgres\" \"\"\n").unwrap();
        // Since 1.21 it can carry prepared statements; what is tested is one that does not.
        let version = Command::new(&program).arg("--version").output().unwrap();
        let version = String::from_utf8_lossy(&version.stdout).into_owned();
        let minor = version.split('.').nth(1).and_then(|minor| minor.parse::<u32>().ok());
        let carries = if minor.is_some_and(|minor| minor >= 21) { "max_prepared_statements = 0\n" } else { "" };
        let settings = format!(
            "[databases]\n{database} = host={host} port={port} dbname={database} user=postgres\n[pgbouncer]\n\
             listen_addr = 127.0.0.1\nlisten_port = {listen}\nunix_socket_dir =\nauth_type = any\n\
             auth_file = {}\npool_mode = {mode}\ndefault_pool_size = 20\n{carries}",
            users.display()
        );
        std::fs::write(&file, settings).unwrap();
        let mut command = Command::new(program);
        // It refuses to run as root.
        if std::os::unix::fs::MetadataExt::uid(&std::fs::metadata("/proc/self").unwrap()) == 0 {
            for path in [folder.path(), &file, &users] {
                let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
                std::fs::set_permissions(path, mode).unwrap();
            }
            command.args(["-u", "postgres"]);
        }
        let child = command.arg("-q").arg(&file).stdin(Stdio::null()).spawn().unwrap();
        let this = Self { child, url: format!("postgres://postgres@127.0.0.1:{listen}/{database}"), _folder: folder };
        let started = Instant::now();
        while tokio::net::TcpStream::connect(("127.0.0.1", listen)).await.is_err() {
            assert!(started.elapsed() < Duration::from_secs(10), "PgBouncer does not listen");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Some(this)
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }
}

impl Drop for PgBouncer {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
