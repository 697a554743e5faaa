//! The documents say what is so: every state and reason that the code writes is explained, and every command that is
//! named exists.

use std::{collections::BTreeSet, path::Path};

use clap::{Parser as _, error::ErrorKind};
use clerk_sync::{clerk::private::BODY_EMPTIED, commands::Cli, domain::State};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap()
}

fn debugging() -> String {
    read("docs/debugging.md")
}

/// What speaks with Clerk's API, or as it does: its errors are no reasons of ours.
const API: [&str; 3] = ["clerk/api", "clerk/api.rs", "clerk/simulated"];

/// The code of these folders and files, without what only tests see.
fn sources(paths: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for path in paths.iter().filter(|path| !API.contains(path)).map(|path| root().join("src").join(path)) {
        if path.is_dir() {
            let inside = std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path());
            let inside: Vec<_> =
                inside.map(|path| path.strip_prefix(root().join("src")).unwrap().display().to_string()).collect();
            found.extend(sources(&inside.iter().map(String::as_str).collect::<Vec<_>>()));
        } else {
            let text = std::fs::read_to_string(path).unwrap();
            found.push(text.split("#[cfg(test)]").next().unwrap().to_owned());
        }
    }
    found
}

/// The literals of a source, each with the code that stands before it.
fn literals(source: &str) -> Vec<(&str, &str)> {
    let mut found = Vec::new();
    let (mut at, mut since) = (0, 0);
    let bytes = source.as_bytes();
    while at < bytes.len() {
        match bytes[at] {
            b'/' if source[at..].starts_with("//") => {
                at += source[at..].find('\n').unwrap_or(source.len() - at);
                since = at;
            }
            // A character: '"' would open a literal.
            b'\'' if bytes.get(at + 2) == Some(&b'\'') => at += 3,
            b'\'' if bytes.get(at + 1) == Some(&b'\\') => at += 4,
            // A raw one ends at as many signs as it begins with.
            b'r' if at == 0 || !bytes[at - 1].is_ascii_alphanumeric() && bytes[at - 1] != b'_' => {
                let signs = source[at + 1..].len() - source[at + 1..].trim_start_matches('#').len();
                let begin = at + signs + 2;
                if bytes.get(begin - 1) != Some(&b'"') {
                    at += 1;
                    continue;
                }
                let end = format!("\"{}", "#".repeat(signs));
                let length = source[begin..].find(&end).unwrap();
                found.push((&source[since..at], &source[begin..begin + length]));
                at = begin + length + end.len();
                since = at;
            }
            b'"' => {
                let begin = at + 1;
                at = begin;
                while bytes[at] != b'"' {
                    at += if bytes[at] == b'\\' { 2 } else { 1 };
                }
                found.push((&source[since..begin - 1], &source[begin..at]));
                at += 1;
                since = at;
            }
            _ => at += 1,
        }
    }
    found
}

/// The code that a reason begins with: `entry.require_name` of `entry.require_name: neither …`.
fn code(literal: &str) -> Option<&str> {
    let (code, _) = literal.split_once(": ")?;
    let plain = |c: char| c.is_ascii_lowercase() || c == '_' || c == '.';
    (!code.is_empty() && code.chars().all(plain)).then_some(code)
}

/// What stands before a reason, or an outcome, without a code.
const OPENINGS: [&str; 4] = ["refused(", "Ignored { reason:", "Outcome::skipped(", "Outcome::done("];

#[test]
fn every_state_is_explained() {
    let text = debugging();
    for state in State::ALL.map(State::as_str) {
        assert!(text.contains(&format!("\n| `{state}` |")), "{state} is not in the table");
        let diagram = text.split("```mermaid").nth(1).unwrap().split("```").next().unwrap();
        assert!(diagram.contains(&format!("{state}: ")), "{state} is not in the diagram");
    }
}

#[test]
fn every_reason_for_refusing_a_token_is_explained() {
    let text = debugging();
    let section = text.split("## A session token is refused").nth(1).unwrap().split("\n## ").next().unwrap();
    let rows: String = section.lines().filter(|line| line.starts_with("| `")).collect();
    for reason in clerk_sync::telemetry::metrics::REFUSALS {
        assert!(rows.contains(&format!("`{reason}`")), "{reason}");
    }
}

