//! The real binary as a process of its own, to be killed.

use std::{
    net::TcpListener,
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use clerk_sync::{clerk::signature::Verifier, clock::Clock};

use super::world::World;

pub(crate) const SECRET: &str = "whsec_dGVzdHMgc2lnbiB3aXRoIHRoaXMgc2VjcmV0IQ==";

/// A `serve` under test; killed when dropped.
pub(crate) struct Process {
    child: Child,
    pub(crate) url: String,
}

/// A port that was free a moment ago.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

impl Process {
    /// Starts `serve` on this port and database; returns once it answers.
    pub(crate) async fn serve(port: u16, database: &str, environment: &[(&str, &str)]) -> Self {
        Self::serve_logging_to(Stdio::inherit(), port, database, environment).await
    }

    /// The same, with its log somewhere else.
    pub(crate) async fn serve_logging_to(log: Stdio, port: u16, database: &str, environment: &[(&str, &str)]) -> Self {
        Self::spawn(&["serve"], log, port, database, environment).await
    }

    async fn spawn(arguments: &[&str], log: Stdio, port: u16, database: &str, environment: &[(&str, &str)]) -> Self {
        let mut process = Self::launch(arguments, log, port, database, environment);
        process.answers().await.unwrap_or_else(|code| panic!("serve ended at once: {code}"));
        process
    }

    /// Starts it, without waiting for anything.
    pub(crate) fn launch(
        arguments: &[&str],
        log: Stdio,
        port: u16,
        database: &str,
        environment: &[(&str, &str)],
    ) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_clerk-sync"));
        command
            .args(arguments)
            .env_clear()
            .envs([("DATABASE_URL", database), ("CLERK_WEBHOOK_SIGNING_SECRET", SECRET), ("RUST_LOG", "error")])
            .env("PORT", port.to_string())
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stderr(log);
        Self { child: command.spawn().unwrap(), url: format!("http://127.0.0.1:{port}") }
    }

    /// Returns once it answers, or its exit code where it ends instead.
    pub(crate) async fn answers(&mut self) -> Result<(), i32> {
        let started = Instant::now();
        while reqwest::get(format!("{}/healthz", self.url)).await.is_err() {
            if let Some(code) = self.ended(Duration::ZERO).await {
                return Err(code);
            }
            assert!(started.elapsed() < Duration::from_secs(30), "serve does not answer");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(())
    }

    /// Starts `serve` with some roles only.
    pub(crate) async fn serve_roles(roles: &str, port: u16, database: &str) -> Self {
        Self::spawn(&["serve", "--roles", roles], Stdio::inherit(), port, database, &[]).await
    }

    /// The most memory that it has had so far, in MB.
    pub(crate) fn peak_memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
    }

    /// SIGTERM: everything is ended in order. Answers whether it said that it was.
    pub(crate) fn terminate(mut self) -> bool {
        self.terminate_in_place()
    }

    /// The same; another one can take its place.
    pub(crate) fn terminate_in_place(&mut self) -> bool {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        self.child.wait().unwrap().success()
    }

    /// The exit code, once it has ended by itself within this time; a signal counts as -1.
    pub(crate) async fn ended(&mut self, within: Duration) -> Option<i32> {
        let started = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return Some(status.code().unwrap_or(-1));
            }
            if started.elapsed() > within {
                return None;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// SIGSTOP: it holds what it has and does nothing more, like a frozen host.
    pub(crate) fn freeze(&self) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-STOP", &pid]).status().unwrap().success());
    }

    /// SIGKILL: nothing is flushed, nothing is said.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The real binary with these arguments, over a world's database.
pub(crate) fn run(world: &World, arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    let url = world.app.config.database.url.expose().to_owned();
    run_on(&url, arguments, environment)
}

/// The same over any database.
pub(crate) fn run_on(url: &str, arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_clerk-sync"));
    command.args(arguments).env_clear().env("DATABASE_URL", url).env("RUST_LOG", "error");
    command.envs(environment.iter().copied()).output().unwrap()
}

/// Posts a really signed delivery; the status, or nothing if the server did not answer.
pub(crate) async fn post(client: &reqwest::Client, url: &str, id: &str, body: &[u8]) -> Option<u16> {
    post_whole(client, url, id, body).await.map(|response| response.status().as_u16())
}

/// The same; the whole response.
pub(crate) async fn post_whole(
    client: &reqwest::Client,
    url: &str,
    id: &str,
    body: &[u8],
) -> Option<reqwest::Response> {
    let verifier = Verifier::new(SECRET, Duration::from_secs(300)).unwrap();
    let now = Clock::system().now().timestamp();
    let request = client
        .post(format!("{url}/webhooks/clerk"))
        .header("content-type", "application/json")
        .header("svix-id", id)
        .header("svix-timestamp", now)
        .header("svix-signature", verifier.sign(id, now, body).unwrap())
        .body(body.to_vec());
    request.send().await.ok()
}
