//! The Rust files of the repository, parsed.

use std::path::Path;

use crate::paths::Names;

/// One source file.
pub(crate) struct File {
    /// Its path under the folder that was read.
    pub(crate) path: String,
    /// Its name without `.rs`.
    pub(crate) name: String,
    /// The top-level module that it belongs to: `agent` for `agent/life.rs`.
    pub(crate) module: String,
    /// Its text.
    pub(crate) text: String,
    /// The names it declares and uses; empty for a file of tests.
    pub(crate) names: Names,
}

/// All Rust files under `folder`, sorted by name; empty where there are none. Build products and
/// templates are not checked.
pub(crate) fn files(folder: &Path) -> Vec<File> {
    let mut found = Vec::new();
    collect(folder, folder, &mut found);
    found.sort_by(|one: &File, other| one.path.cmp(&other.path));
    found
}

fn collect(root: &Path, folder: &Path, found: &mut Vec<File>) {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return;
    };
    for entry in entries {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() && name != "target" && name != "template" {
            collect(root, &path, found);
        } else if name.ends_with(".rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            let path = path.strip_prefix(root).unwrap().to_string_lossy();
            found.push(File::new(&path, text));
        }
    }
}

impl File {
    pub(crate) fn new(path: &str, text: String) -> File {
        let stem = path.trim_end_matches(".rs");
        let (module, name) = match (stem.split_once('/'), stem.rsplit_once('/')) {
            (Some((module, _)), Some((_, name))) => (module, name),
            _ => (stem, stem),
        };
        let names = if holds_tests(path) {
            Names::default()
        } else {
            let syntax = syn::parse_file(&text);
            Names::of(&syntax.unwrap_or_else(|error| panic!("{path}: {error}")))
        };
        File {
            names,
            path: path.to_string(),
            name: name.to_string(),
            module: module.to_string(),
            text,
        }
    }

    /// Whether the file contains only tests.
    pub(crate) fn is_test(&self) -> bool {
        holds_tests(&self.path)
    }

    /// The modules of the host that it names, each with its line.
    pub(crate) fn imports(&self) -> Vec<(usize, String)> {
        let imported = self.names.imports.iter().map(|one| (one.line, &one.parts));
        let used = self.names.used.iter().map(|one| (one.line, &one.parts));
        imported
            .chain(used)
            .filter_map(|(line, parts)| match parts.as_slice() {
                // `crate::Name` and `crate::name!` belong to the root of the crate.
                [root, module, ..] if root == "crate" || root == "mistersmith" => {
                    let lower = module.starts_with(|c: char| c.is_lowercase());
                    lower.then(|| (line, module.clone()))
                }
                _ => None,
            })
            .collect()
    }
}

/// `testing.rs` is shared by tests and compiled for them alone; so is `fixture.rs`.
fn holds_tests(path: &str) -> bool {
    path.split('/')
        .any(|part| matches!(part, "tests" | "tests.rs" | "testing.rs" | "fixture.rs"))
}
