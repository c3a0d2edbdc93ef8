//! The rules of ARCHITECTURE.md that a compiler does not hold: who may import whom, which library
//! is used where, and how long files and functions may be.
//!
//! Tests are free to use what they like, and may be as long as their tables.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

#[path = "tidy/source.rs"]
mod source;

use std::path::Path;

use source::{File, files};

/// A module, and the modules of ours that it may use, outermost first.
#[rustfmt::skip]
const IMPORTS: &[(&str, &str)] = &[
    ("main",         "cli"),
    ("cli",          "bench host patterns provision runtime transport config permissions limits names"),
    ("bench",        "runtime transport config permissions limits names"),
    ("host",         "agent patterns provision runtime transport config permissions limits names"),
    ("agent",        "patterns runtime transport config permissions limits names"),
    ("patterns",     "runtime transport config permissions limits names"),
    ("runtime",      "capabilities bindings transport permissions limits names"),
    ("capabilities", "bindings transport permissions limits names"),
    ("bindings",     ""),
    ("provision",    "transport config limits names"),
    ("config",       "permissions limits names"),
    ("transport",    "limits names"),
    ("permissions",  "limits names"),
    ("status",       "limits names"),
    ("telemetry",    "limits names"),
    ("files",        ""),
    ("names",        "limits"),
    ("limits",       ""),
];

/// Modules that anyone may use.
const FOR_ANYONE: &[&str] = &["status", "telemetry", "files"];

/// A path that begins so, and the only modules that may write it.
const CONFINED: &[(&[&str], &[&str])] = &[
    (&["async_nats"], &["transport", "provision", "bench"]),
    (&["wasmtime"], &["bindings", "capabilities", "runtime"]),
    (&["wasmtime_wasi"], &["bindings", "capabilities", "runtime"]),
    (&["clap"], &["cli"]),
    (&["indicatif"], &["cli"]),
    (&["std", "env"], &["cli", "main"]),
    (&["env", "var"], &["cli", "main"]),
    (&["env", "var_os"], &["cli", "main"]),
    (&["io", "stdout"], &["cli"]),
    (&["io", "stderr"], &["cli"]),
    // What a stranger may have put there is read by `files`.
    (&["fs", "read"], &["files", "bench"]),
    (&["fs", "read_to_string"], &["files", "bench", "main"]),
    (&["File", "open"], &["files", "bench"]),
    (&["process", "exit"], &["main"]),
    (&["process", "abort"], &["main"]),
];

/// Files that only tests use.
const FOR_TESTS: &[&str] = &["testing", "fixture"];

/// Macros that print, which only `cli` may.
const PRINTING: &[&str] = &["print", "println", "eprint", "eprintln", "dbg"];

/// Names that say nothing about what is inside.
const EMPTY_NAMES: &[&str] = &["mod", "utils", "util", "common", "types", "helpers", "misc"];

/// Lines of a file: more needs a reason in [`LONG_FILES`].
const FILE_LINES: usize = 400;
/// Lines of a file that no reason makes good.
const FILE_LINES_EVER: usize = 600;
/// Lines of a function, from `fn` to its closing brace.
const FUNCTION_LINES: usize = 70;

/// Files of more than [`FILE_LINES`] lines, each with its reason.
const LONG_FILES: &[(&str, &str)] = &[];

/// The files of a folder of the repository.
fn ours(folder: &str) -> Vec<File> {
    // Asked now, not compiled in: a target folder may serve several checkouts.
    let package = std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it");
    let mut found = files(&Path::new(&package).parent().unwrap().join(folder));
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
fn modules_import_only_what_the_table_allows() {
    let mut found = Vec::new();
    for file in ours("host/src") {
        if file.module != "lib" {
            found.extend(foreign_imports(&file));
        }
    }
    check(found);
}

fn foreign_imports(file: &File) -> Vec<String> {
    let Some((_, allowed)) = IMPORTS.iter().find(|(module, _)| *module == file.module) else {
        return vec![format!(
            "{}: the module `{}` is not in the table of tidy.rs",
            file.path, file.module
        )];
    };
    let mut found = Vec::new();
    for (line, used) in file.imports() {
        let fine = used == file.module
            || FOR_ANYONE.contains(&used.as_str())
            || allowed.split(' ').any(|module| module == used);
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
    for file in ours("host/src") {
        found.extend(strays(&file));
    }
    check(found);
}

fn strays(file: &File) -> Vec<String> {
    let mut found = Vec::new();
    for (path, homes) in CONFINED {
        if !homes.contains(&file.module.as_str()) && !FOR_TESTS.contains(&file.name.as_str()) {
            for line in file.paths(path) {
                found.push(format!(
                    "{}:{line}: `{}` is used only in {}",
                    file.path,
                    path.join("::"),
                    homes.join(", ")
                ));
            }
        }
    }
    if file.module != "cli" {
        for name in PRINTING {
            for line in file.macros(name) {
                found.push(format!("{}:{line}: only cli prints (`{name}!`)", file.path));
            }
        }
    }
    found
}

/// How a test would start whatever server the machine has.
const ANY_SERVER: &[&str] = &[
    concat!("new(\"nats", "-server\")"),
    concat!("program(\"nats", "-server\")"),
    concat!("\"/usr/sbin/nats", "-server\""),
];

#[test]
fn no_test_takes_the_server_of_the_machine() {
    let mut found = Vec::new();
    for folder in ["host/src", "host/tests", "tests"] {
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
    for folder in ["host", "guest-sdk", "plugins", "tests"] {
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
    for folder in [
        "host/src",
        "host/tests",
        "guest-sdk/src",
        "plugins",
        "tests",
    ] {
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
    for (line, length) in file.functions() {
        if length > FUNCTION_LINES && !file.is_test() {
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
    let code = "//! x\nuse crate::{transport, names::Token};\nfn f() { crate::cli::g(); }\n";
    let found = foreign_imports(&file("config/x.rs", code));
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(foreign_imports(&file("main.rs", "use mistersmith::{cli, host};")).len() == 1);
    assert_eq!(foreign_imports(&file("new_one.rs", "")).len(), 1);
    assert!(foreign_imports(&file("cli/x.rs", "// crate::agent\n")).is_empty());

    let code = "//! x\nuse async_nats as n;\nfn f() { println!(\"wasmtime::x\"); std::process::exit(1) }\n";
    assert_eq!(strays(&file("agent.rs", code)).len(), 3);
    assert_eq!(strays(&file("main.rs", code)).len(), 2);
    assert_eq!(strays(&file("agent.rs", "use std::env::var;")).len(), 2);

    assert!(any_server(&file("x.rs", &format!("Command::{}", ANY_SERVER[0]))).is_some());
    assert!(any_server(&file("x.rs", "Command::new(nats_server())")).is_none());

    let long = format!("fn f() {{\n{}}}\n", "    x();\n".repeat(70));
    assert_eq!(oddities(&file("agent/utils.rs", &long)).len(), 3);
    assert_eq!(oddities(&file("agent.rs", &"//! x\n".repeat(401))).len(), 1);
}
