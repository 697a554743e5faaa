//! The range of every duration and count. What lies outside is refused at start, by name and with the range, so that no
//! calculation with a setting can leave the calendar, wait for ever or allocate without bound. `config/default.toml` repeats
//! each range beside its key; a test compares the two and finds keys that have none.

use std::{fmt, time::Duration};

use super::{Config, ConfigError};

const MILLISECOND: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(60 * 60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const YEARS: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);

/// A key with what it may be set to, both ends included.
#[derive(Debug, Clone, Copy)]
pub struct Range {
    /// The key, `section.name`.
    pub key: &'static str,
    bounds: Bounds,
}

#[derive(Debug, Clone, Copy)]
enum Bounds {
    Time { of: fn(&Config) -> Duration, least: Duration, most: Duration },
    Count { of: fn(&Config) -> u64, least: u64, most: u64 },
    Share { of: fn(&Config) -> f64, least: f64, most: f64 },
}

macro_rules! time {
    ($section:ident $(. $part:ident)+, $least:expr, $most:expr) => {
        Range {
            key: concat!(stringify!($section) $(, ".", stringify!($part))+),
            bounds: Bounds::Time { of: |config| config.$section $(. $part)+, least: $least, most: $most },
        }
    };
}

macro_rules! count {
    ($section:ident $(. $part:ident)+, $least:expr, $most:expr) => {
        Range {
            key: concat!(stringify!($section) $(, ".", stringify!($part))+),
            bounds: Bounds::Count {
                of: |config| u64::try_from(config.$section $(. $part)+).unwrap_or(u64::MAX),
                least: $least,
                most: $most,
            },
        }
    };
}

