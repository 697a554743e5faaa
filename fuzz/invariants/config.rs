//! Configuration: no file and no environment makes loading panic, and nothing repeats a secret.

use std::{collections::HashMap, io::Write as _};

use clerk_sync::config;

/// What stands at the beginning of every secret.
const MARK: &str = "s3cr3t-Mark";

/// Keys of secrets, `section.key`.
const SECRETS: [&str; 10] = [
    "clerk.signing_secret",
    "clerk.secret_key",
    "clerk.jwt_key",
    "database.url",
    "redis.url",
    "meili.master_key",
    "api.admin_token",
    "api.tokens",
    "alerts.webhook_url",
    "smtp.url",
];

/// Their short names.
const SHORT: [&str; 9] = [
    "CLERK_WEBHOOK_SECRET",
    "CLERK_WEBHOOK_SIGNING_SECRET",
    "CLERK_SECRET_KEY",
    "CLERK_JWT_KEY",
    "DATABASE_URL",
    "REDIS_URL",
    "MEILI_MASTER_KEY",
    "CLERK_SYNC_ADMIN_TOKEN",
    "CLERK_SYNC_API_TOKENS",
];

/// Checks one configuration. The first byte chooses a secret and how it is quoted; up to a NUL follows the rest of a
/// file that begins with that secret; then lines `NAME=value` of the environment.
pub fn check(data: &[u8]) {
    let Some((choice, rest)) = data.split_first() else { return };
    let text = String::from_utf8_lossy(rest);
    let (file, lines) = text.split_once('\0').unwrap_or((&text, ""));
    let environment: HashMap<String, String> = lines
        .split('\n')
        .filter_map(|line| line.split_once('='))
        // What no process can be given.
        .filter(|(name, value)| !name.is_empty() && !name.contains('\0') && !value.contains('\0'))
        .map(|(name, value)| {
            let mark = if is_secret(name) { MARK } else { "" };
            (name.to_owned(), format!("{mark}{value}"))
        })
        .collect();
    let secret = SECRETS[usize::from(*choice) % SECRETS.len()];
    let (section, key) = secret.split_once('.').expect("a section and a key");
    let quote = ["\"", "'", "\"\"\"", "'''", "", "[\"", "{ x = \""][usize::from(*choice) / SECRETS.len() % 7];
    let loaded = if *choice == u8::MAX {
        config::load(None, environment)
    } else {
        let mut path = tempfile::NamedTempFile::new().expect("a file");
        write!(path, "[{section}]\n{key} = {quote}{MARK}{file}").expect("a written file");
        config::load(Some(path.path()), environment)
    };
    let said = match &loaded {
        Ok(config) => format!("{}{config:?}", config::show(config)),
        Err(error) => format!("{error}{error:?}"),
    };
    assert!(!said.contains(MARK), "a secret is repeated: {said}");
}

/// Whether a variable sets a secret, or a section that has one.
fn is_secret(name: &str) -> bool {
    let upper = name.to_uppercase();
    let Some(path) = upper.strip_prefix("CLERK_SYNC__") else { return SHORT.contains(&name) || name == "SMTP_URL" };
    SECRETS.iter().any(|secret| {
        let (section, key) = secret.split_once('.').expect("a section and a key");
        path == section.to_uppercase() || path == format!("{section}__{key}").to_uppercase()
    })
}
