//! The rules of ARCHITECTURE.md that neither the compiler nor clippy checks.
//!
//! They are: no import cycles, which module of the host may import which, which package may depend
//! on which library, and how long files and functions may be.
//!
//! Test code may import anything, and may be as long as its tables.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods
)]

mod circles;
mod paths;
mod source;

use std::path::PathBuf;

use source::{File, files};

/// A module of the host, and the modules that it may use, outermost first. The `Cargo.toml` of each
/// crate lists the crates that it may use.
const IMPORTS: &[(&str, &str)] = &[
    ("main", "cli"),
    ("cli", "host scatter settle events clock"),
    (
        "host",
        "plugins fleet work election agents settle events delivery kv_lease kv_key clock status",
    ),
    (
        "plugins",
        "host work pipeline subscribe election agents circuit scatter settle events delivery status",
    ),
    ("fleet", "agents settle events delivery clock status"),
    ("work", "pipeline agents settle delivery"),
    ("pipeline", "settle delivery clock"),
    ("subscribe", "agents scatter delivery"),
    ("election", "agents kv_lease kv_key clock"),
    (
        "agents",
        "circuit scatter settle events delivery clock status",
    ),
    ("circuit", "delivery kv_key clock"),
    ("scatter", "delivery clock"),
    ("settle", "events delivery clock"),
    ("events", "delivery clock status"),
    ("delivery", ""),
    ("status", ""),
    ("kv_lease", "kv_key"),
    ("kv_key", ""),
    ("clock", ""),
];

/// A library, and the only packages that may depend on it.
const LIBRARIES: &[(&str, &[&str])] = &[
    // `bench` and `tests` are outside clients of NATS.
    ("async-nats", &["crates/nats", "bench", "tests"]),
    ("wasmtime", &["crates/runtime"]),
    ("wasmtime-wasi", &["crates/runtime"]),
    ("clap", &["host", "bench", "tests"]),
    ("indicatif", &["host", "bench"]),
    (
        "tokio",
        &[
            "crates/nats",
            "crates/runtime",
            "crates/testing",
            "host",
            "bench",
            "tests",
        ],
    ),
];

/// Names that do not describe a module's content.
const EMPTY_NAMES: &[&str] = &["mod", "utils", "util", "common", "types", "helpers", "misc"];

/// Most lines of a file: more needs a reason in [`LONG_FILES`].
const FILE_LINES: usize = 400;
/// Most lines of a file, whatever the reason.
const FILE_LINES_EVER: usize = 600;
/// Most lines of a function, from `fn` to its closing brace.
const FUNCTION_LINES: usize = 70;

/// Files of more than [`FILE_LINES`] lines, each with its reason.
const LONG_FILES: &[(&str, &str)] = &[];

/// The root of the repository.
fn root() -> PathBuf {
    let tests = mistersmith_testing::package("");
    tests.parent().unwrap().to_owned()
}

/// The Rust files of a folder of the repository.
fn ours(folder: &str) -> Vec<File> {
    let mut found = files(&root().join(folder));
    assert!(!found.is_empty(), "no Rust file in {folder}");
    for file in &mut found {
        file.path = format!("{folder}/{}", file.path);
    }
    found
}

fn check(found: Vec<String>) {
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
}

#[test]
fn no_file_imports_a_file_that_imports_it() {
    let mut found = Vec::new();
    for folder in crates() {
        // Paths begin at the root of the crate and so name its modules.
        for circle in circles::circles(&files(&root().join(&folder))) {
            found.push(format!("{folder}: {circle}"));
        }
    }
    check(found);
}

/// The folders with the root of a crate: of every package here and of every plugin.
fn crates() -> Vec<String> {
    let sources = |folder: &str| {
        let inside = std::fs::read_dir(root().join(folder)).unwrap();
        let names = inside.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let sources = names.map(|name| format!("{folder}/{name}/src"));
        sources.collect::<Vec<_>>()
    };
    let packages = packages()
        .into_iter()
        .map(|package| format!("{package}/src"));
    let mut found: Vec<String> = packages.collect();
    found.extend([sources("plugins"), sources("tests/plugins")].concat());
    found.push("tests/harness".to_owned());
    found.retain(|folder| root().join(folder).join("lib.rs").exists());
    assert!(found.len() > 10, "{found:?}");
    found.sort();
    found
}

#[test]
fn modules_import_only_what_the_table_allows() {
    let mut found = Vec::new();
    for file in ours("host/src") {
        if !["lib", "testing"].contains(&file.module.as_str()) {
            found.extend(foreign_imports(&file));
        }
    }
    check(found);
}

fn foreign_imports(file: &File) -> Vec<String> {
    let Some((_, allowed)) = IMPORTS.iter().find(|(module, _)| *module == file.module) else {
        return vec![format!(
            "{}: the module `{}` is not in the table IMPORTS of tests/tidy/main.rs",
            file.path, file.module
        )];
    };
    let mut found = Vec::new();
    for (line, used) in file.imports() {
        let fine = used == file.module || allowed.split(' ').any(|module| module == used);
        if !fine {
            found.push(format!(
                "{}:{line}: `{}` may not use `{used}`",
                file.path, file.module
            ));
        }
    }
    found
}

