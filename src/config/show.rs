//! The effective configuration for people, secrets masked.

use std::fmt::Write as _;

use super::Config;

/// One `section.key = value` a line. Secrets show whether they are set, never what they are.
pub fn show(config: &Config) -> String {
    // `Debug` of the sections is the one list of keys that cannot be forgotten; `Secret` masks itself there.
    let mut out = String::new();
    let Config {
        server,
        clerk,
        database,
        redis,
        meili,
        receiver,
        sync,
        entry,
        roles,
        settings,
        deletion,
        relink,
        relay,
        cache,
        api,
        metrics,
        gateway,
        upkeep,
    } = config;
    let sections: [(&str, &dyn std::fmt::Debug); 18] = [
        ("server", server),
        ("clerk", clerk),
        ("database", database),
        ("redis", redis),
        ("meili", meili),
        ("receiver", receiver),
        ("sync", sync),
        ("entry", entry),
        ("roles", roles),
        ("settings", settings),
        ("deletion", deletion),
        ("relink", relink),
        ("relay", relay),
        ("cache", cache),
        ("api", api),
        ("metrics", metrics),
        ("gateway", gateway),
        ("upkeep", upkeep),
    ];
    for (name, section) in sections {
        let text = format!("{section:#?}");
        for line in text.lines().skip(1).filter(|line| *line != "}") {
            let line = line.trim_start().trim_end_matches(',').replacen(": ", " = ", 1);
            let _ = writeln!(out, "{name}.{line}");
        }
    }
    out
}
