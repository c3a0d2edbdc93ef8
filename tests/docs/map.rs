//! The files that documents name, against the folders.

use crate::check;
use crate::markdown::{page, root};

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
                "bench/",
                "crates/",
                "host/",
                "guest-sdk/",
                "plugins/",
                "tests/",
                "scripts/",
                "docs/",
            ]
            .iter()
            .any(|start| path.starts_with(start));
            let literal = !path.contains(['<', '*', ' ', '{']) && !path.contains("x.rs");
            // Plugins that a reader makes are not here.
            let made = path.contains("my-agent");
            if rooted && literal && !made && !root().join(path).exists() {
                found.push(format!("{name}:{line}: {path}"));
            }
        }
    }
    check(found);
}
