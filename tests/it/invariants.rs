//! The invariants that the fuzz targets check (`fuzz/`), with random mutants of real inputs.

#[expect(unreachable_pub, reason = "to the fuzz targets it is a library")]
#[path = "../../fuzz/invariants/mod.rs"]
mod shared;

use std::path::Path;

use fastrand::Rng;
use proptest::prelude::*;

use self::shared::{config, envelope, frame, json, mutate::mutate_part, signature, token};

/// The files of a folder of the project, sorted by name.
fn files(folder: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut paths: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.iter().map(|path| std::fs::read(path).unwrap()).collect()
}

fn texts(folder: &str) -> Vec<String> {
    files(folder).into_iter().filter_map(|bytes| String::from_utf8(bytes).ok()).collect()
}

/// Mutants of the texts: each changed in up to eight places.
fn mutants(texts: Vec<String>) -> impl Strategy<Value = String> {
    (prop::sample::select(texts), any::<u64>(), 0..8).prop_map(|(mut text, seed, changes)| {
        let mut rng = Rng::with_seed(seed);
        (0..changes).for_each(|_| text = mutate_part(&text, &mut rng));
        text
    })
}

fn bodies() -> Vec<String> {
    [texts("fixtures/events"), texts("tests/cases"), texts("fuzz/corpus/envelope")].concat()
}

/// 300 cases; more with `PROPERTY_CASES` (the longer mode of `tests/run`).
fn cases(share: u32) -> ProptestConfig {
    let cases = std::env::var("PROPERTY_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(300);
    ProptestConfig { cases: cases / share, failure_persistence: None, ..ProptestConfig::default() }
}

#[test]
fn they_hold_for_the_corpus() {
    let check_all = |folder: &str, check: fn(&[u8])| {
        let files = files(folder);
        assert!(!files.is_empty() && files.len() <= 20, "{folder} has {} files", files.len());
        assert!(files.iter().map(Vec::len).sum::<usize>() <= 20 * 1024, "{folder} is too large");
        files.iter().for_each(|bytes| check(bytes));
    };
    check_all("fuzz/corpus/envelope", envelope::check);
    check_all("fuzz/corpus/json", json::check);
    check_all("fuzz/corpus/token", token::check);
    check_all("fuzz/corpus/frame", frame::check);
    check_all("fuzz/corpus/signature", signature::check);
    check_all("fuzz/corpus/config", config::check);
    bodies().iter().for_each(|body| envelope::check(body.as_bytes()));
    token::check_baseline();
}

proptest! {
    #![proptest_config(cases(1))]

    #[test]
    fn they_hold_for_deliveries(body in mutants(bodies())) {
        envelope::check(body.as_bytes());
    }

    #[test]
    fn they_hold_for_json(text in mutants([texts("fuzz/corpus/json"), texts("tests/cases")].concat())) {
        json::check(text.as_bytes());
    }

    #[test]
    fn they_hold_for_frames(text in mutants(texts("fuzz/corpus/frame"))) {
        frame::check(text.as_bytes());
    }

    /// Each line of a delivery's headers is left out, doubled or changed.
    #[test]
    fn they_hold_for_signatures(text in prop::sample::select(texts("fuzz/corpus/signature")), seed in any::<u64>()) {
        signature::check(changed_lines(&text, &mut Rng::with_seed(seed)).as_bytes());
    }
}

proptest! {
    // A signature each, and a file each.
    #![proptest_config(cases(3))]

    #[test]
    fn they_hold_for_tokens(text in mutants(texts("fuzz/corpus/token"))) {
        token::check(text.as_bytes());
    }

    #[test]
    fn they_hold_for_configurations(choice in any::<u8>(), text in prop::sample::select(texts("fuzz/corpus/config")), seed in any::<u64>()) {
        let text = changed_lines(&text, &mut Rng::with_seed(seed));
        config::check(&[&[choice], text.as_bytes()].concat());
    }
}

fn changed_lines(text: &str, rng: &mut Rng) -> String {
    let mut out = Vec::new();
    for line in text.split('\n') {
        match rng.u8(..16) {
            0 => {}
            1 => out.extend([line.to_owned(), line.to_owned()]),
            2 => out.push(line.replace(|c: char| c.is_ascii_digit(), &rng.digit(10).to_string())),
            3 => out.push(line.chars().rev().collect()),
            4 => out.push(format!("{line}{}", ["\"", " ", ",", "0", "\\", "=", "[1]", "\u{0}", "é"][rng.usize(..9)])),
            5 => out.push(line.chars().take(rng.usize(..=line.len())).collect()),
            6 => out.push(line.replacen("svix", "webhook", 1)),
            _ => out.push(line.to_owned()),
        }
    }
    out.join("\n")
}
