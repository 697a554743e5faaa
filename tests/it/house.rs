//! The order of the house: a module uses only what stands before it. And its rooms stay small.

use std::path::{Path, PathBuf};

/// From the pure core to the faces. What shares a line may use each other.
const ORDER: [&[&str]; 15] = [
    &["clock", "failpoint", "json", "lifecycle"],
    &["config", "domain"],
    &["clerk"],
    &["db", "telemetry"],
    &["audit"],
    &["wake", "meta", "instance", "access", "lease"],
    &["backends"],
    &["inbox", "outbox"],
    &["sync"],
    &["sinks", "gateway"],
    &["erasure"],
    &["reconcile"],
    &["upkeep", "api", "console"],
    &["doctor"],
    &["app", "commands"],
];

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|ext| ext == "rs") {
            found.push(path);
        }
    }
}

fn all() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&root, &mut files);
    let name = |path: &Path| path.strip_prefix(&root).unwrap().display().to_string();
    files.iter().map(|path| (name(path), std::fs::read_to_string(path).unwrap())).collect()
}

fn rank(module: &str) -> Option<usize> {
    ORDER.iter().position(|line| line.contains(&module))
}

/// The modules of the crate that a source names: `crate::x` and, in grouped imports, `crate::{x, y::…}`.
fn uses(source: &str) -> Vec<String> {
    let mut found = Vec::new();
    let code: String =
        source.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");
    for (at, _) in code.match_indices("crate::") {
        let rest = &code[at + "crate::".len()..];
        let word = |text: &str| text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
        if !rest.starts_with('{') {
            found.push(word(rest));
            continue;
        }
        let mut depth = 0;
        let mut start = true;
        for (index, c) in rest.char_indices() {
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                break;
            }
            if start && depth == 1 && c.is_alphabetic() {
                found.push(word(&rest[index..]));
                start = false;
            }
            start |= depth == 1 && (c == ',' || c == '{');
        }
    }
    found
}

#[test]
fn a_module_uses_only_what_stands_before_it() {
    let mut wrong = Vec::new();
    for (name, source) in all() {
        let module = name.trim_end_matches(".rs").split('/').next().unwrap().to_owned();
        if ["lib", "main"].contains(&module.as_str()) {
            continue;
        }
        let own = rank(&module).unwrap_or_else(|| panic!("{module} has no place in the house"));
        for used in uses(&source) {
            if rank(&used).is_some_and(|place| place > own) {
                wrong.push(format!("{name} uses {used}"));
            }
        }
        if module == "domain" {
            let foreign = ["sea_orm", "sqlx", "axum", "reqwest", "tokio"];
            wrong.extend(
                foreign.iter().filter(|word| source.contains(**word)).map(|word| format!("{name} knows {word}")),
            );
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn only_the_composition_root_names_concrete_backends() {
    for (name, source) in all() {
        let inside = ["app.rs", "backends", "sinks", "commands"].iter().any(|place| name.starts_with(place));
        let named = ["Cache::Redis", "Cache::Local", "Search::Meili", "Search::Database"]
            .iter()
            .any(|word| source.contains(word));
        assert!(inside || !named, "{name}");
    }
}

/// What serves one client, one command or one request, and ends with it; the rest is supervised.
const UNSUPERVISED: [(&str, usize); 9] = [
    ("api/changes/stream.rs", 1),
    ("api/line/server.rs", 1),
    ("backends/mailer/smtp.rs", 1),
    ("backends/search/http.rs", 1),
    ("commands/backfill.rs", 1),
    ("commands/ensure.rs", 1),
    ("commands/reconcile.rs", 1),
    ("commands/simulated.rs", 1),
    ("reconcile/backfill.rs", 1),
];

/// A loop that nobody supervises can end without anybody noticing.
#[test]
fn every_long_lived_task_is_supervised() {
    for (name, source) in all() {
        let spawns = source.matches("tokio::spawn(").count() + source.matches("tasks.spawn(").count();
        let spawns = spawns + source.matches("tasks().spawn(").count() + source.matches("spawn_local(").count();
        // What the applier's loop spawns is awaited by it.
        let known = UNSUPERVISED.iter().find(|(file, _)| *file == name).map_or(0, |(_, count)| *count);
        let ignored = ["lifecycle/", "sync/worker", "clerk/simulated/"].iter().any(|place| name.starts_with(place));
        assert!(ignored || spawns <= known, "{name} spawns a task past the supervisor");
    }
}

/// A sum of a time and a setting may leave the calendar, and then panics.
#[test]
fn only_the_clock_makes_spans_of_durations() {
    for (name, source) in all() {
        let converts = ["Duration::from_std", "TimeDelta::from_std"].iter().any(|call| source.contains(call));
        assert!(!converts || name == "clock.rs", "{name}: use clock::span, clock::later or clock::earlier");
    }
}

#[test]
fn rooms_stay_small() {
    let mut lines: Vec<(usize, String)> =
        all().into_iter().map(|(name, source)| (source.lines().count(), name)).collect();
    lines.sort();
    let (longest, name) = lines.last().unwrap();
    assert!(*longest <= 500, "{name} has {longest} lines");
    assert!(lines[lines.len() / 2].0 <= 160, "the median file has {} lines", lines[lines.len() / 2].0);
}
