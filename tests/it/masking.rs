//! A marker in every secret, in every form in which settings are mistyped: it stands in nothing that the binary says.

use std::{
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use crate::support::{process::SECRET, services};

/// What no output may hold. It has no sign that would be written in another way.
const MARKER: &str = "MaRk3rOfASecret";

/// Keys whose value is a URL, each with its scheme and a default for the rest.
const URLS: [(&str, &str); 7] = [
    ("DATABASE_URL", "postgres"),
    ("REDIS_URL", "redis"),
    ("MEILI_URL", "http"),
    ("SMTP_URL", "smtp"),
    ("CLERK_API_URL", "https"),
    ("CLERK_JWKS_URL", "https"),
    ("CLERK_SYNC__ALERTS__WEBHOOK_URL", "https"),
];

/// `{s}` is the scheme, `{m}` the marker. Nothing listens on port 1.
const FORMS: [&str; 18] = [
    "{s}://user:{m}@127.0.0.1:1/x",
    "{s}://user:p{m}@no-such-host.invalid/x",
    "{s}://user:p#{m}@127.0.0.1:1/x",
    "{s}://user:12#{m}@127.0.0.1:1/x",
    "{s}://user:p/{m}@127.0.0.1:1/x",
    "{s}://user:12/{m}@127.0.0.1:1/x",
    "{s}://user:p?{m}@127.0.0.1:1/x",
    "{s}://user:p@{m}@127.0.0.1:1/x",
    "{s}://user:p {m}@127.0.0.1:1/x",
    "{s}://user:%zz{m}@127.0.0.1:1/x",
    "{s}://user:{m}@127.0.0.1:port/x",
    "{s}://user:{m}@/x",
    "{s}://user:{m}",
    "{s}//user:{m}@127.0.0.1:1/x",
    "user:{m}@127.0.0.1:1/x",
    "{m}",
    "{s}://user:p@127.0.0.1:1/x?password={m}&sslmode={m}",
    "\"{s}://user:{m}@127.0.0.1:1/x\"",
];

/// Other secrets, and forms that they are mistyped in.
const SECRETS: [&str; 9] = [
    "CLERK_WEBHOOK_SIGNING_SECRET",
    "CLERK_SECRET_KEY",
    "CLERK_JWT_KEY",
    "MEILI_MASTER_KEY",
    "CLERK_SYNC_ADMIN_TOKEN",
    "CLERK_SYNC_API_TOKENS",
    // A secret in the wrong place.
    "CLERK_ISSUER",
    "CLERK_SYNC__CLERK__CONFIRM",
    "CLERK_SYNC__SERVER__SHUTDOWN_GRACE",
];

const SECRET_FORMS: [&str; 5] = ["{m}", "whsec_{m}", "\"{m}\"", "sk_test_{m}\u{7}", "name:all:{m}"];

/// Broken files.
const FILES: [&str; 10] = [
    "[clerk]\nsigning_secret = \"{m}\n",
    "[clerk]\nsigning_secret = {m}\n",
    "[clerk]\nsigning_secret = \"{m}\" x\n",
    "[clerk]\nsigning_secret = '''{m}\n",
    "[clerk]\nsigning_secret = \"a\"\nsigning_secret = \"{m}\"\n",
    "[clerk]\n\"{m}\" = 1\n",
    "[{m}]\nx = 1\n",
    "clerk = \"{m}\"\n",
    "[clerk]\nconfirm = \"{m}\"\n",
    "[clerk]\ntimeout = \"{m}\"\n[api]\ntokens = [[\"{m}\"]]\n",
];

struct Said {
    text: String,
}

/// Runs the binary with one secret set; what it says on both streams. `serve` is ended where it does not end by itself.
fn say(arguments: &[&str], environment: &[(&str, &str)], sqlite: &str) -> Said {
    let mut command = Command::new(env!("CARGO_BIN_EXE_clerk-sync"));
    command.args(arguments).env_clear().env("RUST_LOG", "debug").env("PORT", "0");
    command.env("DATABASE_URL", sqlite).env("CLERK_WEBHOOK_SIGNING_SECRET", SECRET);
    command.env("CLERK_SYNC__DATABASE__ACQUIRE_TIMEOUT", "300ms").env("CLERK_SYNC__CLERK__TIMEOUT", "300ms");
    command.env("RUST_BACKTRACE", "1").env("CLERK_SYNC__ALERTS__MAIL_TO", "ops@example.com");
    command.envs(environment.iter().copied()).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let (mut out, mut err) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
    let read = |from: &mut dyn std::io::Read| {
        let mut bytes = Vec::new();
        from.read_to_end(&mut bytes).unwrap();
        bytes
    };
    std::thread::scope(|scope| {
        let both = [scope.spawn(move || read(&mut out)), scope.spawn(move || read(&mut err))];
        let started = Instant::now();
        while child.try_wait().unwrap().is_none() {
            // Long enough to ask the backends and to log what came of it.
            if arguments[0] == "serve" && started.elapsed() > Duration::from_millis(1_500) {
                child.kill().unwrap();
            }
            assert!(started.elapsed() < Duration::from_secs(60), "{arguments:?} does not end");
            std::thread::sleep(Duration::from_millis(5));
        }
        let bytes = both.map(|thread| thread.join().unwrap()).concat();
        Said { text: String::from_utf8_lossy(&bytes).into_owned() }
    })
}

fn find(leaks: &mut Vec<String>, what: &str, said: &Said) {
    if said.text.to_lowercase().contains(&MARKER.to_lowercase()) {
        let line = said.text.lines().find(|line| line.to_lowercase().contains(&MARKER.to_lowercase()));
        leaks.push(format!("{what}: {}", line.unwrap_or_default()));
    }
}

fn written(form: &str, scheme: &str) -> String {
    form.replace("{s}", scheme).replace("{m}", MARKER)
}

#[test]
fn no_malformed_url_is_repeated() {
    let (_folder, sqlite) = services::sqlite();
    let mut leaks = Vec::new();
    for (key, scheme) in URLS {
        for form in FORMS {
            let value = written(form, scheme);
            let mut environment = vec![(key, value.as_str())];
            // So that it is used.
            match key {
                "CLERK_API_URL" => environment.push(("CLERK_SECRET_KEY", "sk_test_x")),
                "CLERK_JWKS_URL" => environment.push(("CLERK_ISSUER", "https://clerk.example.com")),
                _ => {}
            }
            for arguments in [["config"].as_slice(), &["doctor"], &["migrate", "status"], &["serve"]] {
                let asks = key == "DATABASE_URL" || ["config", "doctor", "serve"].contains(&arguments[0]);
                // A server is slow to start, and has one code path a kind of form.
                if asks {
                    find(&mut leaks, &format!("{key}={form} {arguments:?}"), &say(arguments, &environment, &sqlite));
                }
            }
        }
    }
    assert!(leaks.is_empty(), "{} leaks:\n{}", leaks.len(), leaks.join("\n"));
}

#[test]
fn no_secret_in_another_form_or_place_is_repeated() {
    let (_folder, sqlite) = services::sqlite();
    let mut leaks = Vec::new();
    for key in SECRETS {
        for form in SECRET_FORMS {
            let value = written(form, "");
            let mut environment = vec![(key, value.as_str())];
            if key == "CLERK_JWT_KEY" {
                environment.push(("CLERK_ISSUER", "https://clerk.example.com"));
            }
            if key == "MEILI_MASTER_KEY" {
                environment.push(("MEILI_URL", "http://127.0.0.1:1"));
            }
            for arguments in [["config"].as_slice(), &["doctor"], &["serve"]] {
                find(&mut leaks, &format!("{key}={form} {arguments:?}"), &say(arguments, &environment, &sqlite));
            }
        }
    }
    let folder = tempfile::tempdir().unwrap();
    for (index, file) in FILES.iter().enumerate() {
        let path = folder.path().join(format!("{index}.toml"));
        std::fs::write(&path, written(file, "")).unwrap();
        let said = say(&["--config", path.to_str().unwrap(), "config"], &[], &sqlite);
        find(&mut leaks, &format!("file {file:?}"), &said);
    }
    assert!(leaks.is_empty(), "{} leaks:\n{}", leaks.len(), leaks.join("\n"));
}