/// Every duration and count.
pub const RANGES: &[Range] = &[
    time!(server.shutdown_grace, Duration::ZERO, HOUR),
    time!(server.stalled_after, SECOND, DAY),
    time!(server.header_timeout, Duration::from_millis(100), HOUR),
    time!(server.idle_timeout, Duration::from_millis(100), DAY),
    count!(server.max_connections, 1, 1_000_000),
    count!(server.max_receipt_connections, 1, 1_000_000),
    count!(server.max_connections_per_address, 0, 1_000_000),
    count!(clerk.rate_limit, 0, 1_000_000),
    Range {
        key: "clerk.rate_share",
        bounds: Bounds::Share { of: |config| config.clerk.rate_share, least: 0.01, most: 1.0 },
    },
    time!(clerk.timeout, MILLISECOND, HOUR),
    time!(clerk.jwks_refresh, MILLISECOND, DAY),
    time!(clerk.jwks_keep, MILLISECOND, YEARS),
    count!(database.max_connections, 1, 1_000),
    count!(database.max_read_connections, 1, 1_000),
    time!(database.acquire_timeout, MILLISECOND, HOUR),
    count!(stream.max_len, 1, 1_000_000_000),
    time!(meili.task_timeout, MILLISECOND, DAY),
    count!(receiver.max_body, 1, 16 << 20),
    count!(receiver.unverified_bytes, 65_536, 1 << 32),
    count!(receiver.queue, 1, 1_000_000),
    count!(receiver.group_rows, 1, 10_000),
    count!(receiver.group_bytes, 1, 1 << 30),
    time!(receiver.answer_within, MILLISECOND, HOUR),
    time!(receiver.tolerance, Duration::ZERO, DAY),
    count!(sync.batch, 1, 10_000),
    count!(sync.batch_bytes, 1, 1 << 30),
    time!(sync.poll, MILLISECOND, HOUR),
    count!(sync.max_attempts, 1, 1_000),
    time!(sync.backoff, Duration::ZERO, DAY),
    time!(sync.backoff_max, Duration::ZERO, DAY),
    time!(waiting.deadline, Duration::ZERO, YEARS),
    time!(conflicts.grace, Duration::ZERO, YEARS),
    time!(deletion.erase_after, Duration::ZERO, YEARS),
    count!(deletion.breaker.max, 0, 1_000_000),
    time!(deletion.breaker.window, MILLISECOND, YEARS),
    time!(relink.window, Duration::ZERO, YEARS),
    count!(tail.batch, 1, 10_000),
    count!(tail.buffer, 1, 1_000_000),
    time!(tail.poll, MILLISECOND, HOUR),
    time!(tail.backoff, Duration::ZERO, HOUR),
    time!(tail.backoff_max, Duration::ZERO, HOUR),
    count!(relay.batch, 1, 10_000),
    time!(relay.lease, MILLISECOND, DAY),
    time!(relay.poll, MILLISECOND, HOUR),
    time!(relay.backoff, Duration::ZERO, DAY),
    time!(relay.backoff_max, Duration::ZERO, DAY),
    time!(cache.ttl, Duration::ZERO, YEARS),
    count!(cache.capacity, 0, 1_000_000_000),
    time!(api.request_timeout, MILLISECOND, HOUR),
    count!(api.max_streams, 0, 1_000_000),
    time!(gateway.auth_timeout, MILLISECOND, HOUR),
    count!(gateway.queue, 1, 1_000_000),
    count!(gateway.max_frame, 1, 16 << 20),
    count!(gateway.max_topics, 0, 10_000),
    count!(gateway.max_rate, 1, 1_000_000),
    count!(gateway.max_burst, 1, 1_000_000),
    count!(gateway.max_connections, 0, 1_000_000),
    count!(gateway.max_connections_per_user, 1, 1_000_000),
    count!(gateway.max_unauthenticated, 1, 1_000_000),
    time!(gateway.write_timeout, MILLISECOND, HOUR),
    time!(gateway.ping_every, MILLISECOND, DAY),
    count!(gateway.replays, 1, 1_000),
    time!(alerts.repeat, Duration::ZERO, YEARS),
    time!(silence.after, Duration::ZERO, YEARS),
    time!(reconcile.every, Duration::ZERO, YEARS),
    time!(reconcile.full_every, Duration::ZERO, YEARS),
    time!(reconcile.settle, Duration::ZERO, DAY),
    count!(reconcile.extras_max, 0, 1_000_000_000),
    Range {
        key: "reconcile.max_removal_share",
        bounds: Bounds::Share { of: |config| config.reconcile.max_removal_share, least: 0.0, most: 1.0 },
    },
    time!(retention.bodies, Duration::ZERO, YEARS),
    time!(retention.receipts, Duration::ZERO, YEARS),
    time!(retention.outbox, Duration::ZERO, YEARS),
    time!(retention.audit, Duration::ZERO, YEARS),
    time!(upkeep.every, MILLISECOND, HOUR),
];

impl Range {
    fn holds(&self, config: &Config) -> bool {
        match self.bounds {
            Bounds::Time { of, least, most } => (least..=most).contains(&of(config)),
            Bounds::Count { of, least, most } => (least..=most).contains(&of(config)),
            Bounds::Share { of, least, most } => (least..=most).contains(&of(config)),
        }
    }

    /// The least and the greatest value, as they are written.
    pub fn ends(&self) -> (String, String) {
        match self.bounds {
            Bounds::Time { least, most, .. } => (written(least), written(most)),
            Bounds::Count { least, most, .. } => (least.to_string(), most.to_string()),
            Bounds::Share { least, most, .. } => (least.to_string(), most.to_string()),
        }
    }

    /// Whether the key is a duration.
    pub fn is_time(&self) -> bool {
        matches!(self.bounds, Bounds::Time { .. })
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (least, most) = self.ends();
        write!(f, "{least} to {most}")
    }
}

/// A duration in its greatest whole unit.
fn written(duration: Duration) -> String {
    let units = [(DAY, "d"), (HOUR, "h"), (MINUTE, "m"), (SECOND, "s")];
    let millis = duration.as_millis();
    let whole =
        units.into_iter().find(|(unit, _)| millis >= unit.as_millis() && millis.is_multiple_of(unit.as_millis()));
    match whole {
        Some((unit, name)) => format!("{}{name}", millis / unit.as_millis()),
        None if millis == 0 => "0s".to_owned(),
        None => format!("{millis}ms"),
    }
}

