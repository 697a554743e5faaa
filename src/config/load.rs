//! Layers: compiled-in defaults, then `--config FILE`, then the environment (short names first,
//! `CLERK_SYNC__SECTION__KEY` over them).

use std::{collections::HashMap, path::Path, time::Duration};

use config::{Environment, File, FileFormat};
use serde::{Deserialize, Deserializer};

use super::{Config, MIN_TOKEN_BITS, Range, addresses, ranges, token::is_strong};

/// The configuration cannot be used. The message names the key and never holds a value of a secret one.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A layer cannot be read, or a key is unknown or of the wrong type.
    #[error("configuration: {0}")]
    Invalid(String),
    /// A duration or a count lies outside its range.
    #[error("configuration: {key}: must be within {range}")]
    Range {
        /// The key, `section.name`.
        key: &'static str,
        /// What it may be.
        range: Range,
    },
    /// A key is missing or makes no sense; says how to set it.
    #[error("configuration: {key}: {problem}. {remedy}")]
    Key {
        /// The key, `section.name`.
        key: &'static str,
        /// What is wrong with it.
        problem: String,
        /// How to set it.
        remedy: &'static str,
    },
}

/// The longest name of a role, in bytes: an index holds them.
const ROLE_MAX: usize = 255;

/// The short names of the environment and the keys they set.
pub(super) const SHORT_NAMES: [(&str, &str); 17] = [
    ("CLERK_WEBHOOK_SECRET", "clerk.signing_secret"),
    ("CLERK_WEBHOOK_SIGNING_SECRET", "clerk.signing_secret"),
    ("CLERK_SECRET_KEY", "clerk.secret_key"),
    ("CLERK_API_URL", "clerk.api_url"),
    ("CLERK_JWT_KEY", "clerk.jwt_key"),
    ("CLERK_JWKS_URL", "clerk.jwks_url"),
    ("CLERK_ISSUER", "clerk.issuer"),
    ("CLERK_AUTHORIZED_PARTIES", "clerk.authorized_parties"),
    ("SMTP_URL", "smtp.url"),
    ("DATABASE_URL", "database.url"),
    ("REDIS_URL", "redis.url"),
    ("MEILI_URL", "meili.url"),
    ("MEILI_MASTER_KEY", "meili.master_key"),
    ("CLERK_SYNC_ADMIN_TOKEN", "api.admin_token"),
    ("CLERK_SYNC_API_TOKENS", "api.tokens"),
    ("HOST", "server.host"),
    ("PORT", "server.port"),
];

/// Svix tries a delivery for 28 hours; what failed is sent again by hand days later.
const RECEIPTS_MIN: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// Reads the layers. `environment` is the process's, or a test's own.
///
/// # Errors
/// [`ConfigError`] when a file cannot be read, a key is unknown, or a value is of the wrong kind.
pub fn load(file: Option<&Path>, environment: HashMap<String, String>) -> Result<Config, ConfigError> {
    let mut layers = config::Config::builder()
        .add_source(File::from_str(include_str!("../../config/default.toml"), FileFormat::Toml));
    if let Some(path) = file {
        layers = layers.add_source(File::from(path).format(FileFormat::Toml).required(true));
    }
    for (name, key) in SHORT_NAMES {
        if let Some(value) = environment.get(name).filter(|value| !value.is_empty()) {
            layers = layers.set_override(key, value.as_str()).map_err(invalid)?;
        }
    }
    // `set_override` beats every source, so the long names are overrides too, after the short ones.
    let long = Environment::with_prefix("CLERK_SYNC").prefix_separator("__").separator("__").source(Some(environment));
    for (key, value) in config::Source::collect(&long).map_err(invalid)? {
        // An index would make a list of that length.
        if key.contains('[') {
            return Err(ConfigError::Invalid(format!("unknown key `{key}`")));
        }
        layers = layers.set_override(key, value).map_err(invalid)?;
    }
    let mut layers = layers.build().map_err(invalid)?;
    remove_retired(&mut layers.cache);
    let mut config: Config = layers.try_deserialize().map_err(invalid)?;
    addresses::normalize(&mut config)?;
    ranges::check(&config)?;
    check(&config)?;
    Ok(config)
}

/// Keys that once existed and now mean nothing: each is ignored with a warning, so that an update needs no change of the
/// configuration.
const RETIRED: [(&str, &str, &str); 1] =
    [("sync", "lease", "events are no longer claimed; one replica applies at a time")];

