//! Keeps the documents true: links, command lines, manifests, limits, subjects, the WIT reference,
//! names of files. What is said in README.md, ARCHITECTURE.md and `docs/` is compared with the
//! code.
//!
//! A block `toml plugin` is a manifest and a block `toml host` a configuration; both must be free
//! of mistakes. Each line `mistersmith …` must be a command line that the program understands.
//! Blocks marked `run` are carried out by the end-to-end tests.

#![allow(
    clippy::disallowed_methods,
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "tests read what they have made, and print why they fail"
)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    unreachable_pub
)]

mod code;
mod commands;
mod files;
mod limits;
mod map;
mod markdown;
mod subjects;
mod versions;
mod wit;

use markdown::{page, pages};

/// All breaches at once, since nobody likes to find them one by one.
fn check(found: Vec<String>) {
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
}

#[test]
fn every_relative_link_leads_somewhere() {
    let mut found = Vec::new();
    for page in pages() {
        for (line, target) in page.links() {
            if let Some(problem) = page.broken(&target) {
                found.push(format!("{}:{line}: {target}: {problem}", page.name));
            }
        }
    }
    check(found);
}

#[test]
fn a_broken_link_is_seen() {
    let readme = page("README.md");
    assert_eq!(readme.broken("docs/contract.md#words"), None);
    assert_eq!(readme.broken("#see-it"), None);
    assert!(readme.broken("docs/nothing.md").is_some());
    assert!(readme.broken("docs/contract.md#nothing").is_some());
}

#[test]
fn nothing_is_left_to_be_written() {
    let mut found = Vec::new();
    for page in pages() {
        for (number, line) in page.text.lines().enumerate() {
            for mark in ["TODO", "FIXME", "TBD", "XXX", "lorem ipsum"] {
                if line.contains(mark) {
                    found.push(format!("{}:{}: {mark}", page.name, number + 1));
                }
            }
        }
    }
    check(found);
}