/// Refuses what lies outside its range.
///
/// # Errors
/// The first such key, with its range; never the value, which may have been pasted there by mistake.
pub(super) fn check(config: &Config) -> Result<(), ConfigError> {
    match RANGES.iter().find(|range| !range.holds(config)) {
        None => Ok(()),
        Some(range) => Err(ConfigError::Range { key: range.key, range: *range }),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeSet, HashMap};

    use super::*;
    use crate::config::load;

    fn with(key: &str, value: &str) -> Result<Config, ConfigError> {
        // The only key that is a table in the file.
        let (name, value) = match key.strip_prefix("deletion.breaker.") {
            Some(part) => (format!("CLERK_SYNC__DELETION__BREAKER__{}", part.to_uppercase()), value),
            None => (format!("CLERK_SYNC__{}", key.replace('.', "__").to_uppercase()), value),
        };
        load(None, HashMap::from([(name, value.to_owned())]))
    }

    /// Keys of the file with the text behind them, nested ones included.
    fn file() -> Vec<(String, String, String)> {
        let mut found = Vec::new();
        let mut section = String::new();
        for line in include_str!("../../config/default.toml").lines() {
            if let Some(rest) = line.strip_prefix('[') {
                section = rest.split(']').next().unwrap().to_owned();
            } else if let Some((key, rest)) = line.split_once(" = ") {
                let (value, comment) = rest.split_once(" #").unwrap_or((rest, ""));
                found.push((format!("{section}.{key}"), value.trim().to_owned(), comment.to_owned()));
            }
        }
        found
    }

    #[test]
    fn every_duration_and_count_has_a_range_that_the_file_names() {
        let ranged: BTreeSet<&str> = RANGES.iter().map(|range| range.key).collect();
        for (key, value, comment) in file() {
            let is_time = value.trim_matches('"').parse::<humantime::Duration>().is_ok() && value.starts_with('"');
            let is_count = value.parse::<f64>().is_ok();
            if key == "server.port" || key == "deletion.breaker" {
                continue;
            }
            assert_eq!(ranged.contains(key.as_str()), is_time || is_count, "{key} = {value}");
            for range in RANGES.iter().filter(|range| range.key == key) {
                assert!(comment.contains(&range.to_string()), "{key}: {range}: {comment}");
            }
        }
        assert!(file().iter().any(|(key, _, comment)| {
            key == "deletion.breaker"
                && RANGES
                    .iter()
                    .filter(|range| range.key.starts_with("deletion.breaker"))
                    .all(|range| comment.contains(&range.to_string()))
        }));
    }

    #[test]
    fn both_ends_are_taken_and_what_lies_beyond_is_refused_by_name() {
        for range in RANGES {
            let (least, most) = range.ends();
            for end in [&least, &most] {
                match with(range.key, end) {
                    Ok(_) => {}
                    // Another rule, between two keys.
                    Err(error) => assert!(!error.to_string().contains(&range.to_string()), "{}: {error}", range.key),
                }
            }
            let beyond = if range.is_time() { "584542000000y" } else { "1e19" };
            for value in [beyond, if range.is_time() { "3651d" } else { "4294967297" }] {
                let Err(error) = with(range.key, value) else { panic!("{} = {value} is taken", range.key) };
                let error = error.to_string();
                assert!(error.contains(range.key), "{}: {error}", range.key);
                assert!(!error.contains(value), "{}: {error}", range.key);
            }
        }
        let error = with("relay.lease", "3650d").unwrap_err().to_string();
        assert_eq!(error, "configuration: relay.lease: must be within 1ms to 1d");
        assert!(with("relay.lease", "0s").unwrap_err().to_string().contains("relay.lease"));
    }
}
