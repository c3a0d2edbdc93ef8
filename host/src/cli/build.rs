//! `mistersmith build`: compiles the plugins whose source is in the plugins folder.
//!
//! Each component is put beside its manifest by a rename, so that a running host sees the old one
//! or the new one, never half of it. One cargo process compiles the plugins of one cargo workspace.

mod cargo;
mod place;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::cli::exit::{Exit, Shown};
use crate::cli::global::Global;
use crate::cli::output;
use crate::cli::usage::usage;
use cargo::{Cargo, Package};

/// Arguments of `build`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Plugins to build; all that have a Cargo.toml when none is named
    names: Vec<String>,
}

/// The name of a plugin's folder, and the outcome of its build.
type Outcome = (String, anyhow::Result<place::Placed>);

pub(crate) async fn run(global: &Global, args: Args) -> anyhow::Result<()> {
    let plugins = &global.plugins()?;
    let sources = sources(plugins, &args.names)?;
    if sources.is_empty() {
        output::remark(&format!(
            "nothing to build: no folder in {} has a Cargo.toml; `mistersmith new NAME` makes one",
            plugins.display()
        ));
        return Ok(());
    }
    let cargo = Cargo::find(plugins, global.is_quiet()).await?;
    let (workspaces, mut outcomes) = packages(&cargo, &sources).await;
    let progress = cargo::Progress::new(sources.len());
    for (root, packages) in &workspaces {
        outcomes.extend(build(&cargo, root, packages, &progress).await);
    }
    progress.finish();
    report(outcomes)
}

/// The folders to build, by name.
fn sources(plugins: &Path, names: &[String]) -> anyhow::Result<BTreeMap<String, PathBuf>> {
    let entries = std::fs::read_dir(plugins).map_err(|error| {
        usage(format!(
            "cannot read the plugins folder {}: {error}; name another with --plugins",
            plugins.display()
        ))
    })?;
    let mut found = BTreeMap::new();
    for entry in entries {
        let path = entry
            .with_context(|| format!("cannot read the plugins folder {}", plugins.display()))?
            .path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
            continue;
        };
        if !name.starts_with('.') && path.join("Cargo.toml").is_file() {
            found.insert(name.to_string(), std::path::absolute(&path)?);
        }
    }
    if names.is_empty() {
        return Ok(found);
    }
    let mut wanted = BTreeMap::new();
    for name in names {
        let Some(path) = found.get(name) else {
            let known: Vec<&str> = found.keys().map(String::as_str).collect();
            return Err(usage(format!(
                "no plugin `{name}` with a Cargo.toml in {}; there are: {}",
                plugins.display(),
                if known.is_empty() {
                    "none".to_string()
                } else {
                    known.join(", ")
                }
            )));
        };
        wanted.insert(name.clone(), path.clone());
    }
    Ok(wanted)
}

/// Groups the plugins by cargo workspace; a broken Cargo.toml counts as a failure.
async fn packages(
    cargo: &Cargo,
    sources: &BTreeMap<String, PathBuf>,
) -> (BTreeMap<PathBuf, Vec<(String, Package)>>, Vec<Outcome>) {
    let mut workspaces: BTreeMap<PathBuf, Vec<(String, Package)>> = BTreeMap::new();
    let mut failed = Vec::new();
    for (name, folder) in sources {
        match cargo.package(folder).await {
            Ok(package) => workspaces
                .entry(package.workspace.clone())
                .or_default()
                .push((name.clone(), package)),
            Err(error) => failed.push((name.clone(), Err(error))),
        }
    }
    (workspaces, failed)
}

/// Compiles the packages of one workspace and places their components.
async fn build(
    cargo: &Cargo,
    root: &Path,
    packages: &[(String, Package)],
    progress: &cargo::Progress,
) -> Vec<Outcome> {
    let specs = packages.iter().map(|(_, package)| package);
    let built = match cargo.build(root, specs, progress).await {
        Ok(built) => built,
        Err(error) => {
            let text = format!("{error:#}");
            return packages
                .iter()
                .map(|(name, _)| (name.clone(), Err(anyhow::anyhow!(text.clone()))))
                .collect();
        }
    };
    let outcome = |(name, package): &(String, Package)| {
        let placed = match built.components.get(&package.manifest) {
            Some(artifact) => place::component(&package.folder, name, artifact),
            None if built.libraries.contains(&package.manifest) => Err(anyhow::anyhow!(
                "it compiles to no component; add crate-type = [\"cdylib\"] under [lib] in {}",
                package.manifest.display()
            )),
            None => Err(anyhow::anyhow!("cargo could not compile it; see above")),
        };
        (name.clone(), placed)
    };
    packages.iter().map(outcome).collect()
}

/// Prints the built components and the failures.
fn report(mut outcomes: Vec<Outcome>) -> anyhow::Result<()> {
    outcomes.sort_by(|(one, _), (other, _)| one.cmp(other));
    let mut rows = Vec::new();
    for (name, outcome) in &outcomes {
        if let Ok(placed) = outcome {
            let what = if placed.changed { "built" } else { "unchanged" };
            rows.push(vec![
                name.clone(),
                size(placed.size),
                what.to_string(),
                placed.path.display().to_string(),
            ]);
        }
    }
    if !rows.is_empty() {
        output::line(&output::table(&["plugin", "size", "", "component"], &rows))?;
    }
    let mut failed = false;
    for (name, outcome) in &outcomes {
        if let Err(error) = outcome {
            failed = true;
            output::complain(&format!("cannot build `{name}`: {error:#}"));
        }
    }
    if failed {
        return Err(Shown(Exit::FAILED).into());
    }
    Ok(())
}

/// A size in readable units.
fn size(bytes: u64) -> String {
    match bytes {
        0..1024 => format!("{bytes} B"),
        1024..1_048_576 => format!("{}.{} KiB", bytes / 1024, bytes % 1024 * 10 / 1024),
        _ => format!(
            "{}.{} MiB",
            bytes / 1_048_576,
            bytes % 1_048_576 * 10 / 1_048_576
        ),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn only_folders_with_a_cargo_toml_are_sources() {
        let plugins = tempfile::tempdir().unwrap();
        for folder in ["b", "a", ".sdk", "target", "bare"] {
            std::fs::create_dir(plugins.path().join(folder)).unwrap();
        }
        for folder in ["b", "a", ".sdk"] {
            std::fs::write(plugins.path().join(folder).join("Cargo.toml"), "").unwrap();
        }
        std::fs::write(plugins.path().join("Cargo.toml"), "").unwrap();
        let names = |wanted: &[&str]| {
            let wanted: Vec<String> = wanted.iter().map(ToString::to_string).collect();
            sources(plugins.path(), &wanted)
                .map(|found| found.into_keys().collect::<Vec<_>>())
                .map_err(|error| Exit::failed(&error))
        };
        assert_eq!(names(&[]), Ok(vec!["a".to_string(), "b".to_string()]));
        assert_eq!(names(&["b"]), Ok(vec!["b".to_string()]));
        assert_eq!(names(&["bare"]), Err(Exit::USAGE));
        let nowhere = plugins.path().join("nowhere");
        assert!(sources(&nowhere, &[]).is_err());
    }

    #[test]
    fn sizes_are_readable() {
        assert_eq!(size(17), "17 B");
        assert_eq!(size(16_896), "16.5 KiB");
        assert_eq!(size(3_407_872), "3.2 MiB");
    }
}