fn remove_retired(root: &mut config::Value) {
    let config::ValueKind::Table(sections) = &mut root.kind else { return };
    for (section, key, reason) in RETIRED {
        let Some(config::Value { kind: config::ValueKind::Table(keys), .. }) = sections.get_mut(section) else {
            continue;
        };
        if keys.remove(key).is_some() {
            tracing::warn!("configuration: {section}.{key} is retired and ignored ({reason}); remove it");
        }
    }
}

fn invalid(error: config::ConfigError) -> ConfigError {
    ConfigError::Invalid(without_values(&error))
}

/// The message of an error without what was set: the library repeats values and, of a file, the line at fault, and
/// either may be a secret. So nothing of its text is taken over but names that we know or that are plain words.
fn without_values(error: &config::ConfigError) -> String {
    use config::ConfigError as Error;
    let at = |message: String, key: &Option<String>, origin: &Option<String>| {
        let key = key.as_deref().map(|key| format!(" for key {}", name(key))).unwrap_or_default();
        let origin = origin.as_ref().map(|origin| format!(" in {origin}")).unwrap_or_default();
        format!("{message}{key}{origin}")
    };
    match error {
        Error::Type { origin, unexpected, expected, key } => {
            let found = unexpected.to_string();
            let found = found.split(['`', '"']).next().unwrap_or_default().trim_end();
            at(format!("invalid type: {found}, expected {expected}"), key, origin)
        }
        Error::At { error, origin, key } => at(without_values(error), key, origin),
        Error::FileParse { uri, cause } => at(position(&cause.to_string()), &None, uri),
        Error::Frozen => "the layers cannot be changed any more".to_owned(),
        Error::NotFound(key) => format!("{} is not set", name(key)),
        other => without_text(&other.to_string()),
    }
}

/// Where a file cannot be parsed: the first line of the parser's message says so, the others quote the source.
fn position(message: &str) -> String {
    let first = message.lines().next().unwrap_or_default();
    let known = |c: char| c.is_ascii_alphanumeric() || " ,.".contains(c);
    match first.strip_prefix("TOML parse error at ").filter(|at| at.chars().all(known)) {
        Some(at) => format!("no valid TOML at {at}"),
        None => "no valid TOML, or not readable".to_owned(),
    }
}

/// A key, if it is a plain word of a length that keys have. Something else may be a secret that was put before the `=`.
fn name(key: &str) -> String {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "_.[]".contains(c);
    match key.len() <= 64 && key.chars().all(plain) {
        true => format!("`{key}`"),
        false => "that is not shown".to_owned(),
    }
}

/// A message of serde's without the text that it quotes.
fn without_text(message: &str) -> String {
    let quoted = |begin: &str| {
        let rest = message.split_once(begin)?.1;
        Some(rest.split('`').next().unwrap_or_default())
    };
    // Of the value, whatever it holds, nothing stands behind the last of these words.
    let expected =
        || message.rsplit_once("expected ").map(|(_, rest)| format!(", expected {rest}")).unwrap_or_default();
    if let Some(key) = quoted("missing field `") {
        return format!("missing key {}", name(key));
    }
    if message.starts_with("unknown field `") {
        let key = quoted("unknown field `").map(name).unwrap_or_default();
        return format!("unknown key {key}{}", expected());
    }
    if message.starts_with("unknown variant `") {
        return format!("unknown value{}", expected());
    }
    if message.starts_with("invalid ") {
        return format!("invalid value{}", expected());
    }
    if message.starts_with("configuration file") {
        return message.to_owned();
    }
    "cannot be read".to_owned()
}

fn check(config: &Config) -> Result<(), ConfigError> {
    let key = |key, problem: &str, remedy| Err(ConfigError::Key { key, problem: problem.to_owned(), remedy });
    if config.roles.path.starts_with("unsafe_metadata") {
        return key(
            "roles.path",
            "users can write unsafe_metadata themselves",
            "Name a path under public_metadata or private_metadata.",
        );
    }
    if !config.roles.path.is_empty()
        && !["public_metadata", "private_metadata"].iter().any(|root| config.roles.path.starts_with(root))
    {
        return key(
            "roles.path",
            "is no path into metadata",
            "Name a path under public_metadata or private_metadata, or leave it empty.",
        );
    }
    addresses::check_api(&config.clerk.api_url)?;
    admin_token(config)?;
    let schema = &config.database.schema;
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if schema.is_empty() || schema.len() > 63 || !schema.chars().all(plain) {
        return key("database.schema", "is no plain schema name", "Use letters, digits and underscores, at most 63.");
    }
    let roles = &config.roles;
    if roles.grantable.iter().chain([&roles.default]).any(|role| role.len() > ROLE_MAX) {
        return key(
            "roles",
            "name one that is longer than 255 bytes",
            "Shorten it in roles.grantable or roles.default.",
        );
    }
    let receipts = config.retention.receipts;
    if !receipts.is_zero() && receipts < RECEIPTS_MIN {
        return key(
            "retention.receipts",
            "is shorter than a delivery may be sent again, and would be taken for a new one",
            "Use at least 7d, or 0s for never.",
        );
    }
    if config.clerk.jwks_keep < config.clerk.jwks_refresh {
        return key("clerk.jwks_keep", "is shorter than clerk.jwks_refresh", "Use a longer duration, such as 24h.");
    }
    Ok(())
}

