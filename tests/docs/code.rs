//! What the documents say about the code as text: messages, constants, names of tests.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use mistersmith_core::config::{show_duration, show_size};

use crate::check;
use crate::markdown::{names, page, root};

/// The Rust files that a host is made of: path in the repository, and text.
pub fn product() -> BTreeMap<String, String> {
    let folders = [
        "crates/core/src",
        "crates/nats/src",
        "crates/runtime/src",
        "host/src",
    ];
    folders.into_iter().flat_map(sources).collect()
}

/// The Rust files below a folder of the repository: path in the repository, and text.
pub fn sources(folder: &str) -> BTreeMap<String, String> {
    let root = root();
    let mut files = Vec::new();
    collect(&root.join(folder), &mut files);
    let name = |path: &Path| path.strip_prefix(&root).unwrap().display().to_string();
    files
        .iter()
        .map(|path| (name(path), std::fs::read_to_string(path).unwrap()))
        .collect()
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            if path.file_name().is_some_and(|name| name != "target") {
                collect(&path, files);
            }
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            files.push(path);
        }
    }
}

/// Texts as the compiler sees them: a backslash at the end of a line joins it with the next.
fn joined(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("\\\n") {
        out.push_str(before);
        rest = after.trim_start();
    }
    out.push_str(rest);
    out.replace("\\\"", "\"")
}

#[test]
fn the_messages_of_the_troubleshooting_table_exist() {
    let all: String = product().values().map(|text| joined(text)).collect();
    // Said by the server.
    const FOREIGN: [&str; 1] = ["maximum messages per subject exceeded"];
    let mut found = Vec::new();
    for row in page("docs/operations.md").rows("Troubleshooting") {
        let message = names(&row[0]).remove(0);
        if !all.contains(&message) && !FOREIGN.contains(&message.as_str()) {
            found.push(format!("docs/operations.md: nothing says {message:?}"));
        }
    }
    check(found);
}

#[test]
fn the_default_log_filter_is_as_told() {
    let page = page("docs/operations.md");
    let spans = page.spans();
    let filters = spans
        .iter()
        .filter_map(|(_, span)| span.strip_prefix("MISTERSMITH_LOG="));
    let source = &sources("host/src")["host/src/cli/logging.rs"];
    let filters: Vec<&str> = filters.collect();
    assert!(!filters.is_empty());
    for filter in filters {
        assert!(source.contains(&format!("\"{filter}\"")), "{filter}");
    }
}

#[test]
fn the_tests_that_the_documents_name_exist() {
    let mut all = String::new();
    for folder in ["crates", "host", "bench", "tests", "guest-sdk"] {
        all.extend(sources(folder).into_values());
    }
    let security = page("docs/security.md");
    let contract = page("docs/contract.md");
    let promises = contract.rows("Guarantees");
    let promises: Vec<_> = promises.iter().filter(|row| row.len() == 3).collect();
    assert!(promises.len() > 15, "{}", promises.len());
    let mut named: Vec<String> = Vec::new();
    for promise in promises {
        let tests = names(promise.last().unwrap());
        assert!(!tests.is_empty(), "no test of: {promise:?}");
        named.extend(tests);
    }
    for heading in ["A hostile plugin", "A hostile message", "A hostile file"] {
        let rows = security.rows(heading);
        named.extend(rows.iter().flat_map(|row| names(row.last().unwrap())));
    }
    // And in parentheses, after a statement.
    let statements = security.text.split("(`").skip(1);
    let closed = statements.map(|text| format!("`{}", text.split(')').next().unwrap()));
    named.extend(closed.flat_map(|text| names(&text)));
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    let tests: Vec<&String> = named
        .iter()
        .filter(|name| name.chars().all(plain))
        .collect();
    assert!(tests.len() > 40, "{}", tests.len());
    let missing = |name: &&&String| !all.contains(&format!("fn {name}("));
    check(
        tests
            .iter()
            .filter(missing)
            .map(|name| format!("there is no test `{name}`"))
            .collect(),
    );
}

/// The value of `const NAME: … = …;`, as the documents write it: a time, or a number and a size.
pub fn constant(source: &str, name: &str) -> Option<Vec<String>> {
    let after = source.split(&format!("const {name}: ")).nth(1)?;
    let (_, expression) = after.split(';').next()?.split_once('=')?;
    let expression = expression.trim();
    for (unit, millis) in [("from_secs(", 1000), ("from_millis(", 1)] {
        if let Some(inner) = expression.split(unit).nth(1) {
            let number = number(inner.split(')').next()?)?;
            return Some(vec![show_duration(Duration::from_millis(number * millis))]);
        }
    }
    let number = number(expression)?;
    Some(vec![number.to_string(), show_size(number)])
}

/// Products and shifts of literals.
fn number(expression: &str) -> Option<u64> {
    if let Some((value, by)) = expression.split_once("<<") {
        return Some(number(value)? << number(by)?);
    }
    expression
        .split('*')
        .map(|factor| {
            factor
                .trim()
                .replace('_', "")
                .trim_end_matches("u64")
                .parse::<u64>()
                .ok()
        })
        .product()
}

#[test]
fn constants_are_read() {
    let source = "const A: u32 = 8_192;\nconst B: Duration = Duration::from_secs(5 * 60);\nconst C: usize = 16 << 20;";
    assert_eq!(constant(source, "A").unwrap(), ["8192", "8KiB"]);
    assert_eq!(constant(source, "B").unwrap(), ["5m"]);
    assert_eq!(constant(source, "C").unwrap(), ["16777216", "16MiB"]);
    assert_eq!(constant(source, "D"), None);
    assert_eq!(joined("a \\\n    b"), "a b");
}
