//! Golden files: texts that are compared word by word.

use crate::package;

/// Compares a text with a file below `src` of the package whose test runs; with UPDATE_GOLDEN=1 it
/// is written there instead.
///
/// # Panics
/// When they differ, or cargo does not run the test.
pub fn golden(path: &str, text: &str) {
    let file = package("src").join(path);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::create_dir_all(file.parent().expect("it is below src")).expect("a folder");
        std::fs::write(&file, text).expect("it can be written");
    }
    let golden = std::fs::read_to_string(&file).unwrap_or_default();
    assert_eq!(
        text, golden,
        "{path} differs; look, then run again with UPDATE_GOLDEN=1"
    );
}
