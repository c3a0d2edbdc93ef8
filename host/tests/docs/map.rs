//! ARCHITECTURE.md against the folders: every file is in the code map, and the table of imports is the
//! one that `tidy.rs` holds.

use std::collections::{BTreeMap, BTreeSet};

use crate::check;
use crate::code::sources;
use crate::markdown::{names, page, root};

/// Code that only tests use.
fn is_test(file: &str) -> bool {
    file.split('/')
        .any(|part| matches!(part, "tests" | "tests.rs" | "testing.rs" | "fixture.rs"))
}

#[test]
fn every_file_is_in_the_code_map() {
    let rows = page("ARCHITECTURE.md").rows("Code map");
    let said: BTreeSet<String> = rows.iter().flat_map(|row| names(&row[0])).collect();
    let real: BTreeSet<String> = sources("host/src")
        .into_keys()
        .filter(|file| !is_test(file))
        .collect();
    let mut found: Vec<String> = real
        .difference(&said)
        .map(|file| format!("not in the map: {file}"))
        .collect();
    found.extend(
        said.difference(&real)
            .map(|file| format!("not in host/src: {file}")),
    );
    check(found);
}

#[test]
fn files_that_are_named_exist() {
    let mut found = Vec::new();
    for name in [
        "ARCHITECTURE.md",
        "CONTRIBUTING.md",
        "docs/security.md",
        "docs/operations.md",
    ] {
        for (line, span) in page(name).spans() {
            let path = span.split('#').next().unwrap_or_default();
            let rooted = [
                "host/src/",
                "host/tests/",
                "guest-sdk/",
                "plugins/",
                "tests/",
                "scripts/",
                "docs/",
            ]
            .iter()
            .any(|start| path.starts_with(start));
            let literal = !path.contains(['<', '*', ' ', '{']) && !path.contains("x.rs");
            // Paths of files in host/src are written from there; plugins that a reader makes are not here.
            let made = path.contains("my-agent");
            if rooted && literal && !made && !root().join(path).exists() {
                found.push(format!("{name}:{line}: {path}"));
            }
        }
    }
    check(found);
}

/// The table of imports in `tidy.rs`: module, and the modules that it may use.
fn imports() -> BTreeMap<String, BTreeSet<String>> {
    let text = std::fs::read_to_string(root().join("host/tests/tidy.rs")).unwrap();
    let table = text.split("const IMPORTS").nth(1).unwrap();
    let table = table
        .split_once("= &[")
        .unwrap()
        .1
        .split("];")
        .next()
        .unwrap();
    let mut imports = BTreeMap::new();
    for entry in table.split('(').skip(1) {
        let quoted: Vec<String> = entry
            .split('"')
            .skip(1)
            .step_by(2)
            .map(str::to_owned)
            .collect();
        let (module, used) = quoted.split_first().unwrap();
        let used = used.iter().flat_map(|names| names.split_whitespace());
        imports.insert(module.clone(), used.map(str::to_owned).collect());
    }
    imports
}

#[test]
fn the_table_of_imports_is_that_of_the_test() {
    let rows = page("ARCHITECTURE.md").rows("Who may import whom");
    let mut said: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for row in rows {
        for module in names(&row[0]) {
            said.insert(module, names(&row[1]).into_iter().collect());
        }
    }
    let mut real = imports();
    // Anyone may use these; they are no row of the table.
    for module in ["status", "telemetry", "files"] {
        real.remove(module);
    }
    assert_eq!(said, real);
}