/// Refuses an admin token that can be guessed, where others than this machine can reach the server.
fn admin_token(config: &Config) -> Result<(), ConfigError> {
    let token = &config.api.admin_token;
    if token.is_empty() || is_strong(token) || addresses::is_loopback(&config.server.host) {
        return Ok(());
    }
    Err(ConfigError::Key {
        key: "api.admin_token",
        problem: format!("can be guessed: it has less than {MIN_TOKEN_BITS} bits, and server.host is not loopback"),
        remedy: "Set CLERK_SYNC_ADMIN_TOKEN=$(openssl rand -hex 32), or HOST=127.0.0.1",
    })
}

/// A value of a list's key as it was given.
#[derive(Deserialize)]
#[serde(untagged)]
enum Given {
    Text(String),
    List(Vec<String>),
}

/// A list, or a text that is yet to be taken apart (see [`addresses`]).
pub(super) fn texts<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    Ok(match Given::deserialize(deserializer)? {
        Given::Text(text) => vec![text],
        Given::List(items) => items,
    })
}

/// A list, or a string of items separated by commas (as the environment has it).
pub(super) fn list<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    let items = match Given::deserialize(deserializer)? {
        Given::Text(text) => {
            text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned).collect()
        }
        Given::List(items) => items,
    };
    items.into_iter().map(|item| T::deserialize(serde::de::value::StringDeserializer::new(item))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(file: Option<&str>, environment: &[(&str, &str)]) -> String {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("clerk-sync.toml");
        std::fs::write(&path, file.unwrap_or_default()).unwrap();
        let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        load(Some(&path), environment).unwrap_err().to_string()
    }

    #[test]
    fn a_retired_key_is_ignored_and_an_unknown_one_refused() {
        let environment = |name: &str| HashMap::from([(name.to_owned(), "1s".to_owned())]);
        load(None, environment("CLERK_SYNC__SYNC__LEASE")).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("clerk-sync.toml");
        std::fs::write(&path, "[sync]\nlease = \"60s\"\nbatch = 7\n").unwrap();
        assert_eq!(load(Some(&path), HashMap::new()).unwrap().sync.batch, 7);
        let error = load(None, environment("CLERK_SYNC__SYNC__LEASES")).unwrap_err().to_string();
        assert!(error.contains("leases"), "{error}");
    }

    #[test]
    fn errors_name_the_key_and_never_repeat_a_value() {
        for (file, environment, named) in [
            // A section that is set as if it were its most important key.
            ("", [("CLERK_SYNC__DATABASE", "postgres://app:S3CR3T@db/app")].as_slice(), "`database`"),
            ("clerk = \"S3CR3T\"", &[], "`clerk`"),
            ("api = [\"S3CR3T\"]", &[], "`api`"),
            // The line of a syntax error.
            ("[clerk]\nsigning_secret = \"S3CR3T\n", &[], "line 2"),
            ("[clerk]\nsigning_secret = S3CR3T\n", &[], "line 2"),
            ("[clerk]\nsigning_secret = \"S3CR3T\" x\n", &[], "line 2"),
            ("", &[("CLERK_SYNC__CLERK__TIMEOUT", "S3CR3T \\\", expected")], "clerk.timeout"),
            // What a list of this length would need is not there.
            ("", &[("CLERK_SYNC__API__TOKENS[999999999999999999]", "S3CR3T")], "api.tokens[999999999999999999]"),
        ] {
            let error = error(Some(file), environment);
            assert!(!error.contains("S3CR3T"), "{error}");
            assert!(error.contains(named), "{error}");
        }
    }
}
