//! The real binary over a real database, with doubles of Clerk and Meilisearch at the edge.

use std::time::Duration;

use clerk_sync::clock::Clock;
use serde_json::Value;

use crate::support::{
    clerk::{Clerk, Simulated},
    process::SECRET,
};

/// A key that the simulated Clerk takes.
pub(super) const KEY: &str = "sk_live_t0psecret";

/// What `doctor` said.
pub(super) struct Report {
    pub(super) code: i32,
    pub(super) lines: Vec<Value>,
}

impl Report {
    /// The checks of this level.
    pub(super) fn of(&self, level: &str) -> Vec<&str> {
        let lines = self.lines.iter().filter(|line| line["level"] == level);
        lines.map(|line| line["check"].as_str().unwrap()).collect()
    }

    /// What one check said: level, found, remedy.
    pub(super) fn about(&self, check: &str) -> (&str, &str, &str) {
        let line = self.lines.iter().find(|line| line["check"] == check);
        let line = line.unwrap_or_else(|| panic!("nothing about {check}: {:?}", self.lines));
        let text = |name: &str| line[name].as_str().unwrap_or_default();
        (text("level"), text("found"), text("remedy"))
    }

    /// It names this one thing, and a remedy with these words.
    pub(super) fn names(&self, check: &str, remedy: &str) {
        assert_eq!((self.code, self.of("FAIL").as_slice()), (1, &[check][..]), "{:#?}", self.lines);
        assert!(self.about(check).2.contains(remedy), "{check}: {:?}", self.about(check));
    }
}

/// Runs `doctor` with a signing secret and whatever else is given.
pub(super) async fn doctor(url: &str, environment: &[(&str, &str)]) -> Report {
    let (code, text) = said(&["doctor", "--json"], url, environment).await;
    let lines = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    Report { code, lines }
}

/// Exit code and output of a command; nothing secret is ever in it.
pub(super) async fn said(arguments: &[&str], url: &str, environment: &[(&str, &str)]) -> (i32, String) {
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_clerk-sync"));
    command.args(arguments).env_clear().envs([
        ("DATABASE_URL", url),
        ("CLERK_WEBHOOK_SIGNING_SECRET", SECRET),
        ("RUST_LOG", "error"),
    ]);
    command.envs(environment.iter().copied()).kill_on_drop(true);
    let output = tokio::time::timeout(Duration::from_secs(60), command.output()).await.unwrap().unwrap();
    let (out, errors) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert!(!out.is_empty(), "{errors}");
    for text in [&out, &errors] {
        assert!(!text.contains("t0psecret") && !text.contains(SECRET), "{text}");
    }
    (output.status.code().unwrap(), out)
}

/// A simulated Clerk with three people that takes [`KEY`].
pub(super) async fn clerk() -> Simulated {
    let simulated = Simulated::of_instance(Clerk::seeded(3, 0, 0, 7, Clock::system()), "ins_doctor").await;
    simulated.modes.set_key(Some(KEY));
    simulated
}

/// What leads there.
pub(super) fn leading_to(simulated: &Simulated) -> [(&'static str, &str); 2] {
    [("CLERK_SECRET_KEY", KEY), ("CLERK_API_URL", &simulated.url)]
}
