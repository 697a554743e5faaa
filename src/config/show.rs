//! The effective configuration for people, secrets masked.

use super::Config;

/// One `section.key = value` a line. Secrets show whether they are set, never what they are.
pub fn show(config: &Config) -> String {
    let sections = [
        ("server", config.server.entries()),
        ("clerk", config.clerk.entries()),
        ("database", config.database.entries()),
        ("redis", config.redis.entries()),
        ("stream", config.stream.entries()),
        ("meili", config.meili.entries()),
        ("receiver", config.receiver.entries()),
        ("sync", config.sync.entries()),
        ("entry", config.entry.entries()),
        ("roles", config.roles.entries()),
        ("settings", config.settings.entries()),
        ("organizations", config.organizations.entries()),
        ("waiting", config.waiting.entries()),
        ("conflicts", config.conflicts.entries()),
        ("deletion", config.deletion.entries()),
        ("relink", config.relink.entries()),
        ("tail", config.tail.entries()),
        ("relay", config.relay.entries()),
        ("cache", config.cache.entries()),
        ("api", config.api.entries()),
        ("metrics", config.metrics.entries()),
        ("gateway", config.gateway.entries()),
        ("alerts", config.alerts.entries()),
        ("smtp", config.smtp.entries()),
        ("silence", config.silence.entries()),
        ("reconcile", config.reconcile.entries()),
        ("retention", config.retention.entries()),
        ("upkeep", config.upkeep.entries()),
    ];
    let lines = sections.into_iter().flat_map(|(section, entries)| {
        entries.into_iter().map(move |(key, value)| format!("{section}.{key} = {value}\n"))
    });
    lines.collect()
}
