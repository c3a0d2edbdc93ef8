//! `mistersmith new NAME`: writes a plugin that compiles, passes its own test, and runs.

mod sdk;
mod workspace;

use std::path::Path;

use anyhow::Context;

use crate::cli::global::Global;
use crate::cli::output;
use crate::cli::usage::usage;
use mistersmith_core::names::PluginName;

/// The files of a new plugin. Placeholders: `{{name}}` for its name, `{{sdk}}` for the dependency
/// on the SDK, `{{workspace}}` for the section that makes it a workspace of its own.
const TEMPLATE: [(&str, &str); 4] = [
    (".gitignore", include_str!("new/template/gitignore.in")),
    ("Cargo.toml", include_str!("new/template/Cargo.toml.in")),
    ("plugin.toml", include_str!("new/template/plugin.toml.in")),
    ("src/lib.rs", include_str!("new/template/src/lib.rs.in")),
];

/// Valid plugin names that are reserved.
const TAKEN: [(&str, &str); 2] = [
    ("mistersmith-sdk", "the package that plugins depend on"),
    ("target", "the folder that cargo compiles into"),
];

/// Arguments of `new`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Name of the plugin, and of its folder: a-z, 0-9 and "-"
    name: String,
}

pub(crate) fn run(global: &Global, args: &Args) -> anyhow::Result<()> {
    let name: PluginName = args.name.parse().map_err(usage)?;
    if let Some((taken, by)) = TAKEN.iter().find(|(taken, _)| *taken == name.as_str()) {
        return Err(usage(format!(
            "{taken:?} is the name of {by}; choose another"
        )));
    }
    let plugins = global.plugins()?;
    let folder = plugins.join(name.as_str());
    if folder.symlink_metadata().is_ok() {
        return Err(usage(format!(
            "{} exists already; choose another name or remove it",
            folder.display()
        )));
    }
    std::fs::create_dir_all(&plugins)
        .with_context(|| format!("cannot make the plugins folder {}", plugins.display()))?;
    let place = plugins
        .canonicalize()
        .with_context(|| format!("cannot read the plugins folder {}", plugins.display()))?;
    let fillings = [
        ("{{name}}", name.to_string()),
        ("{{sdk}}", sdk::dependency(&place)?),
        ("{{workspace}}", workspace::section(&place, &name)),
    ];
    write(&place, &name, &fillings)
        .with_context(|| format!("cannot write {}", folder.display()))?;
    output::line(&how_to_go_on(&name, &folder))
}

/// Writes the plugin under a hidden name first: a running host, or a user after a full disk, finds
/// all of it or nothing.
fn write(plugins: &Path, name: &PluginName, fillings: &[(&str, String)]) -> std::io::Result<()> {
    let draft = plugins.join(format!(".{name}.{}", std::process::id()));
    let written =
        fill(&draft, fillings).and_then(|()| std::fs::rename(&draft, plugins.join(name.as_str())));
    if written.is_err() {
        let _ = std::fs::remove_dir_all(&draft);
    }
    written
}

fn fill(folder: &Path, fillings: &[(&str, String)]) -> std::io::Result<()> {
    for (path, template) in TEMPLATE {
        let path = folder.join(path);
        let mut text = template.to_string();
        for (mark, filling) in fillings {
            text = text.replace(mark, filling);
        }
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent)?;
        }
        std::fs::write(path, text)?;
    }
    Ok(())
}

fn how_to_go_on(name: &PluginName, folder: &Path) -> String {
    let folder = folder.display();
    format!(
        "made {folder}: its code is in src/lib.rs, what it may do in plugin.toml\n\
         \n\
         test it:    cargo test --manifest-path {folder}/Cargo.toml\n\
         compile it: mistersmith build {name}\n\
         run it:     mistersmith run\n\
         ask it:     mistersmith request tools.{name} 'how many words are these'"
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;
    use crate::cli::exit::Exit;
    use clap::Parser;

    /// Creates a plugin as the command does; returns the exit code.
    fn make(plugins: &Path, name: &str) -> Exit {
        #[derive(Parser)]
        struct Line {
            #[command(flatten)]
            global: Global,
            #[command(flatten)]
            args: Args,
        }
        let plugins = plugins.to_str().unwrap();
        let line = Line::try_parse_from(["new", "--plugins", plugins, name]).unwrap();
        match run(&line.global, &line.args) {
            Ok(()) => Exit::DONE,
            Err(error) => Exit::failed(&error),
        }
    }

    #[test]
    fn all_of_a_plugin_is_written_or_nothing() {
        let root = tempfile::tempdir().unwrap();
        let plugins = root.path().join("not/yet/there");
        assert_eq!(make(&plugins, "my-agent"), Exit::DONE);
        let read =
            |file: &str| std::fs::read_to_string(plugins.join("my-agent").join(file)).unwrap();
        for (file, _) in TEMPLATE {
            let text = read(file);
            assert!(text.contains("my-agent"), "{file}");
            assert!(!text.contains("{{"), "{file}");
        }
        let manifest: toml::Table = read("Cargo.toml").parse().unwrap();
        assert_eq!(manifest["package"]["name"].as_str(), Some("my-agent"));
        assert!(manifest.contains_key("workspace"));
        let names: Vec<_> = std::fs::read_dir(&plugins)
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        assert_eq!(names.len(), 2, "the plugin and the SDK: {names:?}");
    }

    #[test]
    fn what_is_there_or_taken_or_no_name_is_refused() {
        let plugins = tempfile::tempdir().unwrap();
        std::fs::write(plugins.path().join("there"), "").unwrap();
        for name in [
            "there",
            "target",
            "mistersmith-sdk",
            "Upper",
            "x-001",
            "../x",
            "",
        ] {
            assert_eq!(make(plugins.path(), name), Exit::USAGE, "{name:?}");
        }
        assert_eq!(std::fs::read_dir(plugins.path()).unwrap().count(), 1);
    }
}
