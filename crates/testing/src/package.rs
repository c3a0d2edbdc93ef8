//! Where the package lies whose test runs.

use std::path::PathBuf;

/// A path below the folder of the package whose test runs.
///
/// It is read from the environment, not compiled in: a target folder may serve several checkouts,
/// and a test must read the files of its own.
///
/// # Panics
/// When cargo does not run the test.
pub fn package(path: &str) -> PathBuf {
    let folder = std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets CARGO_MANIFEST_DIR");
    PathBuf::from(folder).join(path)
}
