//! Logs: one line an event, to stderr; `LOG_FORMAT=json` for machines, `RUST_LOG` for levels.

use std::{collections::HashMap, io::IsTerminal as _};

use tracing_subscriber::{EnvFilter, fmt};

/// Starts logging as the environment asks. A second call does nothing.
pub fn init(environment: &HashMap<String, String>) {
    let level = environment.get("RUST_LOG").map_or("info,sqlx=warn,sea_orm_migration=warn", String::as_str);
    let mut filter = EnvFilter::new(level);
    // At its finest level this one writes down whole frames, and with them tokens.
    if let Ok(directive) = "tungstenite=info".parse() {
        filter = filter.add_directive(directive);
    }
    let builder = fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(std::io::stderr().is_terminal());
    let json = environment.get("LOG_FORMAT").is_some_and(|format| format == "json");
    let _ = if json { builder.json().flatten_event(true).try_init() } else { builder.with_target(false).try_init() };
}