#[test]
fn libraries_stay_where_they_belong() {
    let mut found = Vec::new();
    let mut seen = 0;
    for package in packages() {
        let manifest = std::fs::read_to_string(root().join(&package).join("Cargo.toml")).unwrap();
        for (library, homes) in LIBRARIES {
            if depends_on(&manifest, library) {
                seen += 1;
                if !homes.contains(&package.as_str()) {
                    found.push(format!(
                        "{package}/Cargo.toml: `{library}` is used only in {}",
                        homes.join(", ")
                    ));
                }
            }
        }
    }
    assert!(seen >= LIBRARIES.len(), "{seen}");
    check(found);
}

/// The packages of the workspace, as `members` lists them.
fn packages() -> Vec<String> {
    let manifest = std::fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let members = manifest.split("members = [").nth(1).unwrap();
    let members = members.split(']').next().unwrap();
    let names = members.split('"').skip(1).step_by(2);
    names.map(str::to_owned).collect()
}

/// Whether a manifest has the dependency, of any kind.
fn depends_on(manifest: &str, library: &str) -> bool {
    let mut names = manifest
        .lines()
        .filter_map(|line| line.split(['.', ' ', '=']).next());
    names.any(|name| name == library)
}

/// Calls by which a test would start whichever server is installed.
const ANY_SERVER: &[&str] = &[
    concat!("new(\"nats", "-server\")"),
    concat!("program(\"nats", "-server\")"),
    concat!("\"/usr/sbin/nats", "-server\""),
];

#[test]
fn no_test_takes_the_server_of_the_machine() {
    let mut found = Vec::new();
    for folder in ["bench", "crates", "host", "tests"] {
        found.extend(ours(folder).iter().filter_map(any_server));
    }
    check(found);
}

fn any_server(file: &File) -> Option<String> {
    let named = ANY_SERVER.iter().find(|how| file.text.contains(**how))?;
    Some(format!(
        "{}: {named}: the server to test with is in MISTERSMITH_NATS_SERVER",
        file.path
    ))
}

#[test]
fn no_test_is_left_out() {
    let mut found = Vec::new();
    for folder in ["bench", "crates", "host", "guest-sdk", "plugins", "tests"] {
        for file in ours(folder) {
            let how = concat!("#[ig", "nore");
            if file.text.contains(how) {
                found.push(format!(
                    "{}: {how}: a test that does not run proves nothing",
                    file.path
                ));
            }
        }
    }
    check(found);
}

#[test]
fn files_and_functions_are_short_and_named_for_what_they_do() {
    let mut found = Vec::new();
    for folder in ["bench", "crates", "host", "guest-sdk", "plugins", "tests"] {
        for file in ours(folder) {
            found.extend(oddities(&file));
        }
    }
    check(found);
}

fn oddities(file: &File) -> Vec<String> {
    let mut found = Vec::new();
    let lines = file.text.lines().count();
    let excused = file.is_test() || LONG_FILES.iter().any(|(path, _)| *path == file.path);
    if lines > FILE_LINES_EVER || (lines > FILE_LINES && !excused) {
        found.push(format!(
            "{}: {lines} lines; {FILE_LINES} are enough",
            file.path
        ));
    }
    for (line, length) in &file.names.functions {
        if *length > FUNCTION_LINES && !file.is_test() {
            found.push(format!(
                "{}:{line}: a function of {length} lines; {FUNCTION_LINES} are enough",
                file.path
            ));
        }
    }
    if !file.text.starts_with("//!") {
        found.push(format!("{}: does not say what it does (`//!`)", file.path));
    }
    if EMPTY_NAMES.contains(&file.name.as_str()) {
        found.push(format!("{}: a name that says nothing", file.path));
    }
    found
}

#[test]
fn a_breach_is_seen() {
    let file = |path: &str, text: &str| File::new(path, text.to_string());
    let code = "//! x\nuse crate::{agents, status::Status};\nfn f() { crate::cli::g(); }\n";
    let found = foreign_imports(&file("work/x.rs", code));
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(foreign_imports(&file("main.rs", "use mistersmith::{cli, host};")).len() == 1);
    assert_eq!(foreign_imports(&file("new_one.rs", "")).len(), 1);
    assert!(foreign_imports(&file("cli/x.rs", "// crate::agent\n")).is_empty());

    assert!(depends_on(
        "[dependencies]\nclap.workspace = true\n",
        "clap"
    ));
    assert!(depends_on("[dependencies]\nclap = \"4\"\n", "clap"));
    assert!(!depends_on(
        "[dependencies]\nclap-x.workspace = true\n",
        "clap"
    ));

    let starts = |how: &str| file("x.rs", &format!("fn f() {{ Command::{how} }}"));
    assert!(any_server(&starts(ANY_SERVER[0])).is_some());
    assert!(any_server(&starts("new(nats_server())")).is_none());

    let long = format!("fn f() {{\n{}}}\n", "    x();\n".repeat(70));
    assert_eq!(oddities(&file("agent/utils.rs", &long)).len(), 3);
    assert_eq!(oddities(&file("agent.rs", &"//! x\n".repeat(401))).len(), 1);
}
