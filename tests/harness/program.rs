//! The programs under test, and cargo's folder for them.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

/// The folder of this build, for example `target/debug`. A test lies in `deps` below it.
fn profile() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    test.ancestors().nth(2).unwrap().to_owned()
}

/// Cargo's target folder.
pub fn target() -> PathBuf {
    profile().parent().unwrap().to_owned()
}

/// A program of this workspace.
///
/// # Panics
/// When it is missing or older than its sources: cargo does not build the programs of other
/// packages for a test, and an old one would be tested unnoticed.
pub fn program(name: &str) -> PathBuf {
    static CURRENT: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    let program = profile().join(name);
    if CURRENT.lock().unwrap().insert(name.to_owned())
        && let Some(reason) = outdated(&program)
    {
        CURRENT.lock().unwrap().remove(name);
        panic!("{reason}: run `make test`, or `cargo build --workspace` before the tests");
    }
    program
}

/// The reason why a program is older than its sources, which cargo lists beside it.
fn outdated(program: &Path) -> Option<String> {
    let built = std::fs::metadata(program).and_then(|file| file.modified());
    let Ok(built) = built else {
        return Some(format!("{} is missing", program.display()));
    };
    let list = std::fs::read_to_string(program.with_extension("d")).unwrap();
    let sources = list.split_once(": ").map_or("", |(_, sources)| sources);
    // A blank in a name follows a backslash.
    let sources = sources.trim().replace("\\ ", "\0");
    for source in sources.split(' ').map(|name| name.replace('\0', " ")) {
        let Ok(file) = std::fs::metadata(&source) else {
            return Some(format!("{source} is gone since {}", program.display()));
        };
        if file.is_file() && file.modified().unwrap() > built {
            return Some(format!("{source} is newer than {}", program.display()));
        }
    }
    None
}
