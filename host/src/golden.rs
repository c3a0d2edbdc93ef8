//! Golden files of the unit tests: what people are told, kept where a reviewer reads it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use std::path::Path;

/// Compares a text with the file at `path` within `src`; with UPDATE_GOLDEN=1 writes it there instead.
pub(crate) fn assert(path: &str, text: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(path);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, text).unwrap();
    }
    let golden = std::fs::read_to_string(&file).unwrap_or_default();
    assert_eq!(
        text, golden,
        "{path} differs; look, then run again with UPDATE_GOLDEN=1"
    );
}
