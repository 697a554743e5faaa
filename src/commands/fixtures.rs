//! The project's own fixtures, compiled in, so that `dev` works from any folder.

use include_dir::{Dir, include_dir};

static EVENTS: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/fixtures/events");

/// The events in the order of their names: (name, body).
pub(super) fn events() -> Vec<(String, Vec<u8>)> {
    let name = |path: &std::path::Path| path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default().to_owned();
    let mut events: Vec<(String, Vec<u8>)> = EVENTS
        .files()
        .map(|file| (name(file.path()), file.contents().to_vec()))
        .filter(|(name, _)| !name.is_empty())
        .collect();
    events.sort();
    events
}