#[test]
fn every_reason_is_explained() {
    let sources = sources(&["domain", "sync", "inbox", "clerk"]);
    let literals: Vec<_> = sources.iter().flat_map(|source| literals(source)).collect();
    let mut reasons: BTreeSet<String> = BTreeSet::from([BODY_EMPTIED.to_owned()]);
    for (before, literal) in &literals {
        let before = before.trim_end();
        // Statements write some themselves.
        reasons
            .extend(literal.split("reason = '").skip(1).filter_map(|rest| rest.split('\'').next()).map(str::to_owned));
        if let Some(code) = code(literal) {
            reasons.insert(format!("{code}: …"));
        } else if OPENINGS.iter().any(|opening| before.ends_with(opening)) && !literal.is_empty() {
            reasons.insert((*literal).to_owned());
        }
    }
    // That the search finds them at all.
    for known in
        ["entry.require_email: …", "malformed: …", "data: …", "wrong instance", "no rule for this type", "stale"]
    {
        assert!(reasons.contains(known), "{known} is not found: {reasons:?}");
    }
    let text = debugging();
    let missing: Vec<_> = reasons.iter().filter(|reason| !text.contains(&format!("`{reason}`"))).collect();
    assert!(missing.is_empty(), "not in docs/debugging.md: {missing:?}");
}

/// What a document has in backticks or in a block of commands and begins with `clerk-sync `.
fn commands(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (index, block) in text.split("```").enumerate() {
        if index % 2 == 1 {
            found
                .extend(block.lines().map(str::trim).filter(|line| line.starts_with("clerk-sync ")).map(str::to_owned));
        } else {
            found.extend(
                block.split('`').skip(1).step_by(2).filter(|code| code.starts_with("clerk-sync ")).map(str::to_owned),
            );
        }
    }
    // What follows two spaces explains.
    found.into_iter().map(|line| line.split("  ").next().unwrap().split(" #").next().unwrap().to_owned()).collect()
}

/// The command lines that one of a document stands for, with all that may be left out: `a|b` is either.
fn spelt_out(command: &str) -> Vec<Vec<String>> {
    let mut lines: Vec<Vec<String>> = vec![Vec::new()];
    let plain = |word: &str| word.trim_matches(['[', ']']).replace('…', "");
    for word in command.replace('[', " [ ").replace(']', " ] ").split_whitespace() {
        let words: Vec<String> = match word {
            "[" | "]" => continue,
            _ => word.split('|').map(plain).collect(),
        };
        lines = lines
            .iter()
            .flat_map(|line| words.iter().map(|word| [line.clone(), vec![stand_in(word)]].concat()).collect::<Vec<_>>())
            .collect();
    }
    lines
}

/// A value where a document has a placeholder.
fn stand_in(word: &str) -> String {
    match word {
        "N" => "1".into(),
        "ID" => uuid::Uuid::nil().to_string(),
        _ => word.to_owned(),
    }
}

#[test]
fn every_command_that_is_named_exists() {
    let mut documents = vec!["README.md".to_owned(), "ARCHITECTURE.md".to_owned()];
    documents.extend(
        std::fs::read_dir(root().join("docs"))
            .unwrap()
            .map(|entry| format!("docs/{}", entry.unwrap().file_name().to_str().unwrap())),
    );
    let mut count = 0;
    for document in documents {
        for command in commands(&read(&document)) {
            for line in spelt_out(&command) {
                count += 1;
                let kind = Cli::try_parse_from(&line).err().map(|error| error.kind());
                let exists = [
                    None,
                    Some(ErrorKind::MissingRequiredArgument),
                    Some(ErrorKind::DisplayHelp),
                    Some(ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand),
                ];
                assert!(exists.contains(&kind), "{document}: {command}: {line:?}: {kind:?}");
            }
        }
    }
    assert!(count > 60, "only {count} were found");
}

#[test]
fn what_the_search_for_commands_takes_for_what() {
    let text = "Run `clerk-sync inbox list|show ID  [x]` or `cargo run`.\n```sh\nclerk-sync replay [--dry-run] --state rejected   plans\n$ other\n```\n";
    assert_eq!(commands(text), ["clerk-sync inbox list|show ID", "clerk-sync replay [--dry-run] --state rejected"]);
    assert_eq!(spelt_out("a b|c [--d]"), [["a", "b", "--d"], ["a", "c", "--d"]]);
    let source = "f(\"a\", 'x', '\"', '\\\"'); // \"no\"\nOutcome::done(\"b \\\" c\")";
    assert_eq!(literals(source), [("f(", "a"), ("\nOutcome::done(", "b \\\" c")]);
    assert_eq!(literals("f(r#\"a \"b\"#, r\"\\\", for_r, \"c\")"), [("f(", "a \"b"), (", ", "\\"), (", for_r, ", "c")]);
    assert_eq!((code("data: x"), code("Data: x"), code("a b: c"), code("data")), (Some("data"), None, None, None));
}

/// Links between the documents lead somewhere.
#[test]
fn documents_that_are_referred_to_are_there() {
    for document in ["README.md", "ARCHITECTURE.md", "docs/debugging.md", "docs/recovery.md", "docs/stream.md"] {
        let folder = root().join(document).parent().unwrap().to_owned();
        let text = read(document);
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let (path, _) = target.split_once('#').unwrap_or((target, ""));
            assert!(target.contains("://") || folder.join(path).exists(), "{document}: {target}");
        }
    }
}
