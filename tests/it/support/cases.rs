//! `tests/cases`: bodies that were once handled wrongly.

use serde_json::Value;

/// The body of this name.
pub(crate) fn case(name: &str) -> Value {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/cases/{name}.json"));
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// Text that does not compress, so an index row takes all of its bytes. Another `salt` is another text.
pub(crate) fn noise(bytes: usize, salt: u64) -> String {
    let mut rng = fastrand::Rng::with_seed(salt * 100_000 + bytes as u64);
    std::iter::repeat_with(|| rng.alphanumeric()).take(bytes).collect()
}
